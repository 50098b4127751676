//! Changes of agents' memory on their way to Redis, kept for some time after that, since Redis may lose them.
use super::error::StoreError;
use super::meta;
use super::rows::json_of;
use super::sql::{Sql, SqlResult, SqlRow, params};
use crate::domain::{
    AgentId, ChatMessage, MemoryPlace, MemoryPlaceChange, RunId, StoredNote, timestamp_of_micros, to_micros,
};
use crate::store::reader::Reader;
use jiff::Timestamp;

/// Number of changes kept. Runs that can't read Redis don't start, so few changes ever wait.
const MAX_KEPT_ROWS: i64 = 20_000;

/// A change of an agent's memory in Redis.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryRow {
    /// Grows with each change.
    pub id: i64,
    /// The session, or the agent whose notes these are.
    pub place: MemoryPlace,
    pub change: MemoryPlaceChange,
}

/// Adds the messages of a run to a session.
pub(super) fn said(
    db: &Sql,
    session: &str,
    (run, untrusted): (RunId, bool),
    messages: &[ChatMessage],
    at: Timestamp,
) -> SqlResult<()> {
    add(db, &MemoryPlace::session(session), at, |at| MemoryPlaceChange::said(at, run, untrusted, messages))
}

/// Adds or removes a note.
pub(super) fn noted(
    db: &Sql,
    agent: &AgentId,
    (key, text, untrusted): (&str, &str, bool),
    at: Timestamp,
) -> SqlResult<()> {
    add(db, &MemoryPlace::notes(agent), at, |at| {
        MemoryPlaceChange::Noted(StoredNote {
            at: to_micros(at),
            key: key.to_owned(),
            untrusted,
            text: text.to_owned(),
        })
    })
}

/// Forgets a session and the notes of an agent.
pub(super) fn forgotten(db: &Sql, agent: &AgentId, session: &str, at: Timestamp) -> SqlResult<()> {
    for place in [MemoryPlace::session(session), MemoryPlace::notes(agent)] {
        add(db, &place, at, |at| MemoryPlaceChange::Forgotten { at: to_micros(at) })?;
    }
    Ok(())
}

/// Adds a change with a time after that of the place's previous one, even if the clock was set back
/// in between: the later one wins.
fn add(
    db: &Sql,
    place: &MemoryPlace,
    at: Timestamp,
    change: impl FnOnce(Timestamp) -> MemoryPlaceChange,
) -> SqlResult<()> {
    let newest: Option<i64> =
        db.one("SELECT max(at) FROM memory_changes WHERE place = ?1", params![place.0], |row| row.get(0))?;
    let at = newest.map_or(to_micros(at), |newest| to_micros(at).max(newest.saturating_add(1)));
    let change = serde_json::to_string(&change(timestamp_of_micros(at))).expect("a change serializes");
    db.run(
        "INSERT INTO memory_changes(place, at, change) VALUES (?1, ?2, ?3)",
        params![place.0, at, change],
    )?;
    db.change(
        "DELETE FROM memory_changes WHERE id <= (SELECT max(id) FROM memory_changes) - ?1",
        params![MAX_KEPT_ROWS],
    )?;
    Ok(())
}

fn memory_row(row: &SqlRow<'_>) -> SqlResult<MemoryRow> {
    Ok(MemoryRow { id: row.get(0)?, place: MemoryPlace(row.get(1)?), change: json_of(row, 2)? })
}

impl Reader {
    /// Returns the identity of the database: a restored copy has a different one.
    pub fn identity(&self) -> Result<String, StoreError> {
        self.ask(
            "reading which database it is",
            |db| Ok(meta::value(db, meta::DATABASE)?.unwrap_or_default()),
        )
    }

    /// Returns the number of the newest change; 0 if there is none.
    pub fn last_memory_change(&self) -> Result<i64, StoreError> {
        self.ask("reading changes of memory", |db| {
            db.one("SELECT coalesce(max(id), 0) FROM memory_changes", &[], |row| row.get(0))
        })
    }

    /// Returns the number of changes after number `after`.
    pub fn memory_changes_after(&self, after: i64) -> Result<u64, StoreError> {
        self.ask("counting changes of memory", |db| {
            db.one("SELECT count(*) FROM memory_changes WHERE id > ?1", params![after], |row| {
                Ok(row.get::<i64>(0)?.unsigned_abs())
            })
        })
    }

    /// Returns the first `most` changes after number `after`.
    pub fn memory_changes(&self, after: i64, most: usize) -> Result<Vec<MemoryRow>, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.ask("reading changes of memory", |db| {
            db.rows(
                "SELECT id, place, change FROM memory_changes WHERE id > ?1 ORDER BY id LIMIT ?2",
                params![after, most],
                memory_row,
            )
        })
    }

    /// Returns all changes of a place after number `after`.
    pub fn memory_changes_of(&self, place: &MemoryPlace, after: i64) -> Result<Vec<MemoryRow>, StoreError> {
        self.ask("reading changes of memory", |db| {
            db.rows(
                "SELECT id, place, change FROM memory_changes WHERE place = ?1 AND id > ?2 ORDER BY id",
                params![place.0, after],
                memory_row,
            )
        })
    }
}
