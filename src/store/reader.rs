//! A read-only view of the database. Its questions stand with what they are about.
use crate::domain::Seq;
use crate::store::error::StoreError;
use crate::store::sql::{Sql, SqlResult};
use std::path::PathBuf;

/// A read-only view; every question is one short transaction.
pub struct Reader {
    pub(super) db: Box<Sql>,
    /// Where that is, for errors.
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
    /// The daemon that leads now: its machine and its state folder. `None`: nobody does. Only of records on a server; a file has
    /// no other daemon than its own.
    pub fn leader(&self) -> Result<Option<String>, StoreError> {
        self.ask("reading who leads", super::postgres::leader)
    }
}

/// The newest event; kept apart from the rows, so that numbers never start again after a pruning.
pub(super) fn newest_seq(db: &Sql) -> SqlResult<Seq> {
    let newest: Option<i64> = db.one("SELECT max(seq) FROM events", &[], |row| row.get(0))?;
    Ok(Seq(newest.unwrap_or(0) as u64))
}
