//! Moving the records of a fleet to another database: all tables, with ids and event numbers, in
//! one transaction.
use super::error::StoreError;
use super::place::Where;
use super::sql::{ColumnKind, Scope, Sql, SqlError, SqlErrorKind, SqlResult, Value};
use super::{health, meta, postgres, reader, sqlite};
use crate::domain::{Seq, counted};
use jiff::Timestamp;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// All tables. A test checks that both kinds of databases have exactly these.
pub(super) const TABLES: &[&str] = &[
    "meta",
    "configs",
    "agents",
    // before the ledger: its triggers refuse to claim a slot that has a verdict
    "runs",
    "ledger",
    "backfills",
    "pruned",
    "processes",
    "events",
    "output",
    "steps",
    "holds",
    "spent",
    "told",
    "approvals",
    "questions",
    "listeners",
    "incidents",
    "outbox",
    "sessions",
    "notes",
    "memory_changes",
    "seen",
    "pins",
    "feeds",
    "archives",
    "arrivals",
    "requests",
];
/// Tables whose rows are numbered by the database: assigned numbers are not reused.
pub(super) const NUMBERED: &[&str] = &["output", "incidents", "outbox", "sessions", "memory_changes"];

/// The result of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedRecords {
    pub from: String,
    pub to: String,
    /// The newest event.
    pub newest: Seq,
    /// Number of rows in all tables.
    pub rows: u64,
    /// The new path of a file that was in the way, if there was one.
    pub before: Option<PathBuf>,
}

/// Moves all records. The caller holds the lock of the state folder, and no daemon writes either
/// database. The source is kept and marked: daemons refuse it from then on.
///
/// At no time do daemons accept both databases. There are three commits: all records, with a mark
/// that daemons refuse; the mark of the source; the removal of the first mark. An interrupted move
/// is completed by the next call.
///
/// # Errors
/// [`StoreError::Moved`] if the source was moved elsewhere; [`StoreError::Refused`] if the target
/// has records of its own; errors of the databases.
pub fn transfer(from: &Where, to: &Where, now: Timestamp) -> Result<MovedRecords, StoreError> {
    if let Some(elsewhere) = moved_to(from)? {
        let finished = if elsewhere == to.place() { finish(from, to, now)? } else { None };
        return finished.ok_or(StoreError::Moved { place: from.place(), to: elsewhere });
    }
    let source: Box<Sql> = match &from.server {
        None => Box::new(sqlite::open_alone(&from.file)?),
        Some(spec) => Box::new(postgres::open_alone(spec, from.state_dir(), postgres::Side::Source)?),
    };
    let target: Box<Sql> = match &to.server {
        None => Box::new(sqlite::make(&to.file)?),
        Some(spec) => Box::new(postgres::open_alone(spec, to.state_dir(), postgres::Side::Target)?),
    };
    match move_all(&*source, &*target, from, to) {
        Ok((newest, rows)) => {
            drop(source);
            let before = accept_target(target, to, now)?;
            Ok(MovedRecords { from: from.place(), to: to.place(), newest, rows, before })
        }
        Err(error) => {
            // so that others need not wait until the leases expire
            let _ = source.part();
            let _ = target.part();
            Err(error)
        }
    }
}

/// Makes the first two commits of a move. Returns the newest event, and the number of rows.
fn move_all(source: &Sql, target: &Sql, from: &Where, to: &Where) -> Result<(Seq, u64), StoreError> {
    let (at_source, at_target) = (PathBuf::from(from.place()), PathBuf::from(to.place()));
    let source_says = |doing| says(&at_source, doing);
    let target_says = |doing| says(&at_target, doing);
    // held until the end, so that nothing is written there
    let left = source.begin(Scope::Write).map_err(source_says("reading the records"))?;
    let change = target.begin(Scope::Write).map_err(target_says("writing the records"))?;
    let rows = copy_all(&*left, &*change, (&from.place(), &to.place()))
        .map_err(target_says("writing the records"))?;
    let newest = reader::newest_seq(&*change).map_err(target_says("reading the newest event"))?;
    change.commit().map_err(target_says("writing the records"))?;
    let marked = meta::set(&*left, meta::MOVED_TO, &to.place()).and_then(|()| left.commit());
    marked.map_err(source_says("marking the database as moved"))?;
    source.part().map_err(source_says("closing the database"))?;
    Ok((newest, rows))
}

/// Returns where the records of a database were moved, if they were.
fn moved_to(from: &Where) -> Result<Option<String>, StoreError> {
    let Some(reader) = health::to_read(from)? else { return Ok(None) };
    reader.ask("reading what the database says of itself", |db| meta::value(db, meta::MOVED_TO))
}

/// Completes a move that was interrupted after its second commit; `None` if there is none.
fn finish(from: &Where, to: &Where, now: Timestamp) -> Result<Option<MovedRecords>, StoreError> {
    let place = PathBuf::from(to.place());
    let target: Box<Sql> = match &to.server {
        None => match sqlite::made(&to.file)? {
            Some(link) => Box::new(link),
            None => return Ok(None),
        },
        Some(spec) => Box::new(postgres::open_alone(spec, to.state_dir(), postgres::Side::Target)?),
    };
    let counted = (|| {
        let mut rows = 0;
        for table in TABLES {
            rows += target.one(&format!("SELECT count(*) FROM {table}"), &[], |row| row.get::<i64>(0))?;
        }
        Ok((meta::value(&*target, meta::MOVING_FROM)?, reader::newest_seq(&*target)?, rows.unsigned_abs()))
    })();
    let (of, newest, rows) = counted.map_err(says(&place, "reading the records"))?;
    if of != Some(from.place()) {
        target.part().map_err(says(&place, "closing the database"))?;
        return Ok(None);
    }
    let before = accept_target(target, to, now)?;
    Ok(Some(MovedRecords { from: from.place(), to: to.place(), newest, rows, before }))
}

