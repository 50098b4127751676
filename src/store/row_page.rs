//! Events as stored, for exporters: payloads are not parsed, since that dominates the cost of reading.
use super::error::StoreError;
use super::{EventPageRows, EventRow, reader, rows};
use crate::domain::*;
use crate::store::reader::Reader;
use crate::store::sql::{Scope, Sql, SqlResult, params};
use serde::de::IgnoredAny;
use std::ops::ControlFlow;

impl Reader {
    /// Returns events after a cursor, as stored: at most `max`, and beyond the first only up to
    /// `bytes` of payload.
    pub fn rows_after(&self, cursor: Seq, max: usize, bytes: usize) -> Result<EventPageRows, StoreError> {
        self.ask("reading events", |db| {
            let snapshot = db.begin(Scope::Read)?;
            let page = page(&*snapshot, cursor, max, bytes)?;
            snapshot.commit()?;
            Ok(page)
        })
    }

    /// Returns what an export was to begin from, and after which event it began; `None` if it never has.
    pub fn export_began(&self, target: &str) -> Result<Option<(String, Seq)>, StoreError> {
        self.ask("reading where a copy of the log began", |db| {
            let value: Option<String> =
                db.row("SELECT value FROM meta WHERE key = ?1", params![began_key(target)], |row| {
                    row.get(0)
                })?;
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

/// Records after which event an export begins. The first record is kept as long as the export is to
/// begin from the same.
pub(super) fn began(db: &Sql, target: &str, from: &str, after: Seq) -> SqlResult<()> {
    db.run(
        "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value
         WHERE meta.value NOT LIKE ?3",
        params![began_key(target), format!("{from} {after}"), format!("{from} %")],
    )
}

fn page(db: &Sql, cursor: Seq, max: usize, bytes: usize) -> SqlResult<EventPageRows> {
    let newest = reader::newest_seq(db)?;
    let oldest: Option<i64> = db.one("SELECT min(seq) FROM events", &[], |row| row.get(0))?;
    let oldest = oldest.map_or(newest.0 + 1, |oldest| oldest as u64);
    let gap = (cursor.0 + 1 < oldest).then_some((Seq(cursor.0 + 1), Seq(oldest - 1)));
    let cursor = i64::try_from(cursor.0).unwrap_or(i64::MAX);
    let (mut page, mut size) = (EventPageRows { rows: Vec::new(), newest, gap }, 0);
    let sql =
        "SELECT seq, at, type, agent, run, session, payload FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    db.each(sql, params![cursor, i64::try_from(max).unwrap_or(i64::MAX)], &mut |row| {
        // a damaged row does not end the export: its payload becomes null
        let payload = row.text(6).ok().flatten().filter(|text| is_json(text)).unwrap_or("null").to_owned();
        let event = EventRow {
            seq: Seq(row.get::<i64>(0)? as u64),
            at: rows::instant(row, 1)?,
            kind: row.get(2)?,
            agent: row.get(3)?,
            run: rows::maybe_run(row, 4)?,
            session: row.get(5)?,
            payload,
        };
        size += event.payload.len();
        if size > bytes && !page.rows.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        page.rows.push(event);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(page)
}

/// Returns whether a text is JSON, of any depth: skipped values are not built.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
