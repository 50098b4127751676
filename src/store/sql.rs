//! The SQL that both databases understand: one text per statement, with `?1`, `?2` … for its values.
//!
//! A backend is a [`SqlConnection`]. Statements use the part of PostgreSQL's dialect that SQLite
//! has as well: `ON CONFLICT`, `CASE`, named subqueries, sums cast to `BIGINT`, no JSON functions.
//! Code above this file does not depend on which database it is.
use std::borrow::Cow;
use std::ops::{ControlFlow, Deref};

/// A connection of either database.
pub(super) type Sql = dyn SqlConnection;
/// A row of a result.
pub(super) type SqlRow<'a> = dyn Columns + 'a;
/// The result of a statement.
pub(super) type SqlResult<T> = Result<T, SqlError>;

/// A value for a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    /// A number, an instant in microseconds, or a boolean as 1 or 0.
    Integer(i64),
    /// An amount of money.
    Real(f64),
    Text(&'a str),
    /// The id of a run.
    Blob(&'a [u8]),
}

/// A type that can be passed to a statement.
pub(super) trait ToValue {
    /// Returns itself as a value.
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

/// An error of a statement.
#[derive(Debug, Clone)]
pub(super) struct SqlError {
    pub(super) kind: SqlErrorKind,
    /// The message of the database.
    pub(super) what: String,
}

impl SqlError {
    /// Creates an error of this kind.
    pub(super) fn new(kind: SqlErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }
}

/// Kinds of errors that callers distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SqlErrorKind {
    /// The disk is full.
    Full,
    /// It can't be written.
    ReadOnly,
    /// Another connection holds a lock.
    Busy,
    /// It is damaged, or seems so.
    Corrupt,
    /// It violates a constraint of the tables, or has a value that they do not accept.
    Refused,
    /// It violates a rule about slots: a duplicate key, an overlapping range.
    OfRules,
    /// The connection was lost, or the server does not answer.
    Lost,
    /// Another daemon has the lead.
    Fenced,
    Other,
}

/// The columns of a row, by index from 0.
pub(super) trait Columns {
    /// Reads an integer; a boolean is 1 or 0.
    fn integer(&self, at: usize) -> SqlResult<Option<i64>>;
    /// Reads a floating-point number.
    fn real(&self, at: usize) -> SqlResult<Option<f64>>;
    /// Reads a text.
    fn text(&self, at: usize) -> SqlResult<Option<&str>>;
    /// Reads bytes.
    fn blob(&self, at: usize) -> SqlResult<Option<&[u8]>>;
}

/// A type that a column can be read as.
pub(super) trait FromColumn: Sized {
    /// Reads a column; `None` if it is null.
    fn read(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<Self>>;
    /// Returns the value for null; an error, unless the type has such a value.
    fn of_null(at: usize) -> SqlResult<Self> {
        Err(odd(at, "it has no value"))
    }
}

impl dyn Columns + '_ {
    /// Reads a column of this row.
    pub(super) fn get<T: FromColumn>(&self, at: usize) -> SqlResult<T> {
        T::read(self, at)?.map_or_else(|| T::of_null(at), Ok)
    }
}

/// Returns the error for a value that we do not write: the row was damaged, or another program wrote it.
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

/// The kind of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All reads see the same snapshot.
    Read,
    /// No other connection writes in the meantime.
    Write,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Integer,
    /// Floating-point numbers.
    Real,
    Text,
    Blob,
}

/// A callback for each row of a result.
pub(super) type Each<'a> = dyn FnMut(&SqlRow<'_>) -> SqlResult<ControlFlow<()>> + 'a;

/// A connection of either database. Statements are prepared once and cached.
pub(super) trait SqlConnection: Send {
    /// Runs a statement that changes rows. Its error may be reported only by the next statement
    /// with a result, or by the commit: statements are sent to a server without waiting.
    fn run(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<()>;

    /// Runs a statement, and returns how many rows it has changed.
    fn change(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<u64>;

    /// Runs a statement within a transaction, like [`SqlConnection::change`], except that a row
    /// which would violate a rule about slots (a duplicate key, an overlapping range) changes
    /// nothing and is not an error.
    fn change_unless_refused(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<u64>;

    /// Runs a query, and passes each row to the callback until that stops.
    fn each(&self, sql: &str, values: &[Value<'_>], each: &mut Each<'_>) -> SqlResult<()>;

    /// Begins a transaction; [`dyn SqlConnection::begin`] also ends it.
    fn open_transaction(&self, scope: Scope) -> SqlResult<()>;

    /// Commits the transaction.
    fn commit_transaction(&self) -> SqlResult<()>;

    /// Rolls the transaction back.
    fn roll_back(&self);

    /// Returns whether the connection can still be used.
    fn is_open(&self) -> bool;

    /// Returns an expression for the uppercase hex digits of a column of bytes: `hex(id)`.
    fn hex(&self, column: &str) -> String;

    /// Returns whether several daemons can share the records, so that there are tables of nodes.
    fn has_nodes(&self) -> bool {
        false
    }

    /// Returns the columns of a table, in order.
    fn columns_of(&self, table: &str) -> SqlResult<Vec<(String, ColumnKind)>>;

    /// Returns the last number assigned by a table with numbered rows.
    fn last_number(&self, table: &str) -> SqlResult<i64>;

    /// Sets the last assigned number.
    fn set_last_number(&self, table: &str, last: i64) -> SqlResult<()>;

    /// Gives up the database.
    fn part(&self) -> SqlResult<()>;

    /// Estimates the number of bytes in use.
    fn used_bytes(&self) -> SqlResult<u64>;

    /// Returns the bytes of the database with its log.
    fn size(&self) -> SqlResult<u64>;
}

impl dyn SqlConnection {
    /// Returns all rows of a result.
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

    /// Returns the first row of a result, if there is one.
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

    /// Returns the row of a result that always has one.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnMut(&SqlRow<'_>) -> SqlResult<T>,
    ) -> SqlResult<T> {
        self.row(sql, values, read)?
            .ok_or_else(|| SqlError::new(SqlErrorKind::Other, format!("no answer to `{sql}`")))
    }

    /// Returns whether there is a row.
    pub(super) fn exists(&self, sql: &str, values: &[Value<'_>]) -> SqlResult<bool> {
        self.row(sql, values, |_| Ok(())).map(|found| found.is_some())
    }

    /// Begins a transaction. If it is dropped, it is rolled back.
    pub(super) fn begin(&self, scope: Scope) -> SqlResult<Transaction<'_>> {
        self.open_transaction(scope)?;
        Ok(Transaction { db: self, open: true })
    }
}

/// An open transaction, through which statements are run.
pub(super) struct Transaction<'a> {
    db: &'a Sql,
    open: bool,
}

impl Transaction<'_> {
    /// Commits the changes.
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
