//! Events as they are stored, for those who hand them on: what they say is not taken apart, which costs most of the time
//! of reading.
use super::error::StoreError;
use super::{EventPageRows, EventRow, reader, rows};
use crate::domain::*;
use crate::store::reader::Reader;
use rusqlite::{Connection, OptionalExtension, params};

impl Reader {
    /// Events after a cursor, as they are stored: at most `max`, and after the first no more than have `bytes` of
    /// payload.
    pub fn rows_after(&self, cursor: Seq, max: usize, bytes: usize) -> Result<EventPageRows, StoreError> {
        self.ask("reading events", |db| {
            let snapshot = db.unchecked_transaction()?;
            let page = page(&snapshot, cursor, max, bytes);
            snapshot.finish()?;
            page
        })
    }

    /// From what a copy of the log was to begin, and after which event it did; `None`: it never has.
    pub fn export_began(&self, target: &str) -> Result<Option<(String, Seq)>, StoreError> {
        self.ask("reading where a copy of the log began", |db| {
            let mut asked = db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
            let value: Option<String> = asked.query_row([began_key(target)], |row| row.get(0)).optional()?;
            Ok(value.and_then(|value| {
                let (from, after) = value.split_once(' ')?;
                Some((from.to_owned(), Seq(after.parse().ok()?)))
            }))
        })
    }
}

fn began_key(target: &str) -> String {
    format!("export {target}")
}

/// Writes down after which event a copy of the log begins. What was written down first stays, as long as the copy is to
/// begin from the same.
pub(super) fn began(db: &Connection, target: &str, from: &str, after: Seq) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO meta(key, value) VALUES (?1, ?2 || ' ' || ?3) ON CONFLICT(key) DO UPDATE SET value = excluded.value
         WHERE meta.value NOT LIKE ?2 || ' %'",
    )?
    .execute(params![began_key(target), from, after.to_string()])
    .map(|_| ())
}

fn page(db: &Connection, cursor: Seq, max: usize, bytes: usize) -> rusqlite::Result<EventPageRows> {
    let newest = reader::newest_seq(db)?;
    let oldest: Option<i64> =
        db.prepare_cached("SELECT min(seq) FROM events")?.query_row([], |row| row.get(0))?;
    let oldest = oldest.map_or(newest.0 + 1, |oldest| oldest as u64);
    let gap = (cursor.0 + 1 < oldest).then_some((Seq(cursor.0 + 1), Seq(oldest - 1)));
    let mut statement = db.prepare_cached(
        "SELECT seq, at, type, agent, run, session, iif(json_valid(payload), payload, 'null') FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let cursor = i64::try_from(cursor.0).unwrap_or(i64::MAX);
    let mut found = statement.query(params![cursor, i64::try_from(max).unwrap_or(i64::MAX)])?;
    let (mut page, mut size) = (EventPageRows { rows: Vec::new(), newest, gap }, 0);
    while let Some(row) = found.next()? {
        let run = match row.get_ref(4)?.as_blob_or_null()? {
            Some(_) => Some(rows::run_id(row, 4)?),
            None => None,
        };
        let event = EventRow {
            seq: Seq(row.get::<_, i64>(0)? as u64),
            at: rows::instant(row, 1)?,
            kind: row.get(2)?,
            agent: row.get(3)?,
            run,
            session: row.get(5)?,
            payload: row.get(6)?,
        };
        size += event.payload.len();
        if size > bytes && !page.rows.is_empty() {
            break;
        }
        page.rows.push(event);
    }
    Ok(page)
}
