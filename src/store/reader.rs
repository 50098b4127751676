//! A read-only view of the database. Its queries are in the files of their subjects.
use crate::domain::Seq;
use crate::store::error::StoreError;
use crate::store::sql::{Sql, SqlResult};
use std::path::PathBuf;

/// A read-only view; every query is one short transaction.
pub struct Reader {
    pub(super) db: Box<Sql>,
    /// The location, for errors.
    pub(super) place: PathBuf,
}

impl Reader {
    pub(super) fn ask<T>(
        &self,
        doing: &'static str,
        question: impl FnOnce(&Sql) -> SqlResult<T>,
    ) -> Result<T, StoreError> {
        question(&*self.db).map_err(|error| StoreError::of(error, &self.place, doing))
    }
}

impl Reader {
    /// Returns the daemon that leads now: its machine and its state folder; `None` if there is
    /// none. Only for records on a server; a file has only its own daemon.
    pub fn leader(&self) -> Result<Option<String>, StoreError> {
        self.ask("reading who leads", super::postgres::leader)
    }
}

/// Returns the newest event. Pruning never removes it, so that numbers are not reused.
pub(super) fn newest_seq(db: &Sql) -> SqlResult<Seq> {
    let newest: Option<i64> = db.one("SELECT max(seq) FROM events", &[], |row| row.get(0))?;
    Ok(Seq(newest.unwrap_or(0) as u64))
}
