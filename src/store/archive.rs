//! The journal of archives of rows.
use super::error::StoreError;
use super::reader::Reader;
use crate::domain::{ArchiveDoing, ArchiveStep, to_micros};
use jiff::Timestamp;
use rusqlite::{Connection, params};

pub(super) fn stepped(db: &Connection, step: &ArchiveStep, at: Timestamp) -> rusqlite::Result<()> {
    let (pending, rows, bytes) = match &step.doing {
        ArchiveDoing::Intends { keys } => (Some(keys), 0, 0),
        ArchiveDoing::Done { rows, bytes } => (None, *rows, *bytes),
    };
    db.prepare_cached(
        "INSERT INTO archives(source, place, pending, rows, bytes, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET pending = excluded.pending, rows = rows + excluded.rows,
           bytes = bytes + excluded.bytes, at = excluded.at",
    )?
    .execute(params![step.source, step.place, pending, rows as i64, bytes as i64, to_micros(at)])
    .map(|_| ())
}

impl Reader {
    /// Where rows of this table were about to go, and which, of archives that were broken off.
    pub fn archives_pending(&self, source: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.ask("reading an archive's journal", |db| {
            let mut statement = db.prepare_cached(
                "SELECT place, pending FROM archives WHERE source = ?1 AND pending IS NOT NULL ORDER BY place",
            )?;
            let rows = statement.query_map([source], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }

    /// Is this the place of an archive that has taken rows, or was about to?
    pub fn archives_at(&self, place: &str) -> Result<bool, StoreError> {
        self.ask("reading an archive's journal", |db| {
            db.prepare_cached(
                "SELECT 1 FROM archives WHERE place = ?1 AND (rows > 0 OR pending IS NOT NULL)",
            )?
            .exists([place])
        })
    }
}
