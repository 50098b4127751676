//! A database with the table that is archived, or that takes what is archived: one set of operations for
//! SQLite and PostgreSQL. Whatever changes rows is one transaction that is done whole or not at all.
use super::failed;
use super::object::About;
use super::row::{Cell, Column, Kind, Row, Unit};
use crate::domain::{SecretRef, TextOrSecret, nearest};
use crate::secret;
use crate::tools::{ToolError, sql};
use jiff::Timestamp;
use postgres::Postgres;
use serde_json::Value;
use sqlite::Sqlite;
use std::time::{Duration, Instant};

mod family;
mod names;
mod outcome;
mod postgres;
mod sqlite;

pub(super) use outcome::{How, Left, Put, Removed, Why, places};

/// Where a database is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) url: TextOrSecret,
    pub(super) password: Option<SecretRef>,
}

/// What is said of a table.
#[derive(Debug, Clone)]
pub(super) struct TableSpec {
    pub(super) table: String,
    pub(super) key: Vec<String>,
    pub(super) column: String,
    pub(super) unit: Unit,
}

/// A table that was looked at and found fit.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) about: About,
    /// As it stands after FROM.
    quoted: String,
    /// As each column of the key stands in comparisons, in order.
    keys: Vec<String>,
    /// How each column is read and put, in order, as the database itself says it: what an object or a manifest says
    /// never becomes a part of a statement.
    casts: Vec<Cast>,
    /// The name of the table that its rows are part of, as the database has it: one table has one such name.
    pub(super) root: String,
    /// What deleting a row would change elsewhere, unless it is prevented.
    referrers: Vec<Referrer>,
    /// Foreign keys of the table to itself: rows that are referred to wait until those that refer are archived.
    own: Vec<Referrer>,
    /// What the role may do, and what statements must heed.
    ability: Ability,
    /// Names of all columns that the database does not make itself, as it was looked at.
    all: Vec<String>,
}

impl Table {
    /// The table with the columns that it had when rows were archived; those that came later take their
    /// defaults.
    pub(super) fn as_archived(&self, about: &About) -> Result<Self, ToolError> {
        if about.kind != self.about.kind {
            return Err(failed(&format!(
                "the rows are of another kind of database than {}",
                self.about.source
            )));
        }
        if about.key != self.about.key {
            return Err(failed(&format!(
                "the rows were archived by the key {:?}, and the settings say {:?}: set `key` back to what it was",
                about.key, self.about.key
            )));
        }
        let cast = |column: &Column| {
            let place = self.about.columns.iter().position(|known| known.name == column.name);
            place.map(|at| self.casts[at].of_archived(&column.kind)).ok_or_else(|| {
                failed(&format!(
                    "the archived rows have a column `{}`, and table {} has none: add it, then try again",
                    column.name, self.about.table
                ))
            })
        };
        let casts = about.columns.iter().map(cast).collect::<Result<_, _>>()?;
        Ok(Self { about: about.clone(), casts, ..self.clone() })
    }
}

impl Table {
    /// Do rows of it refer to other rows of it?
    pub(super) fn is_family(&self) -> bool {
        !self.own.is_empty()
    }

    /// May the role put rows, so that a way back can be tried?
    pub(super) fn can_put(&self) -> bool {
        self.ability.put
    }

    /// May the role delete rows?
    pub(super) fn can_delete(&self) -> bool {
        self.ability.delete
    }

    /// Columns whose values are numbers of things in their own database, and mean nothing in another one.
    pub(super) fn local_columns(&self) -> Vec<&str> {
        let is_local = |cast: &Cast| matches!(cast.read, Read::As(_));
        let columns = self.about.columns.iter().zip(&self.casts);
        columns.filter(|(_, cast)| is_local(cast)).map(|(column, _)| column.name.as_str()).collect()
    }

    /// The table with these of its columns only, as far as it has them.
    pub(super) fn of_columns(&self, names: &[String]) -> Self {
        let mut part = self.clone();
        let is_one = |column: &Column| names.contains(&column.name);
        part.casts = self
            .about
            .columns
            .iter()
            .zip(&self.casts)
            .filter(|(column, _)| is_one(column))
            .map(|(_, cast)| cast.clone())
            .collect();
        part.about.columns.retain(is_one);
        part
    }
}

/// How a column is read as a text, and how that text becomes its value.
#[derive(Debug, Clone, PartialEq)]
struct Cast {
    read: Read,
    /// What the text is cast to, one after the other.
    put: String,
}

/// How a value of PostgreSQL becomes a text; SQLite needs none.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Read {
    /// By a cast.
    Plain,
    /// By what the type itself writes, where a cast would do more or less than that.
    Written,
    /// As this type. What such a value is called depends on settings and on what there is at that time.
    As(&'static str),
}

