//! Events after a cursor. A reader comes back with the last number that it saw; it misses nothing
//! and sees nothing twice, however long it was away.
use super::error::StoreError;
use super::{EventFilter, EventPage, reader, rows};
use crate::domain::*;
use crate::store::reader::Reader;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Rows that one page looks at: a rare filter gives way after this many, and goes on with the next page.
const LOOKED_AT: usize = 20_000;

impl Reader {
    /// Events after a cursor, at most `max`.
    pub fn events_after(
        &self,
        cursor: Seq,
        filter: &EventFilter,
        max: usize,
    ) -> Result<EventPage, StoreError> {
        self.ask("reading events", |db| {
            let snapshot = db.unchecked_transaction()?;
            let page = page(&snapshot, cursor, filter, max);
            snapshot.finish()?;
            page
        })
    }

    /// The newest event.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn newest(&self) -> Result<Seq, StoreError> {
        self.ask("reading the newest event", reader::newest_seq)
    }

    /// The cursor before the newest `n` events that match.
    pub fn cursor_before_last(&self, n: u64, filter: &EventFilter) -> Result<Seq, StoreError> {
        self.ask("reading events", |db| {
            let newest = reader::newest_seq(db)?;
            if n == 0 {
                return Ok(newest);
            }
            let (mut left, mut first) = (n, newest);
            let sql = format!("SELECT {COLUMNS} FROM events WHERE {} ORDER BY seq DESC", source(filter));
            let mut statement = db.prepare_cached(&sql)?;
            let mut rows = statement.query(params![
                i64::MIN,
                only_agent(filter),
                filter.run.as_ref().map(|run| run.as_bytes().as_slice())
            ])?;
            while let Some(row) = rows.next()? {
                if !matches(row, filter)? {
                    continue;
                }
                first = Seq(row.get::<_, i64>(0)? as u64 - 1);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
            Ok(first)
        })
    }

    /// The cursor before the first event that is not older than `since`.
    pub fn cursor_at(&self, since: Timestamp) -> Result<Seq, StoreError> {
        self.ask("reading events", |db| seq_before(db, to_micros(since)).map(Seq))
    }
}

/// The newest event that is older than `since`, by halving: numbers and instants grow together, but
/// for a clock that was set back.
pub(super) fn seq_before(db: &Connection, since: i64) -> rusqlite::Result<u64> {
    let bounds: (Option<i64>, Option<i64>) = (
        db.prepare_cached("SELECT min(seq) FROM events")?.query_row([], |row| row.get(0))?,
        db.prepare_cached("SELECT max(seq) FROM events")?.query_row([], |row| row.get(0))?,
    );
    let (Some(oldest), Some(newest)) = bounds else { return Ok(0) };
    let (mut low, mut high) = (oldest, newest + 1);
    let mut at = db.prepare_cached("SELECT at FROM events WHERE seq = ?1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let instant: Option<i64> = at.query_row([middle], |row| row.get(0)).optional()?;
        if instant.is_some_and(|instant| instant >= since) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok((low - 1).max(0) as u64)
}

const COLUMNS: &str = "seq, at, type, agent, run, session, payload";

/// One agent by its full name, if that is all that is wanted: then the index serves.
fn only_agent(filter: &EventFilter) -> Option<&str> {
    match &filter.agents[..] {
        [one] if !one.contains(['*', '?']) => Some(one),
        _ => None,
    }
}

fn source(filter: &EventFilter) -> &'static str {
    match (only_agent(filter), filter.run) {
        (_, Some(_)) => "seq > ?1 AND (?2 IS NULL OR agent = ?2) AND run = ?3",
        (Some(_), None) => "seq > ?1 AND agent = ?2 AND ?3 IS NULL",
        (None, None) => "seq > ?1 AND ?2 IS NULL AND ?3 IS NULL",
    }
}

fn page(db: &Connection, cursor: Seq, filter: &EventFilter, max: usize) -> rusqlite::Result<EventPage> {
    let newest = reader::newest_seq(db)?;
    let oldest: Option<i64> =
        db.prepare_cached("SELECT min(seq) FROM events")?.query_row([], |row| row.get(0))?;
    let oldest = oldest.map_or(newest.0 + 1, |oldest| oldest as u64);
    let gap = (cursor.0 + 1 < oldest).then_some((Seq(cursor.0 + 1), Seq(oldest - 1)));
    let sql = format!("SELECT {COLUMNS} FROM events WHERE {} ORDER BY seq LIMIT ?4", source(filter));
    let mut statement = db.prepare_cached(&sql)?;
    let run = filter.run.as_ref().map(|run| run.as_bytes().as_slice());
    let mut rows = statement.query(params![cursor.0 as i64, only_agent(filter), run, LOOKED_AT as i64])?;
    let mut found = EventPage { events: Vec::new(), cursor: newest.max(cursor), gap, at_end: true };
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        looked_at += 1;
        let last = Seq(row.get::<_, i64>(0)? as u64);
        if matches(row, filter)? {
            found.events.push(event(row)?);
        }
        if found.events.len() >= max || looked_at >= LOOKED_AT {
            found.cursor = last;
            found.at_end = last >= newest;
            break;
        }
    }
    Ok(found)
}

fn matches(row: &Row<'_>, filter: &EventFilter) -> rusqlite::Result<bool> {
    if !filter.types.is_empty() {
        let kind = row.get_ref(2)?.as_str()?;
        if !filter.types.iter().any(|wanted| glob(wanted, kind)) {
            return Ok(false);
        }
    }
    if !filter.agents.is_empty() {
        let Some(agent) = row.get_ref(3)?.as_str_or_null()? else { return Ok(false) };
        if !filter.agents.iter().any(|wanted| glob(wanted, agent)) {
            return Ok(false);
        }
    }
    match filter.until {
        Some(until) => Ok(row.get::<_, i64>(1)? <= to_micros(until)),
        None => Ok(true),
    }
}

fn event(row: &Row<'_>) -> rusqlite::Result<LoggedEvent> {
    let agent_id = match row.get_ref(3)?.as_str_or_null()? {
        Some(_) => Some(rows::agent_id(row, 3)?),
        None => None,
    };
    let run_id = match row.get_ref(4)?.as_blob_or_null()? {
        Some(_) => Some(rows::run_id(row, 4)?),
        None => None,
    };
    Ok(LoggedEvent {
        seq: Seq(row.get::<_, i64>(0)? as u64),
        ts: rows::instant(row, 1)?,
        kind: row.get(2)?,
        agent_id,
        run_id,
        session_id: row.get(5)?,
        payload: serde_json::from_str(row.get_ref(6)?.as_str()?).unwrap_or_default(),
    })
}
