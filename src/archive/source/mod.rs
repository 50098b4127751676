//! A database with the source or the destination table of an archive: one set of operations for SQLite and
//! PostgreSQL. Whatever changes rows is one atomic transaction.
use super::row::{Cell, Row};
use super::trouble::failed;
use crate::archive::source::outcome::{DeleteMode, DeleteOutcome, Put};
use crate::archive::source::table::{Bounds, Filter, Page, Table, TableSpec};
use crate::domain::{Database, ToolError};
use crate::secret;
use crate::sqlite_file::sqlite_file;
use postgres::Postgres;
use sqlite::Sqlite;
use std::time::{Duration, Instant};

mod family;
mod names;
pub(super) mod outcome;
mod postgres;
mod sqlite;
pub(super) mod table;

/// An open database. As far as archives go, this process has exclusive use of it as long as this value lives.
pub(super) enum Db {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// Opens a database. No statement runs on it after the deadline.
pub(super) async fn open(database: &Database, deadline: Instant) -> Result<Db, ToolError> {
    let bound = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(30));
    let url = secret::value_of(&database.url, bound).await.map_err(|error| failed(&error.to_string()))?;
    if let Some(path) = url.strip_prefix("sqlite:") {
        return Sqlite::open(sqlite_file(path)?, deadline).await.map(Db::Sqlite);
    }
    Postgres::open(&url, database.password.as_ref(), deadline).await.map(|db| Db::Postgres(Box::new(db)))
}

impl Db {
    /// Waits until no other archive works on the table, and locks it against other archives.
    pub(super) async fn lock(&mut self, table: &str) -> Result<(), ToolError> {
        match self {
            Self::Sqlite(db) => db.lock(table).await,
            Self::Postgres(db) => db.lock(table).await,
        }
    }

    /// Returns what distinguishes this database from all others, however it is addressed. For an SQLite file,
    /// this is known once it is locked.
    pub(super) async fn identity(&self) -> Result<Option<String>, ToolError> {
        match self {
            Self::Sqlite(db) => Ok(db.identity()),
            Self::Postgres(db) => db.identity().await.map(Some),
        }
    }

    /// Returns whether both are the same table, or parts of it, under whatever names.
    pub(super) async fn is_same_table(
        &self,
        table: &Table,
        other: &Self,
        there: &Table,
    ) -> Result<bool, ToolError> {
        if table.root != there.root {
            return Ok(false);
        }
        match (self, other) {
            (Self::Sqlite(here), Self::Sqlite(there)) => here.is_same_file(there),
            (Self::Postgres(here), Self::Postgres(there)) => here.is_same_database(there).await,
            _ => Ok(false),
        }
    }

    /// Fails if the content of the table would not survive a crash of the server or the machine. A file's
    /// content does.
    pub(super) async fn must_last(&self, table: &Table) -> Result<(), ToolError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(db) => db.must_last(table).await,
        }
    }

    /// Inspects a table, and fails if it can't be archived.
    pub(super) async fn table(&self, spec: &TableSpec) -> Result<Table, ToolError> {
        match self {
            Self::Sqlite(db) => db.table(spec.clone()).await,
            Self::Postgres(db) => db.table(spec).await,
        }
    }

    /// Returns rows in key order, or in reverse, after the given key.
    pub(super) async fn page(
        &self,
        table: &Table,
        filter: &Filter,
        after: Option<&[Cell]>,
        bounds: Bounds,
    ) -> Result<Page, ToolError> {
        match self {
            Self::Sqlite(db) => {
                db.page(table.clone(), filter.clone(), after.map(<[Cell]>::to_vec), bounds).await
            }
            Self::Postgres(db) => db.page(table, filter, after, bounds).await,
        }
    }

    /// Finds the current rows with the keys of these, at the same positions.
    pub(super) async fn find(&self, table: &Table, rows: &[Row]) -> Result<Vec<Option<Row>>, ToolError> {
        match self {
            Self::Sqlite(db) => db.find(table.clone(), keys_of(rows)).await,
            Self::Postgres(db) => db.find(table, rows).await,
        }
    }

    /// Returns positions of those of these rows that are referred to by other rows of the table that are not
    /// among these.
    pub(super) async fn referred(&self, table: &Table, rows: &[Row]) -> Result<Vec<usize>, ToolError> {
        if !table.has_self_references() {
            return Ok(Vec::new());
        }
        match self {
            Self::Sqlite(db) => db.referred(table.clone(), rows.to_vec()).await,
            Self::Postgres(db) => db.referred(table, rows).await,
        }
    }

    /// Deletes exactly these rows, if each of them is unchanged and, where `how` asks for it, can be
    /// restored.
    pub(super) async fn remove(
        &self,
        table: &Table,
        rows: &[Row],
        how: DeleteMode,
    ) -> Result<DeleteOutcome, ToolError> {
        match self {
            Self::Sqlite(db) => db.remove(table.clone(), rows.to_vec(), how).await,
            Self::Postgres(db) => db.remove(table, rows, how).await,
        }
    }

    /// Inserts rows where there are no others, and verifies that they are stored unchanged. A row that can't
    /// be inserted does not prevent the others.
    pub(super) async fn put(&self, table: &Table, rows: &[Row]) -> Result<Put, ToolError> {
        match self {
            Self::Sqlite(db) => db.put(table.clone(), rows.to_vec(), true).await,
            Self::Postgres(db) => db.put(table, rows).await,
        }
    }

    /// Tries what inserting them would result in, and rolls it back. Between [`Db::begin_trial`] and
    /// [`Db::end_trial`], rows inserted by one trial are visible to the next one, where the database would
    /// refuse rows without them.
    pub(super) async fn try_put(&self, table: &Table, rows: &[Row]) -> Result<Put, ToolError> {
        match self {
            Self::Sqlite(db) => db.put(table.clone(), rows.to_vec(), false).await,
            Self::Postgres(db) => db.try_put(table, rows).await,
        }
    }

    /// See [`Db::try_put`].
    pub(super) async fn begin_trial(&self, table: &Table) -> Result<(), ToolError> {
        match self {
            Self::Postgres(db) if table.has_self_references() => db.begin_trial().await,
            _ => Ok(()),
        }
    }

    /// See [`Db::try_put`].
    pub(super) async fn end_trial(&self) -> Result<(), ToolError> {
        match self {
            Self::Postgres(db) => db.end_trial().await,
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Counts the rows of the table that refer to rows that do not exist. SQLite allows that where a program
    /// does not enable foreign keys.
    pub(super) async fn dangling(&self, table: &Table) -> Result<u64, ToolError> {
        match self {
            Self::Sqlite(db) => db.dangling(table.clone()).await,
            Self::Postgres(_) => Ok(0),
        }
    }
}

fn keys_of(rows: &[Row]) -> Vec<Vec<Cell>> {
    rows.iter().map(|row| row.key.clone()).collect()
}
