//! One call that appends a batch to a stream, if it stands where the batch goes on from; else it says where the stream
//! stands. The script is `append.lua`, and whoever calls it may be late, paused, or one of two: it never appends
//! anything twice, nor anything out of order.
use super::entry;
use super::omni;
use crate::domain::{RedisSpec, Seq, StreamFormat};
use crate::redis::{Hitch, RedisCommand, RedisLink, RedisReply, Script};
use crate::store::{Ancestor, EventPageRows, EventRow};
use jiff::Timestamp;
use std::collections::HashMap;

const SCRIPT: &str = include_str!("append.lua");
/// Instead of an id: nothing is appended.
const LOOK: &str = "look";

/// Whose a stream is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    /// Identity of the database of which the stream is a copy.
    pub(super) database: &'a str,
    /// Another one that may have had it: the database that ours was a copy of.
    pub(super) before: Option<&'a str>,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It is appended.
    Done,
    /// Nothing is: the stream stands elsewhere.
    At {
        /// The last id that was ever given.
        last: String,
        /// The id of the newest entry; empty if the stream has none.
        entry: String,
    },
    /// Nothing is: the newest entry, which has this id, is not the event that it should be.
    Differs(String),
    /// Nothing is: the stream has entries, ends with this id, and nobody knows whose they are.
    Unmarked(String),
    /// Nothing is: it is the stream of another database.
    Other {
        /// The last id.
        last: String,
        /// Identity of the other database.
        whose: String,
    },
}

/// What the newest entry of a stream must be, if the stream is a copy of this log.
#[derive(Debug)]
pub(super) struct KnownEntry {
    pub(super) id: String,
    /// Its field `event`.
    pub(super) event: Vec<u8>,
}

/// The entries of a batch, and the streams of sessions that they go to.
#[derive(Debug, Default)]
pub(super) struct Entries {
    sessions: Vec<String>,
    count: u64,
    /// How many events that is.
    pub(super) events: usize,
    body: RedisCommand,
    /// The number of the last one.
    pub(super) last: Seq,
    newest: Seq,
    /// Events that retention has removed before they were sent: the first and the last.
    pub(super) gap: Option<(Seq, Seq)>,
    /// When the first event of the page happened. `None`: the page has none.
    pub(super) since: Option<Timestamp>,
}

impl Entries {
    /// Those of the first events of a page of the log: of one at least, and of no more when `bytes` are written.
    pub(super) fn of(page: &EventPageRows, format: StreamFormat, database: &str, bytes: usize) -> Self {
        let mut all = Self {
            newest: page.newest.max(page.rows.last().map(|row| row.seq).unwrap_or_default()),
            gap: page.gap,
            since: page.begins_at(),
            ..Self::default()
        };
        if page.rows.is_empty() {
            return all;
        }
        match format {
            StreamFormat::Bgagent => {
                if let Some(gap) = page.gap {
                    entry::gap(gap, &mut all.body);
                    all.count += 1;
                }
                for row in &page.rows {
                    entry::event(row, &mut all.body);
                    all.has(row);
                    all.count += 1;
                    if all.body.size() >= bytes {
                        break;
                    }
                }
            }
            StreamFormat::OmniCoreAgent => all.of_sessions(page, database, bytes),
        }
        all
    }

    /// The event is among them, or has no place in this format.
    fn has(&mut self, row: &EventRow) {
        self.last = row.seq;
        self.events += 1;
    }

    fn of_sessions(&mut self, page: &EventPageRows, database: &str, bytes: usize) {
        let mut places: HashMap<String, u64> = HashMap::new();
        for row in &page.rows {
            if self.body.size() >= bytes {
                break;
            }
            self.has(row);
            let Some((session, event)) = omni::event(row, database) else { continue };
            let next = 2 * places.len() as u64 + 3;
            let place = *places.entry(session).or_insert_with_key(|session| {
                self.sessions.push(omni::stream(session));
                next
            });
            self.body.number(place);
            self.body.number(row.seq.0);
            self.body.number(4);
            self.body.part(b"event");
            self.body.part(event.as_bytes());
            self.body.part(b"sequence");
            self.body.number(row.seq.0);
            self.count += 1;
        }
        // the stream itself keeps the position, and nothing else
        if let Some(row) = page.rows[..self.events].last() {
            entry::position(row, &mut self.body);
            self.count += 1;
        }
    }
}

/// The script at one server.
pub(super) struct Appender<'a> {
    spec: &'a RedisSpec,
    mark: String,
    /// The databases that ours was a copy of, as the script reads them.
    ancestors: String,
    script: Script,
}

