//! The journal of row archives.
use super::error::StoreError;
use super::reader::Reader;
use crate::domain::{ArchiveState, ArchiveStep, to_micros};
use crate::store::sql::{Sql, SqlResult, params};
use jiff::Timestamp;

pub(super) fn stepped(db: &Sql, step: &ArchiveStep, at: Timestamp) -> SqlResult<()> {
    let (pending, rows, bytes) = match &step.doing {
        ArchiveState::Intends { keys } => (Some(keys), 0, 0),
        ArchiveState::Done { rows, bytes } => (None, *rows, *bytes),
    };
    db.run("INSERT INTO archives(source, place, pending, rows, bytes, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT(source, place) DO UPDATE SET pending = excluded.pending, rows = archives.rows + excluded.rows,
           bytes = archives.bytes + excluded.bytes, at = excluded.at", params![step.source, step.place, pending, rows as i64, bytes as i64, to_micros(at)])
}

impl Reader {
    /// Returns the destinations and keys of interrupted moves of rows of this table.
    pub fn archives_pending(&self, source: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.ask("reading an archive's journal", |db| {
            db.rows("SELECT place, pending FROM archives WHERE source = ?1 AND pending IS NOT NULL ORDER BY place", params![source], |row| Ok((row.get(0)?, row.get(1)?)))
        })
    }

    /// Returns whether an archive at this place has taken rows, or was about to.
    pub fn archives_at(&self, place: &str) -> Result<bool, StoreError> {
        self.ask("reading an archive's journal", |db| {
            db.exists(
                "SELECT 1 FROM archives WHERE place = ?1 AND (rows > 0 OR pending IS NOT NULL)",
                params![place],
            )
        })
    }
}
