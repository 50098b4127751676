//! One call that appends a batch to a stream, if the stream ends where the batch continues; otherwise it returns the
//! stream's position. The script is `append.lua`, and its callers may be late, paused, or concurrent: nothing is ever
//! appended twice or out of order.
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

/// Ownership of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    /// Identity of the database that the stream is a copy of.
    pub(super) database: &'a str,
    /// Another possible owner: a database that ours was a copy of.
    pub(super) before: Option<&'a str>,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    Done,
    /// Nothing was appended: the stream has a different position.
    At {
        /// The last id ever assigned.
        last: String,
        /// The id of the newest entry; empty if the stream has none.
        entry: String,
    },
    /// Nothing was appended: the newest entry, which has this id, is not the expected event.
    Differs(String),
    /// Nothing was appended: the stream has entries, ends with this id, and has no owner.
    Unmarked(String),
    /// Nothing was appended: the stream belongs to another database.
    Other {
        /// The last id.
        last: String,
        /// Identity of its owner.
        whose: String,
    },
}

/// The newest entry that a stream must have if it is a copy of this log.
#[derive(Debug)]
pub(super) struct KnownEntry {
    pub(super) id: String,
    /// The value of its field `event`.
    pub(super) event: Vec<u8>,
}

/// The entries of a batch, and the streams of the sessions that they belong to.
#[derive(Debug, Default)]
pub(super) struct Entries {
    sessions: Vec<String>,
    count: u64,
    /// Number of events.
    pub(super) events: usize,
    body: RedisCommand,
    /// The number of the last event.
    pub(super) last: Seq,
    newest: Seq,
    /// Events that retention removed before they were sent: the first and the last.
    pub(super) gap: Option<(Seq, Seq)>,
    /// Time of the first event of the page. `None`: the page is empty.
    pub(super) since: Option<Timestamp>,
}

impl Entries {
    /// Encodes the first events of a page of the log: at least one, and no more once `bytes` have been written.
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
                    all.count_event(row);
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

    /// Counts an event that was encoded, or that this format leaves out.
    fn count_event(&mut self, row: &EventRow) {
        self.last = row.seq;
        self.events += 1;
    }

    fn of_sessions(&mut self, page: &EventPageRows, database: &str, bytes: usize) {
        let mut places: HashMap<String, u64> = HashMap::new();
        for row in &page.rows {
            if self.body.size() >= bytes {
                break;
            }
            self.count_event(row);
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
        // the stream itself only keeps the position
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
    /// The databases that ours was a copy of, in the script's format.
    ancestors: String,
    script: Script,
}

impl<'a> Appender<'a> {
    pub(super) fn new(spec: &'a RedisSpec, ancestors: &[Ancestor]) -> Self {
        let ancestors = ancestors.iter().map(|one| format!(" {}={};", one.database, one.until)).collect();
        Self { spec, mark: spec.mark(), ancestors, script: Script::new(SCRIPT) }
    }

    /// Returns the position of the stream without changing anything.
    pub(super) async fn look(&mut self, link: &mut RedisLink, claim: Claim<'_>) -> Result<Appended, Hitch> {
        self.call(link, claim, LOOK, None, &Entries::default()).await
    }

    /// Claims the stream, if it ends with the id `last` and its newest entry is the expected one.
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
            RedisReply::List(said) => self.parse_reply(&said),
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

    fn parse_reply(&self, said: &[RedisReply]) -> Result<Appended, Hitch> {
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
                let what = if key.ends_with(MARK_SUFFIX) { "the mark beside a stream" } else { "a stream" };
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

/// Suffix of the names of marks.
const MARK_SUFFIX: &str = ":fleet";

/// Returns the key that records which database the stream of a session is a copy of.
fn mark_of(session: &str) -> String {
    format!("{session}{MARK_SUFFIX}")
}
