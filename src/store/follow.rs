//! Events after a cursor. A reader resumes with the last number that it saw; it misses no event and
//! sees none twice, however long it was away.
use super::error::StoreError;
use super::{EventFilter, EventPage, reader, rows};
use crate::domain::*;
use crate::store::reader::Reader;
use crate::store::sql::{Each, Scope, Sql, SqlResult, SqlRow, Value, params};
use jiff::Timestamp;
use std::ops::ControlFlow;

/// Maximum number of rows examined per page: a rare filter continues on the next page after this many.
const MAX_EXAMINED_ROWS: usize = 20_000;
/// Number of rows requested at first; more if they are not enough.
const FIRST_CHUNK_ROWS: usize = 64;

impl Reader {
    /// Returns events after a cursor, at most `max`.
    pub fn events_after(
        &self,
        cursor: Seq,
        filter: &EventFilter,
        max: usize,
    ) -> Result<EventPage, StoreError> {
        self.ask("reading events", |db| {
            let snapshot = db.begin(Scope::Read)?;
            let page = page(&*snapshot, cursor, filter, max)?;
            snapshot.commit()?;
            Ok(page)
        })
    }

    /// Returns the newest event.
    ///
    /// # Errors
    /// An error of the database.
    pub fn newest(&self) -> Result<Seq, StoreError> {
        self.ask("reading the newest event", reader::newest_seq)
    }

    /// Returns the cursor before the newest `n` matching events.
    pub fn cursor_before_last(&self, n: u64, filter: &EventFilter) -> Result<Seq, StoreError> {
        self.ask("reading events", |db| {
            let newest = reader::newest_seq(db)?;
            if n == 0 {
                return Ok(newest);
            }
            let (mut left, mut first) = (n, newest);
            let mut before = Seq(newest.0.saturating_add(1));
            let mut chunk = FIRST_CHUNK_ROWS;
            while left > 0 {
                let mut seen = 0;
                chunk_of(db, Range { after: None, before: Some(before) }, filter, chunk, &mut |row| {
                    seen += 1;
                    before = Seq(row.get::<i64>(0)? as u64);
                    if matches(row, filter)? {
                        first = Seq(before.0 - 1);
                        left -= 1;
                    }
                    Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })?;
                if seen < chunk {
                    break;
                }
                chunk = (chunk * 4).min(MAX_EXAMINED_ROWS);
            }
            Ok(first)
        })
    }

    /// Returns the cursor before the first event that is not older than `since`.
    pub fn cursor_at(&self, since: Timestamp) -> Result<Seq, StoreError> {
        self.ask("reading events", |db| seq_before(db, to_micros(since)).map(Seq))
    }
}

