//! Deletes rows from a table: exactly those that were read, and only if they can be restored.
use super::super::family::{self, Reference};
use super::super::outcome::{DeleteMode, DeleteOutcome, Left, Why, kept, other_columns, refers};
use super::super::table::{ForeignKey, Table};
use super::statement::{Trouble, allow_quoted_literals, bind, by_key, one, row_of, select_by_key};
use super::{look, put};
use crate::archive::row::Row;
use rusqlite::Connection;

pub(super) fn remove(
    db: &Connection,
    table: &Table,
    rows: &[Row],
    how: DeleteMode,
) -> Result<DeleteOutcome, Trouble> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let mut select = db.prepare_cached(&select_by_key(table))?;
    let mut differ = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        if one(&mut select, table, &row.key)?.is_none_or(|now| now.line != row.line) {
            differ.push(at);
        }
    }
    if !differ.is_empty() {
        db.execute_batch("ROLLBACK")?;
        return Ok(DeleteOutcome::changed(&differ));
    }
    if look::names(db, table)? != table.all {
        return Err(other_columns(table).into());
    }
    let referred = referred_under_lock(db, table, rows)?;
    if !referred.is_empty() {
        db.execute_batch("ROLLBACK")?;
        return Ok(DeleteOutcome::left(&referred, &Why::Referred));
    }
    allow_quoted_literals(db)?;
    let mut delete = db.prepare_cached(&format!("DELETE FROM {} WHERE {}", table.quoted, by_key(table)))?;
    for row in rows {
        bind(&mut delete, &row.key)?;
        if delete.raw_execute()? != 1 {
            return Err(kept(table, row).into());
        }
    }
    if look::has_triggers(db, table)? {
        // A trigger may have inserted a row again.
        for row in rows {
            if one(&mut select, table, &row.key)?.is_some() {
                return Err(kept(table, row).into());
            }
        }
    }
    if how.tries() {
        db.execute_batch("SAVEPOINT way_back")?;
        let left = match put::put_in(db, table, rows, &[]) {
            Ok(put) => put.not_restorable(table, rows),
            // The deletion is rolled back with the transaction.
            Err(Trouble::Ended(at, why)) => vec![Left { at, why: Why::OneWay(why) }],
            Err(error) => return Err(error),
        };
        if !left.is_empty() {
            return Ok(DeleteOutcome::Not(left));
        }
        db.execute_batch("ROLLBACK TO way_back; RELEASE way_back")?;
    }
    db.execute_batch(if how.lasts() { "COMMIT" } else { "ROLLBACK" })?;
    Ok(DeleteOutcome::Done)
}

/// Returns positions of rows that are referred to by other rows of the table that are not among these.
pub(super) fn referred(db: &Connection, table: &Table, rows: &[Row]) -> Result<Vec<usize>, Trouble> {
    db.execute_batch("BEGIN")?;
    let places = references(db, table, rows, &[], &table.own)?;
    db.execute_batch("ROLLBACK")?;
    Ok(places)
}

/// As `referred`, within the writing transaction. An error if rows of another table refer to them.
fn referred_under_lock(db: &Connection, table: &Table, rows: &[Row]) -> Result<Vec<usize>, Trouble> {
    references(db, table, rows, &table.referrers, &table.own)
}

/// Looks for rows that refer to these: rows of other tables are an error; for rows of the same table, returns
/// which of these must stay. All keys are queried at once, since referring columns often have no index.
fn references(
    db: &Connection,
    table: &Table,
    rows: &[Row],
    others: &[ForeignKey],
    own: &[ForeignKey],
) -> Result<Vec<usize>, Trouble> {
    if others.is_empty() && own.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = (0..table.keys.len()).map(|at| format!("k{at}")).collect();
    let marks: Vec<String> = (1..=table.keys.len() + 1).map(|at| format!("?{at}")).collect();
    db.execute_batch(&format!(
        "DROP TABLE IF EXISTS temp.bgagent_keys; CREATE TEMP TABLE bgagent_keys(place INTEGER PRIMARY KEY, {})",
        names.join(", ")
    ))?;
    let mut insert = db.prepare(&format!("INSERT INTO temp.bgagent_keys VALUES ({})", marks.join(", ")))?;
    for (at, row) in rows.iter().enumerate() {
        insert.raw_bind_parameter(1, i64::try_from(at).unwrap_or(i64::MAX))?;
        super::statement::bind_from(&mut insert, 2, &row.key)?;
        insert.raw_execute()?;
    }
    drop(insert);
    for referrer in others {
        let mut ask = db.prepare(&format!("SELECT 1 {} LIMIT 1", joined(table, referrer)))?;
        if ask.exists([])? {
            return Err(refers(referrer, table).into());
        }
    }
    let mut found: Vec<Reference> = Vec::new();
    for own in own {
        let part = table.of_columns(&table.about.key);
        let columns: Vec<String> =
            part.about.columns.iter().map(|column| format!("c.{}", super::quote(&column.name))).collect();
        let mut ask =
            db.prepare(&format!("SELECT {}, k.place {}", columns.join(", "), joined(table, own)))?;
        let mut rows = ask.query([])?;
        while let Some(row) = rows.next()? {
            let child = row_of(&part, row)?;
            let place: i64 = row.get(columns.len())?;
            found.push((table.about.key_line(&child), usize::try_from(place).unwrap_or(0)));
        }
    }
    let places = rows.iter().enumerate().map(|(at, row)| (table.about.key_line(row), at)).collect();
    db.execute_batch("DROP TABLE temp.bgagent_keys")?;
    Ok(family::referred(&places, &found))
}

/// Returns a join of rows `c` that refer to rows of the table with the keys `k`.
fn joined(table: &Table, referrer: &ForeignKey) -> String {
    // The first operand determines the collation: that of the referenced column.
    let join: Vec<String> = referrer.columns.iter().map(|(from, to)| format!("p.{to} = c.{from}")).collect();
    let keys: Vec<String> =
        table.keys.iter().enumerate().map(|(at, key)| format!("p.{key} = k.k{at}")).collect();
    format!(
        "FROM temp.bgagent_keys AS k JOIN {} AS p ON {} JOIN {} AS c ON {}",
        table.quoted,
        keys.join(" AND "),
        referrer.table,
        join.join(" AND ")
    )
}