/// Makes daemons accept the target. Returns the new path of a file that was in the way, if there was one.
fn accept_target(target: Box<Sql>, to: &Where, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    let place = PathBuf::from(to.place());
    let accepted = (|| {
        // a file is accepted by its name
        if to.server.is_some() {
            let change = target.begin(Scope::Write)?;
            meta::forget(&*change, meta::MOVING_FROM)?;
            change.commit()?;
        }
        target.part()
    })();
    accepted.map_err(says(&place, "closing the database"))?;
    drop(target);
    if to.server.is_none() { sqlite::put_in_place(&to.file, now) } else { Ok(None) }
}

fn says<'a>(place: &'a Path, doing: &'a str) -> impl Fn(SqlError) -> StoreError + 'a {
    move |error| StoreError::of(error, place, doing)
}

fn copy_all(from: &Sql, to: &Sql, (from_place, to_place): (&str, &str)) -> SqlResult<u64> {
    clear(to, from_place, to_place)?;
    let mut rows = 0;
    for table in TABLES {
        rows += copy_table(table, from, to)?;
    }
    for table in NUMBERED {
        to.set_last_number(table, from.last_number(table)?)?;
    }
    meta::set(to, meta::CLEAN, "yes")?;
    meta::set(to, meta::MOVING_FROM, from_place)?;
    compare(from, to)?;
    Ok(rows)
}

/// Deletes records that were moved away from the target, or left by an earlier attempt of this
/// move; refuses to delete any others.
fn clear(db: &Sql, from: &str, place: &str) -> SqlResult<()> {
    let is_free = meta::value(db, meta::MOVED_TO)?.is_some()
        || meta::value(db, meta::MOVING_FROM)?.is_some_and(|of| of == from);
    if !is_free
        && (db.exists("SELECT 1 FROM events LIMIT 1", &[])?
            || db.exists("SELECT 1 FROM agents LIMIT 1", &[])?)
    {
        let what = format!("{place} has records already: name another schema, or drop this one");
        return Err(SqlError::new(SqlErrorKind::Refused, what));
    }
    TABLES.iter().try_for_each(|table| db.run(&format!("DELETE FROM {table}"), &[]))
}

/// An owned value of a column.
enum OwnedValue {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl OwnedValue {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(*number),
            Self::Real(number) => Value::Real(*number),
            Self::Text(text) => Value::Text(text),
            Self::Blob(bytes) => Value::Blob(bytes),
        }
    }
}

fn copy_table(table: &str, from: &Sql, to: &Sql) -> SqlResult<u64> {
    let columns = to.columns_of(table)?;
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let numbers: Vec<String> = (1..=names.len()).map(|n| format!("?{n}")).collect();
    let (names, numbers) = (names.join(", "), numbers.join(", "));
    let insert = format!("INSERT INTO {table}({names}) VALUES ({numbers})");
    let mut rows = 0;
    from.each(&format!("SELECT {names} FROM {table}"), &[], &mut |row| {
        let mut owned = Vec::with_capacity(columns.len());
        for (at, (_, kind)) in columns.iter().enumerate() {
            let value = match kind {
                ColumnKind::Integer => row.integer(at)?.map(OwnedValue::Integer),
                ColumnKind::Real => row.real(at)?.map(OwnedValue::Real),
                ColumnKind::Text => row.text(at)?.map(|text| OwnedValue::Text(text.to_owned())),
                ColumnKind::Blob => row.blob(at)?.map(|bytes| OwnedValue::Blob(bytes.to_vec())),
            };
            owned.push(value.unwrap_or(OwnedValue::Null));
        }
        let values: Vec<Value<'_>> = owned.iter().map(OwnedValue::value).collect();
        to.run(&insert, &values)?;
        rows += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(rows)
}

/// Compares the number of rows of each table, and the range of events.
fn compare(source: &Sql, target: &Sql) -> SqlResult<()> {
    let of = |db: &Sql, sql: &str| db.one(sql, &[], |row| row.get::<Option<i64>>(0));
    for table in TABLES {
        let sql = format!("SELECT count(*) FROM {table}");
        let (there, here) = (of(source, &sql)?.unwrap_or(0), of(target, &sql)?.unwrap_or(0));
        // the metadata is partly rewritten
        if there != here && *table != "meta" {
            let rows = |count: i64| counted(count.unsigned_abs(), "row");
            let what = format!("of `{table}` there are {}, and {} arrived", rows(there), rows(here));
            return Err(SqlError::new(SqlErrorKind::Other, what));
        }
    }
    for sql in ["SELECT min(seq) FROM events", "SELECT max(seq) FROM events"] {
        if of(source, sql)? != of(target, sql)? {
            return Err(SqlError::new(SqlErrorKind::Other, "other events arrived than were sent"));
        }
    }
    Ok(())
}
