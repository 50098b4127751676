//! Inserts as many rows as the table accepts. Rows that it refuses are reported by key, and do not prevent
//! the others.
use super::super::outcome::{Put, altered, name};
use super::super::table::Table;
use super::statement::{Trouble, allow_quoted_literals, bind, columns, is_late, one, select_by_key};
use crate::archive::row::{Kind, Row, read_line};
use crate::archive::trouble::failed;
use rusqlite::{Connection, ErrorCode, ffi};

/// Maximum number of skipped rows that abort the whole transaction.
const MAX_ABORTING_ROWS: usize = 100;

/// Inserts rows; if `lasts` is false, it is rolled back.
pub(super) fn put(db: &Connection, table: &Table, rows: &[Row], lasts: bool) -> Result<Put, Trouble> {
    // A row may abort the transaction, by a trigger or a constraint with ROLLBACK: then it is repeated
    // without that row.
    let mut without: Vec<(usize, String)> = Vec::new();
    loop {
        db.execute_batch("BEGIN IMMEDIATE")?;
        match put_in(db, table, rows, &without) {
            // Rows that were stored differently are removed by rolling back; the others are inserted again.
            Ok(put) if lasts && put.refused.len() > without.len() => {
                db.execute_batch("ROLLBACK")?;
                without = put.refused;
            }
            Ok(put) => {
                db.execute_batch(if lasts { "COMMIT" } else { "ROLLBACK" })?;
                return Ok(put);
            }
            Err(Trouble::Ended(at, why)) if without.len() < MAX_ABORTING_ROWS => without.push((at, why)),
            Err(error) => return Err(error),
        }
    }
}

/// Inserts rows within a transaction, without those in `without`.
pub(super) fn put_in(
    db: &Connection,
    table: &Table,
    rows: &[Row],
    without: &[(usize, String)],
) -> Result<Put, Trouble> {
    let about = &table.about;
    let places: Vec<String> = (1..=about.columns.len()).map(|at| format!("?{at}")).collect();
    // The table itself may specify REPLACE for conflicts: never for rows that we insert.
    let insert = format!(
        "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING",
        table.quoted,
        columns(table),
        places.join(", ")
    );
    let mut select = db.prepare_cached(&select_by_key(table))?;
    if let Some(row) = rows.first() {
        one(&mut select, table, &row.key)?;
    }
    allow_quoted_literals(db)?;
    let mut insert = db.prepare_cached(&insert)?;
    let mut put = Put { refused: without.to_vec(), ..Put::default() };
    for (at, row) in rows.iter().enumerate() {
        if without.iter().any(|(known, _)| *known == at) {
            continue;
        }
        match one(&mut select, table, &row.key)? {
            Some(now) if now.line == row.line => {
                put.there += 1;
                continue;
            }
            Some(_) => {
                put.conflicts.push(at);
                continue;
            }
            None => {}
        }
        let cells = read_line(Kind::Sqlite, &about.columns, &row.line)?;
        bind(&mut insert, &cells)?;
        let done = insert.raw_execute();
        if db.is_autocommit() {
            let why =
                done.err().map_or_else(|| "it ends the transaction".to_owned(), |error| error.to_string());
            return Err(Trouble::Ended(at, format!("{}: {why}", name(table, row))));
        }
        match done {
            Ok(0) => put.conflicts.push(at),
            Ok(_) if one(&mut select, table, &row.key)?.is_some_and(|now| now.line == row.line) => {
                put.fresh += 1
            }
            Ok(_) => put.refused.push((at, altered(table, row))),
            Err(error) if is_unique(&error) => put.conflicts.push(at),
            Err(error) if is_of_row(&error) => {
                put.refused.push((at, format!("{}: {error}", name(table, row))))
            }
            Err(error) => return Err(error.into()),
        }
    }
    put.refused.sort_unstable();
    Ok(put)
}

fn is_unique(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY, ffi::SQLITE_CONSTRAINT_ROWID]
            .contains(&error.extended_code)
    })
}

/// Returns whether the error is due to the content of the row; otherwise it is an error of the whole
/// operation.
fn is_of_row(error: &rusqlite::Error) -> bool {
    let kinds = [
        ErrorCode::ConstraintViolation,
        ErrorCode::TypeMismatch,
        ErrorCode::TooBig,
        ErrorCode::Unknown,
        ErrorCode::ParameterOutOfRange,
    ];
    !is_late(error) && error.sqlite_error_code().is_some_and(|code| kinds.contains(&code))
}

/// The error for a row that aborts the whole transaction.
pub(super) fn ended(why: &str) -> crate::domain::ToolError {
    failed(&format!(
        "{why} (a trigger or a constraint of the table ends the whole transaction); nothing was done"
    ))
}
