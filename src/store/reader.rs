//! A read-only view of the database. Its questions stand with what they are about.
use crate::domain::Seq;
use rusqlite::Connection;
use std::path::PathBuf;

/// A read-only view; every question is one short transaction.
pub struct Reader {
    pub(super) db: Connection,
    pub(super) path: PathBuf,
}

/// The newest event; kept apart from the rows, so that numbers never start again after a pruning.
pub(super) fn newest_seq(db: &Connection) -> rusqlite::Result<Seq> {
    let newest: Option<i64> = db.query_row("SELECT max(seq) FROM events", [], |row| row.get(0))?;
    Ok(Seq(newest.unwrap_or(0) as u64))
}
