//! A database with the table that is archived, or that takes what is archived: one set of operations for
//! SQLite and PostgreSQL. Whatever changes rows is one transaction that is done whole or not at all.
use super::row::{Cell, Row};
use super::trouble::failed;
use crate::archive::source::outcome::{How, Put, Removed};
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

/// An open database. It is ours for as long as this lives, as far as archives go.
pub(super) enum Db {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// Opens a database. Nothing runs on it after the deadline.
pub(super) async fn open(database: &Database, deadline: Instant) -> Result<Db, ToolError> {
    let bound = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(30));
    let url = secret::value_of(&database.url, bound).await.map_err(|error| failed(&error.to_string()))?;
    if let Some(path) = url.strip_prefix("sqlite:") {
        return Sqlite::open(sqlite_file(path)?, deadline).await.map(Db::Sqlite);
    }
    Postgres::open(&url, database.password.as_ref(), deadline).await.map(|db| Db::Postgres(Box::new(db)))
}

impl Db {
    /// Waits until no other archive works on the table, and keeps others away.
    pub(super) async fn lock(&mut self, table: &str) -> Result<(), ToolError> {
        match self {
            Self::Sqlite(db) => db.lock(table).await,
            Self::Postgres(db) => db.lock(table).await,
        }
    }

    /// What distinguishes this database from all others, however it is addressed. Of an SQLite file it is known when it
    /// is locked.
    pub(super) async fn identity(&self) -> Result<Option<String>, ToolError> {
        match self {
            Self::Sqlite(db) => Ok(db.identity()),
            Self::Postgres(db) => db.identity().await.map(Some),
        }
    }

    /// Are their rows rows of one table, under whatever names?
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

    /// Is what stands in the table still there when the server or the machine has fallen? Of a file it is.
    pub(super) async fn must_last(&self, table: &Table) -> Result<(), ToolError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(db) => db.must_last(table).await,
        }
    }

    /// Looks at a table: is it fit to be archived?
    pub(super) async fn table(&self, spec: &TableSpec) -> Result<Table, ToolError> {
        match self {
            Self::Sqlite(db) => db.table(spec.clone()).await,
            Self::Postgres(db) => db.table(spec).await,
        }
    }

    /// Rows in the order of their key, or against it, after this one.
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

    /// The rows with the keys of these, at their places.
    pub(super) async fn find(&self, table: &Table, rows: &[Row]) -> Result<Vec<Option<Row>>, ToolError> {
        match self {
            Self::Sqlite(db) => db.find(table.clone(), keys_of(rows)).await,
            Self::Postgres(db) => db.find(table, rows).await,
        }
    }

    /// Places of those of these rows that others of the table refer to, which are not among them.
    pub(super) async fn referred(&self, table: &Table, rows: &[Row]) -> Result<Vec<usize>, ToolError> {
        if !table.is_family() {
            return Ok(Vec::new());
        }
        match self {
            Self::Sqlite(db) => db.referred(table.clone(), rows.to_vec()).await,
            Self::Postgres(db) => db.referred(table, rows).await,
        }
    }

    /// Removes exactly these rows, if each of them is still what it was, and can be put back where that is asked.
    pub(super) async fn remove(&self, table: &Table, rows: &[Row], how: How) -> Result<Removed, ToolError> {
        match self {
            Self::Sqlite(db) => db.remove(table.clone(), rows.to_vec(), how).await,
            Self::Postgres(db) => db.remove(table, rows, how).await,
        }
    }

    /// Puts rows where no others are, and makes sure that they are there as they were. A row that can't be put costs
    /// no other.
    pub(super) async fn put(&self, table: &Table, rows: &[Row]) -> Result<Put, ToolError> {
        match self {
            Self::Sqlite(db) => db.put(table.clone(), rows.to_vec(), true).await,
            Self::Postgres(db) => db.put(table, rows).await,
        }
    }

    /// What putting them would come to: it is done, and undone. Between [`Db::begin_trial`] and [`Db::end_trial`],
    /// what one trial has put is there for the next one, where the database would refuse rows without it.
    pub(super) async fn try_put(&self, table: &Table, rows: &[Row]) -> Result<Put, ToolError> {
        match self {
            Self::Sqlite(db) => db.put(table.clone(), rows.to_vec(), false).await,
            Self::Postgres(db) => db.try_put(table, rows).await,
        }
    }

    /// See [`Db::try_put`].
    pub(super) async fn begin_trial(&self, table: &Table) -> Result<(), ToolError> {
        match self {
            Self::Postgres(db) if table.is_family() => db.begin_trial().await,
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

    /// How many rows of the table refer to rows that are not there. SQLite allows that where a program does not
    /// switch its foreign keys on.
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
