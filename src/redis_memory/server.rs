//! The two server-side scripts, and their keys.
use crate::domain::{
    MAX_RUNS_KEPT, MemoryPlace, MemoryPlaceChange, MemoryPlaceContent, RedisMemorySpec, StoredMessages,
    StoredNote,
};
use crate::redis::{Hitch, RedisCommand, RedisLink, RedisReply, ReplyBounds, Script};
use crate::store::MemoryRow;
use std::time::Duration;

const CHANGE: &str = include_str!("change.lua");
const READ: &str = include_str!("read.lua");
/// Timeout for connecting, and for each answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum notes of an agent, including deleted ones, whose times are kept so that an older change does not restore them.
const MAX_NOTES: usize = 4000;
/// A session has some hundred entries of two texts each, and JSON encoding makes a text at most six times as long.
const BOUNDS: ReplyBounds =
    ReplyBounds { text: 1 << 20, whole: 64 << 20, parts: 2 * MAX_NOTES, shown: 1 << 20 };

/// A connection, and the operations on it.
pub(super) struct MemoryServer<'a> {
    spec: &'a RedisMemorySpec,
    /// Identity of the database, which is the key of the fleet's position in Redis.
    fleet: String,
    pub(super) link: RedisLink,
    change: Script,
    read: Script,
}

/// The position of a fleet: Redis has applied all its changes up to this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(pub(super) i64);

impl<'a> MemoryServer<'a> {
    pub(super) async fn open(spec: &'a RedisMemorySpec, fleet: String) -> Result<Self, Hitch> {
        let link = RedisLink::open(&spec.server, ANSWER_TIMEOUT, BOUNDS).await?;
        Ok(Self { spec, fleet, link, change: Script::new(CHANGE), read: Script::new(READ) })
    }

    /// Returns the position of the fleet.
    pub(super) async fn position(&mut self) -> Result<Position, Hitch> {
        self.make(&[], None).await
    }

    /// Applies changes, and returns the new position of the fleet. `even_lower`: sets the position to the last of them even if
    /// Redis has a higher one.
    pub(super) async fn make(
        &mut self,
        rows: &[MemoryRow],
        even_lower: Option<i64>,
    ) -> Result<Position, Hitch> {
        let mut keys: Vec<String> = vec![self.key("fleets"), self.key("forgotten")];
        let mut changes = RedisCommand::default();
        for row in rows {
            let key = self.key(&row.place.0);
            let at = keys.iter().position(|one| *one == key).unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            });
            let (kind, field, body) = written(&row.change);
            changes.number(at as u64 + 1);
            changes.part(row.place.0.as_bytes());
            changes.part(kind.as_bytes());
            changes.part(row.change.at().to_string().as_bytes());
            changes.part(field.as_bytes());
            changes.part(body.as_bytes());
        }
        let last = even_lower.or_else(|| rows.last().map(|row| row.id));
        let mut command = RedisCommand::default();
        command.number(keys.len() as u64);
        keys.iter().for_each(|key| command.part(key.as_bytes()));
        command.part(self.fleet.as_bytes());
        command.number(MAX_RUNS_KEPT as u64);
        command.number(MAX_NOTES as u64);
        command.part(last.map_or_else(String::new, |last| last.to_string()).as_bytes());
        command.part(if even_lower.is_some() { b"set" } else { b"" });
        command.append(&changes);
        match self.change.call(&mut self.link, &command).await? {
            RedisReply::List(said) => match &said[..] {
                [RedisReply::Text(at), position] if at == "at" => position_of(position),
                _ => Err(Hitch::unknown_answer()),
            },
            _ => Err(Hitch::unknown_answer()),
        }
    }

    /// Returns the content of a place, and the fleet's position at that moment.
    pub(super) async fn read(
        &mut self,
        place: &MemoryPlace,
    ) -> Result<(MemoryPlaceContent, Position), Hitch> {
        let mut command = RedisCommand::default();
        command.number(3);
        for key in ["fleets", "forgotten", &place.0] {
            command.part(self.key(key).as_bytes());
        }
        command.part(self.fleet.as_bytes());
        command.part(place.0.as_bytes());
        command.number(MAX_RUNS_KEPT as u64);
        let RedisReply::List(said) = self.read.call(&mut self.link, &command).await? else {
            return Err(Hitch::unknown_answer());
        };
        let [_, position, RedisReply::Text(forgotten), entries @ ..] = &said[..] else {
            return Err(Hitch::unknown_answer());
        };
        let mut content = MemoryPlaceContent::default();
        if let Ok(at) = forgotten.parse() {
            content.make(MemoryPlaceChange::Forgotten { at });
        }
        for entry in entries {
            let RedisReply::Text(text) = entry else { return Err(Hitch::unknown_answer()) };
            content.make(self.entry(place, text)?);
        }
        Ok((content, position_of(position)?))
    }

    fn entry(&self, place: &MemoryPlace, text: &str) -> Result<MemoryPlaceChange, Hitch> {
        let entry = if place.is_session() {
            serde_json::from_str::<StoredMessages>(text).map(MemoryPlaceChange::Said)
        } else {
            serde_json::from_str::<StoredNote>(text).map(MemoryPlaceChange::Noted)
        };
        entry.map_err(|error| {
            let key = self.key(&place.0);
            Hitch::staying(format!(
                "an entry of `{key}` is not one that bgagent has written ({error}): remove it, or choose another `prefix`"
            ))
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.spec.prefix)
    }
}

/// Returns the kind of a change, the field of a note, and the new value.
fn written(change: &MemoryPlaceChange) -> (&'static str, String, String) {
    let json = |value: serde_json::Result<String>| value.expect("it serializes");
    match change {
        MemoryPlaceChange::Said(said) => ("said", String::new(), json(serde_json::to_string(said))),
        MemoryPlaceChange::Noted(note) => {
            let field = format!("{}:{}", if note.untrusted { "untrusted" } else { "own" }, note.key);
            ("noted", field, json(serde_json::to_string(note)))
        }
        MemoryPlaceChange::Forgotten { .. } => ("forgotten", String::new(), String::new()),
    }
}

fn position_of(reply: &RedisReply) -> Result<Position, Hitch> {
    match reply {
        RedisReply::Text(text) => text.parse().map(Position).map_err(|_| Hitch::unknown_answer()),
        _ => Err(Hitch::unknown_answer()),
    }
}
