//! SQL as both databases speak it: one text for each statement, with `?1`, `?2` … for its values.
//!
//! A backend is a [`SqlConnection`]. What is common to both is PostgreSQL's dialect as far as SQLite has it: `ON CONFLICT`,
//! `CASE`, named subqueries, sums that are cast to `BIGINT`, no functions of JSON. Which database it is shows in nothing
//! above this file.
use std::borrow::Cow;
use std::ops::{ControlFlow, Deref};

/// What statements are run by: a connection of either database.
pub(super) type Sql = dyn SqlConnection;
/// A row of an answer.
pub(super) type SqlRow<'a> = dyn Columns + 'a;
/// What a statement comes to.
pub(super) type SqlResult<T> = Result<T, SqlError>;

/// A value for a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    /// A number, an instant in microseconds, or yes and no as 1 and 0.
    Integer(i64),
    /// A sum of money.
    Real(f64),
    Text(&'a str),
    /// The id of a run.
    Blob(&'a [u8]),
}

/// What can be handed to a statement.
pub(super) trait ToValue {
    /// Itself as a value.
    fn value(&self) -> Value<'_>;
}

/// The values of a statement, in the order of their numbers.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::sql::ToValue::value(&$value)),*]
    };
}
pub(super) use params;

impl ToValue for Value<'_> {
    fn value(&self) -> Value<'_> {
        *self
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn value(&self) -> Value<'_> {
        (**self).value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, ToValue::value)
    }
}

macro_rules! integers {
    ($($kind:ty),*) => {$(
        impl ToValue for $kind {
            fn value(&self) -> Value<'_> {
                Value::Integer(i64::from(*self))
            }
        }
    )*};
}
integers!(i64, i32, u32, u8, bool);

impl ToValue for Cow<'_, str> {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for f64 {
    fn value(&self) -> Value<'_> {
        Value::Real(*self)
    }
}

