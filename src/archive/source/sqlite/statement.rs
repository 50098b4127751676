//! Statements on a table, their parameters, and their errors.
use crate::archive::row::{Cell, Kind, Row, write_line};
use crate::archive::source::table::{Table, quote};
use crate::domain::ToolError;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, Statement};

/// An error of a statement.
pub(super) enum Trouble {
    Sql(rusqlite::Error),
    Tool(ToolError),
    /// The row at this position aborted the whole transaction, for this reason.
    Ended(usize, String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<ToolError> for Trouble {
    fn from(error: ToolError) -> Self {
        Self::Tool(error)
    }
}

pub(super) fn is_late(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

pub(super) fn columns(table: &Table) -> String {
    table.about.columns.iter().map(|column| quote(&column.name)).collect::<Vec<_>>().join(", ")
}

pub(super) fn by_key(table: &Table) -> String {
    let parts = table.keys.iter().enumerate().map(|(at, key)| format!("{key} = ?{}", at + 1));
    parts.collect::<Vec<_>>().join(" AND ")
}

pub(super) fn select_by_key(table: &Table) -> String {
    format!("SELECT {} FROM {} WHERE {}", columns(table), table.quoted, by_key(table))
}

pub(super) fn row_of(table: &Table, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let cells: Vec<Cell> = (0..table.about.columns.len())
        .map(|at| {
            Ok(match row.get_ref(at)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(number) => Cell::Integer(number),
                ValueRef::Real(number) => Cell::Real(number),
                ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                    Ok(text) => Cell::Text(text.to_owned()),
                    Err(_) => Cell::OddText(bytes.to_vec()),
                },
                ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
            })
        })
        .collect::<rusqlite::Result<_>>()?;
    let mut line = Vec::new();
    write_line(Kind::Sqlite, &table.about.columns, cells.iter(), &mut line);
    Ok(table.about.row_of(&cells, line))
}

pub(super) fn bind(statement: &mut Statement<'_>, cells: &[Cell]) -> rusqlite::Result<()> {
    bind_from(statement, 1, cells)
}

/// Binds parameters, beginning with this one.
pub(super) fn bind_from(statement: &mut Statement<'_>, first: usize, cells: &[Cell]) -> rusqlite::Result<()> {
    for (at, cell) in cells.iter().enumerate() {
        let value = match cell {
            Cell::OddText(bytes) => ToSqlOutput::Borrowed(ValueRef::Text(bytes)),
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Cell::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Cell::Integer(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Cell::Real(number) => ToSqlOutput::Borrowed(ValueRef::Real(*number)),
        };
        statement.raw_bind_parameter(at + first, value)?;
    }
    Ok(())
}

/// Allows string literals in double quotes, as the table's triggers may contain, until the end of this
/// operation. To be called within a transaction that has read a row, so that our own names are known to be
/// columns and stay that.
pub(super) fn allow_quoted_literals(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, true).map(|_| ())
}

/// Returns the row with this key.
pub(super) fn one(select: &mut Statement<'_>, table: &Table, key: &[Cell]) -> rusqlite::Result<Option<Row>> {
    bind(select, key)?;
    let mut found = select.raw_query();
    found.next()?.map(|row| row_of(table, row)).transpose()
}