impl Cast {
    /// How a value is put that was archived when its column was of this type. Names of things were archived as such
    /// before they were archived as numbers.
    fn of_archived(&self, kind: &str) -> Self {
        match self.read {
            Read::As(_) if !kind.starts_with("oid") => {
                let put = self.put.rsplit("::").next().unwrap_or(&self.put).to_owned();
                Self { read: Read::Plain, put }
            }
            _ => self.clone(),
        }
    }
}

/// What the role may do with a table, and what statements on it must heed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ability {
    /// It may put rows.
    put: bool,
    /// It may delete rows.
    delete: bool,
    /// It may lock rows.
    lock: bool,
    /// Whether a row can be put shows only when it was: the table has a constraint that is checked later, or a rule.
    put_plainly: bool,
}

impl Ability {
    /// Whatever is done.
    const ALL: Self = Self { put: true, delete: true, lock: true, put_plainly: false };
}

/// A foreign key by which rows refer to rows that are to go.
#[derive(Debug, Clone)]
struct Referrer {
    /// The table that refers, quoted.
    table: String,
    /// Its columns and ours, quoted.
    columns: Vec<(String, String)>,
    /// What it would do; empty: it would refuse.
    action: String,
}

/// Which rows are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    /// Older than this.
    pub(super) before: Option<Timestamp>,
    /// Not older than this.
    pub(super) from: Option<Timestamp>,
    /// Only with one of these values in these columns.
    pub(super) only: Vec<(String, Vec<Value>)>,
}

/// Bounds of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) rows: usize,
    /// Of all lines; one row is taken in any case.
    pub(super) bytes: usize,
    /// From the last key to the first.
    pub(super) backwards: bool,
}

/// What was found.
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    /// Is there nothing after it?
    pub(super) end: bool,
    /// Was it broken off because the time was up?
    pub(super) late: bool,
}

/// An open database. It is ours for as long as this lives, as far as archives go.
pub(super) enum Db {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// Opens a database. Nothing runs on it after the deadline.
pub(super) async fn open(place: &Place, deadline: Instant) -> Result<Db, ToolError> {
    let bound = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(30));
    let url = secret::value_of(&place.url, bound).await.map_err(|error| failed(&error.to_string()))?;
    if let Some(path) = url.strip_prefix("sqlite:") {
        return Sqlite::open(sql::sqlite_path(path)?, deadline).await.map(Db::Sqlite);
    }
    Postgres::open(&url, place.password.as_ref(), deadline).await.map(|db| Db::Postgres(Box::new(db)))
}

impl Db {
    /// Waits until no other archive works on the table, and keeps others away.
    pub(super) async fn lock(&mut self, table: &str) -> Result<(), ToolError> {
        match self {
            Self::Sqlite(db) => db.lock(table).await,
            Self::Postgres(db) => db.lock(table).await,
        }
    }

    /// What tells this database from each other one, however it is called. Of an SQLite file it is known when it
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

/// Columns that are asked for must be there.
fn check_columns(spec: &TableSpec, columns: &[Column]) -> Result<(), ToolError> {
    for name in spec.key.iter().chain([&spec.column]) {
        has_column(&spec.table, columns.iter().map(|column| column.name.as_str()), name)?;
    }
    Ok(())
}

fn has_column<'a>(
    table: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    name: &str,
) -> Result<(), ToolError> {
    if known.clone().any(|known| known == name) {
        return Ok(());
    }
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", known.collect::<Vec<_>>().join(", ")),
    };
    Err(failed(&format!("table {table} has no column `{name}`: {hint}")))
}

fn no_table(name: &str, of: &str, tables: &[String]) -> ToolError {
    let hint = match nearest(name, tables.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if tables.is_empty() => "there are no tables".into(),
        None => format!("there are {}", tables.iter().take(30).cloned().collect::<Vec<_>>().join(", ")),
    };
    failed(&format!("there is no table `{name}`: {hint} (in {of})"))
}

fn no_key(spec: &TableSpec) -> ToolError {
    failed(&format!(
        "`key = {:?}` does not tell the rows of {} apart: it must be the primary key, or columns with a UNIQUE \
         index on exactly them (not a partial one)",
        spec.key, spec.table
    ))
}

fn null_key(spec: &TableSpec, column: &str) -> ToolError {
    failed(&format!(
        "the key's column `{column}` of {} may be NULL, and such rows can't be told apart: make it NOT NULL",
        spec.table
    ))
}

fn about(kind: Kind, source: String, spec: &TableSpec, columns: Vec<Column>) -> About {
    About {
        format: super::object::FORMAT.into(),
        kind,
        source,
        table: spec.table.clone(),
        columns,
        key: spec.key.clone(),
        column: spec.column.clone(),
        unit: spec.unit,
    }
}

/// A name as SQL takes it, whatever it holds.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