/// Finds the newest event older than `since` by binary search: numbers and instants grow together,
/// except when the clock was set back.
pub(super) fn seq_before(db: &Sql, since: i64) -> SqlResult<u64> {
    let bounds: (Option<i64>, Option<i64>) = (
        db.one("SELECT min(seq) FROM events", &[], |row| row.get(0))?,
        db.one("SELECT max(seq) FROM events", &[], |row| row.get(0))?,
    );
    let (Some(oldest), Some(newest)) = bounds else { return Ok(0) };
    let (mut low, mut high) = (oldest, newest + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let instant: Option<i64> =
            db.row("SELECT at FROM events WHERE seq = ?1", params![middle], |row| row.get(0))?;
        if instant.is_some_and(|instant| instant >= since) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok((low - 1).max(0) as u64)
}

const COLUMNS: &str = "seq, at, type, agent, run, session, payload";

/// Returns the agent's full name if the filter selects exactly one agent, so that an index can be used.
fn only_agent(filter: &EventFilter) -> Option<&str> {
    match &filter.agents[..] {
        [one] if !one.contains(['*', '?']) => Some(one),
        _ => None,
    }
}

/// A part of the log.
#[derive(Clone, Copy)]
struct Range {
    after: Option<Seq>,
    /// Set for newest first.
    before: Option<Seq>,
}

/// Reads at most `most` rows of a range that may match. Conditions in SQL spare the server from
/// sending other rows.
fn chunk_of(db: &Sql, range: Range, filter: &EventFilter, most: usize, each: &mut Each<'_>) -> SqlResult<()> {
    let cursor = |seq: Seq| i64::try_from(seq.0).unwrap_or(i64::MAX);
    let (bound, seq, order) = match range {
        Range { before: Some(before), .. } => ("seq < ?1", cursor(before), "DESC"),
        Range { after, .. } => ("seq > ?1", cursor(after.unwrap_or(Seq(0))), "ASC"),
    };
    let mut values = vec![Value::Integer(seq), Value::Integer(i64::try_from(most).unwrap_or(i64::MAX))];
    let mut wanted = String::from(bound);
    if let Some(run) = &filter.run {
        values.push(Value::Blob(run.as_bytes()));
        wanted.push_str(&format!(" AND run = ?{}", values.len()));
    }
    if let Some(agent) = only_agent(filter) {
        values.push(Value::Text(agent));
        wanted.push_str(&format!(" AND agent = ?{}", values.len()));
    }
    let sql = format!("SELECT {COLUMNS} FROM events WHERE {wanted} ORDER BY seq {order} LIMIT ?2");
    db.each(&sql, &values, each)
}

fn page(db: &Sql, cursor: Seq, filter: &EventFilter, max: usize) -> SqlResult<EventPage> {
    let newest = reader::newest_seq(db)?;
    let oldest: Option<i64> = db.one("SELECT min(seq) FROM events", &[], |row| row.get(0))?;
    let oldest = oldest.map_or(newest.0 + 1, |oldest| oldest as u64);
    let gap = (cursor.0 + 1 < oldest).then_some((Seq(cursor.0 + 1), Seq(oldest - 1)));
    let mut found = EventPage { events: Vec::new(), cursor: newest.max(cursor), gap, at_end: true };
    let (mut looked_at, mut after) = (0, cursor);
    let mut chunk = max.clamp(FIRST_CHUNK_ROWS, MAX_EXAMINED_ROWS);
    loop {
        let (mut seen, mut is_full) = (0, false);
        chunk_of(db, Range { after: Some(after), before: None }, filter, chunk, &mut |row| {
            seen += 1;
            after = Seq(row.get::<i64>(0)? as u64);
            if matches(row, filter)? {
                found.events.push(event(row)?);
            }
            is_full = found.events.len() >= max || looked_at + seen >= MAX_EXAMINED_ROWS;
            Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if is_full {
            found.cursor = after;
            found.at_end = after >= newest;
            break;
        }
        if seen < chunk {
            break;
        }
        looked_at += seen;
        chunk = (chunk * 4).min(MAX_EXAMINED_ROWS);
    }
    Ok(found)
}

fn matches(row: &SqlRow<'_>, filter: &EventFilter) -> SqlResult<bool> {
    if !filter.types.is_empty() {
        let kind = rows::text(row, 2)?;
        if !filter.types.iter().any(|wanted| glob(wanted, kind)) {
            return Ok(false);
        }
    }
    if !filter.agents.is_empty() {
        let Some(agent) = row.text(3)? else { return Ok(false) };
        if !filter.agents.iter().any(|wanted| glob(wanted, agent)) {
            return Ok(false);
        }
    }
    match filter.until {
        Some(until) => Ok(row.get::<i64>(1)? <= to_micros(until)),
        None => Ok(true),
    }
}

pub(super) fn event(row: &SqlRow<'_>) -> SqlResult<LoggedEvent> {
    let agent_id = row.text(3)?.map(|_| rows::agent_id(row, 3)).transpose()?;
    let run_id = rows::maybe_run(row, 4)?;
    Ok(LoggedEvent {
        seq: Seq(row.get::<i64>(0)? as u64),
        ts: rows::instant(row, 1)?,
        kind: row.get(2)?,
        agent_id,
        run_id,
        session_id: row.get(5)?,
        payload: serde_json::from_str(rows::text(row, 6)?).unwrap_or_default(),
    })
}