impl<'a> Appender<'a> {
    pub(super) fn new(spec: &'a RedisSpec, ancestors: &[Ancestor]) -> Self {
        let ancestors = ancestors.iter().map(|one| format!(" {}={};", one.database, one.until)).collect();
        Self { spec, mark: spec.mark(), ancestors, script: Script::new(SCRIPT) }
    }

    /// Where the stream stands. Nothing is changed.
    pub(super) async fn look(&mut self, link: &mut RedisLink, claim: Claim<'_>) -> Result<Appended, Hitch> {
        self.call(link, claim, LOOK, None, &Entries::default()).await
    }

    /// Makes the stream ours, if it ends with the id `last` and its newest entry is what it must be.
    pub(super) async fn take(
        &mut self,
        link: &mut RedisLink,
        claim: Claim<'_>,
        last: &str,
        known: Option<&KnownEntry>,
    ) -> Result<Appended, Hitch> {
        self.call(link, claim, last, known, &Entries::default()).await
    }

    /// Appends the entries after the id `last`.
    pub(super) async fn append(
        &mut self,
        link: &mut RedisLink,
        claim: Claim<'_>,
        last: &str,
        entries: &Entries,
    ) -> Result<Appended, Hitch> {
        self.call(link, claim, last, None, entries).await
    }

    async fn call(
        &mut self,
        link: &mut RedisLink,
        claim: Claim<'_>,
        last: &str,
        known: Option<&KnownEntry>,
        entries: &Entries,
    ) -> Result<Appended, Hitch> {
        let command = self.command(claim, last, known, entries);
        match self.script.call(link, &command).await? {
            RedisReply::List(said) => self.meaning(&said),
            _ => Err(Hitch::unknown_answer()),
        }
    }

    fn command(
        &self,
        claim: Claim<'_>,
        last: &str,
        known: Option<&KnownEntry>,
        entries: &Entries,
    ) -> RedisCommand {
        let mut command = RedisCommand::default();
        command.number(2 + 2 * entries.sessions.len() as u64);
        command.part(self.spec.stream.as_bytes());
        command.part(self.mark.as_bytes());
        for key in &entries.sessions {
            command.part(key.as_bytes());
            command.part(mark_of(key).as_bytes());
        }
        command.part(claim.database.as_bytes());
        command.part(claim.before.unwrap_or_default().as_bytes());
        command.part(last.as_bytes());
        let (how, most) = match self.spec.format {
            StreamFormat::Bgagent => ("~", self.spec.maxlen),
            StreamFormat::OmniCoreAgent => ("=", 1),
        };
        command.part(how.as_bytes());
        command.number(most);
        command.number(self.spec.maxlen);
        command.number(entries.newest.0);
        command.part(known.map_or(b"", |known| known.id.as_bytes()));
        command.part(known.map_or(b"", |known| &known.event));
        command.part(self.ancestors.as_bytes());
        command.number(entries.count);
        command.append(&entries.body);
        command
    }

    fn meaning(&self, said: &[RedisReply]) -> Result<Appended, Hitch> {
        let texts: Vec<&str> = said
            .iter()
            .map(|one| match one {
                RedisReply::Text(text) => text.as_str(),
                _ => "",
            })
            .collect();
        Ok(match texts[..] {
            ["done", _] => Appended::Done,
            ["at", last, entry] => Appended::At { last: last.to_owned(), entry: entry.to_owned() },
            ["differs", entry] => Appended::Differs(entry.to_owned()),
            ["unmarked", last] => Appended::Unmarked(last.to_owned()),
            ["other", last, whose] => Appended::Other { last: last.to_owned(), whose: whose.to_owned() },
            ["kind", key, kind] => {
                let what = if key.ends_with(MARK) { "the mark beside a stream" } else { "a stream" };
                return Err(Hitch::staying(format!(
                    "`{key}` holds other data (a {kind}), and is to be {what}: choose another `stream`, or remove what is \
                     there"
                )));
            }
            ["foreign", key, last, whose] => {
                let mark = mark_of(key);
                let by = match whose {
                    "" => format!("there is no key `{mark}` that says whose they are"),
                    _ => format!("by the key `{mark}`, of database {whose}"),
                };
                return Err(Hitch::staying(format!(
                    "`{key}` has entries of somebody else (up to {last}; {by}): nothing is mixed with them. Give the agent's \
                     session another `session_id`, or delete this one, so that it is filled again: DEL {key} {mark}"
                )));
            }
            _ => return Err(Hitch::unknown_answer()),
        })
    }
}

/// How the name of a mark ends.
const MARK: &str = ":fleet";

/// The key that says of which database the stream of a session is a copy.
fn mark_of(session: &str) -> String {
    format!("{session}{MARK}")
}