impl ToValue for str {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for String {
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl ToValue for [u8] {
    fn value(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

/// What a statement did not do.
#[derive(Debug, Clone)]
pub(super) struct SqlError {
    /// Of which kind that is.
    pub(super) kind: SqlErrorKind,
    /// What the database says.
    pub(super) what: String,
}

impl SqlError {
    /// An error of this kind.
    pub(super) fn new(kind: SqlErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }
}

/// Kinds of errors that somebody goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SqlErrorKind {
    /// The disk is full.
    Full,
    /// It can't be written.
    ReadOnly,
    /// Another one holds a lock.
    Busy,
    /// It is damaged, or seems so.
    Corrupt,
    /// It breaks a rule of the tables, or has a value that they do not take.
    Refused,
    /// It breaks a rule about slots: a key that is there, a range that overlaps.
    OfRules,
    /// The connection is gone, or nobody answers.
    Lost,
    /// Another daemon has the lead.
    Fenced,
    Other,
}

/// The columns of a row, by their place from 0.
pub(super) trait Columns {
    /// A number; yes and no are 1 and 0.
    fn integer(&self, at: usize) -> SqlResult<Option<i64>>;
    /// A number with a fraction.
    fn real(&self, at: usize) -> SqlResult<Option<f64>>;
    /// A text.
    fn text(&self, at: usize) -> SqlResult<Option<&str>>;
    /// Bytes.
    fn blob(&self, at: usize) -> SqlResult<Option<&[u8]>>;
}

/// What a column can be read as.
pub(super) trait FromColumn: Sized {
    /// `None`: the column has no value.
    fn read(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<Self>>;
    /// The value of a column that has none; an error, unless that is a value, too.
    fn of_null(at: usize) -> SqlResult<Self> {
        Err(odd(at, "it has no value"))
    }
}

impl dyn Columns + '_ {
    /// A column of this row.
    pub(super) fn get<T: FromColumn>(&self, at: usize) -> SqlResult<T> {
        T::read(self, at)?.map_or_else(|| T::of_null(at), Ok)
    }
}

/// A value that is not what we write: the row was damaged, or another program wrote it.
pub(super) fn odd(at: usize, what: impl std::fmt::Display) -> SqlError {
    SqlError::new(SqlErrorKind::Other, format!("column {at} can't be read: {what}"))
}

impl FromColumn for i64 {
    fn read(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<Self>> {
        row.integer(at)
    }
}

macro_rules! narrower {
    ($($kind:ty),*) => {$(
        impl FromColumn for $kind {
            fn read(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<Self>> {
                let narrow = |wide| Self::try_from(wide).map_err(|_| odd(at, format!("{wide} is out of range")));
                row.integer(at)?.map(narrow).transpose()
            }
        }
    )*};
}
narrower!(i32, u32, u8);

impl FromColumn for bool {
    fn read(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<Self>> {
        Ok(row.integer(at)?.map(|number| number != 0))
    }
}

impl FromColumn for f64 {
    fn read(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<Self>> {
        row.real(at)
    }
}

impl FromColumn for String {
    fn read(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<Self>> {
        Ok(row.text(at)?.map(str::to_owned))
    }
}

impl FromColumn for [u8; 16] {
    fn read(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<Self>> {
        let sized = |bytes: &[u8]| bytes.try_into().map_err(|_| odd(at, "it has not 16 bytes"));
        row.blob(at)?.map(sized).transpose()
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn read(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<Self>> {
        T::read(row, at).map(Some)
    }
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All that is read is of one instant.
    Read,
    /// Nobody else writes meanwhile.
    Write,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Integer,
    /// Numbers with a fraction.
    Real,
    Text,
    Blob,
}

/// What is done with each row of an answer.
pub(super) type Each<'a> = dyn FnMut(&SqlRow<'_>) -> SqlResult<ControlFlow<()>> + 'a;

/// A connection of one of the databases. Statements are prepared once and kept.
pub(super) trait SqlConnection: Send {
    /// Runs a statement that changes rows. What stands against it may show only at the next statement that has an answer,
    /// or at the commit: a server is not waited for in between.
    fn run(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<()>;

    /// Runs a statement; how many rows it has changed.
    fn change(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<u64>;

    /// The same within a transaction, where a row that would break a rule about slots (a key that is there, a range that
    /// overlaps) changes nothing and is no error.
    fn change_unless_refused(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<u64>;

    /// Asks, and hands on each row until one is the last that is wanted.
    fn each(&self, sql: &str, values: &[Value<'_>], each: &mut Each<'_>) -> SqlResult<()>;

    /// Begins a transaction; [`dyn SqlConnection::begin`] ends it, too.
    fn open_transaction(&self, scope: Scope) -> SqlResult<()>;

    /// Makes its changes last.
    fn commit_transaction(&self) -> SqlResult<()>;

    /// Takes its changes back.
    fn roll_back(&self);

    /// Can it be asked again?
    fn is_open(&self) -> bool;

    /// The digits of a column of bytes in capitals, as an expression: `hex(id)`.
    fn hex(&self, column: &str) -> String;

    /// Can several daemons share the records, so that there are tables of their nodes?
    fn has_nodes(&self) -> bool {
        false
    }

    /// The columns of a table, in their order.
    fn columns_of(&self, table: &str) -> SqlResult<Vec<(String, ColumnKind)>>;

    /// The last number that a table with numbered rows has given.
    fn last_number(&self, table: &str) -> SqlResult<i64>;

    /// From now on numbers after this one are given.
    fn set_last_number(&self, table: &str, last: i64) -> SqlResult<()>;

    /// Leaves the database to others.
    fn part(&self) -> SqlResult<()>;

    /// About how many bytes hold something.
    fn used_bytes(&self) -> SqlResult<u64>;

    /// Bytes of the database with its log.
    fn size(&self) -> SqlResult<u64>;
}

impl dyn SqlConnection {
    /// All rows of an answer.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&SqlRow<'_>) -> SqlResult<T>,
    ) -> SqlResult<Vec<T>> {
        let mut rows = Vec::new();
        self.each(sql, values, &mut |row| {
            rows.push(read(row)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(rows)
    }

    /// The first row of an answer, if there is one.
    pub(super) fn row<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&SqlRow<'_>) -> SqlResult<T>,
    ) -> SqlResult<Option<T>> {
        let mut found = None;
        self.each(sql, values, &mut |row| {
            found = Some(read(row)?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// The row of an answer that always has one.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnMut(&SqlRow<'_>) -> SqlResult<T>,
    ) -> SqlResult<T> {
        self.row(sql, values, read)?
            .ok_or_else(|| SqlError::new(SqlErrorKind::Other, format!("no answer to `{sql}`")))
    }

    /// Is there a row?
    pub(super) fn exists(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<bool> {
        self.row(sql, values, |_| Ok(())).map(|found| found.is_some())
    }

    /// Begins a transaction. One that is dropped changes nothing.
    pub(super) fn begin(&self, scope: Scope) -> SqlResult<Transaction<'_>> {
        self.open_transaction(scope)?;
        Ok(Transaction { db: self, open: true })
    }
}

/// A transaction under way; statements within it are run by it.
pub(super) struct Transaction<'a> {
    db: &'a Sql,
    open: bool,
}

impl Transaction<'_> {
    /// Makes its changes last.
    pub(super) fn commit(mut self) -> SqlResult<()> {
        self.db.commit_transaction()?;
        self.open = false;
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = Sql;

    fn deref(&self) -> &Sql {
        self.db
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            self.db.roll_back();
        }
    }
}
