//! Rows and keys as texts: expressions to select them, and conversion of results.
use super::super::table::{Cast, Read, Table, quote};
use crate::archive::row::{self, Cell, Column, Kind, Row, write_line};
use crate::archive::trouble::explain;
use crate::domain::ToolError;
use tokio_postgres::types::ToSql;

/// Returns expressions that read the columns as texts.
pub(super) fn columns(table: &Table) -> String {
    let columns = table.about.columns.iter().zip(&table.casts);
    columns.map(|(column, cast)| as_text("t", column, cast)).collect::<Vec<_>>().join(", ")
}

/// Returns expressions for the key of the rows with alias `under`, each part as a text.
pub(super) fn own_key(table: &Table, under: &str) -> String {
    let part = |name: &String| {
        let at = table.about.columns.iter().position(|column| column.name == *name);
        at.map(|at| as_text(under, &table.about.columns[at], &table.casts[at]))
    };
    table.about.key.iter().filter_map(part).collect::<Vec<_>>().join(", ")
}

/// Returns an expression that reads a column as a text.
fn as_text(under: &str, column: &Column, cast: &Cast) -> String {
    let name = format!("{under}.{}", quote(&column.name));
    match cast.read {
        // A composite whose fields are all NULL is not NULL itself, whatever `IS NULL` says.
        Read::Written => {
            format!("CASE WHEN pg_catalog.num_nulls({name}) = 0 THEN pg_catalog.concat({name}) END")
        }
        Read::Plain => format!("{name}::text"),
        Read::As(kind) => format!("{name}::{kind}::text"),
    }
}

/// Returns a table expression `k` with the given keys.
pub(super) fn keys_given(table: &Table) -> String {
    let count = table.keys.len();
    let lists: Vec<String> = (1..=count).map(|at| format!("${at}::text[]")).collect();
    let names: Vec<String> = (0..count).map(|at| format!("k{at}")).collect();
    format!("unnest({}) WITH ORDINALITY AS k({}, place)", lists.join(", "), names.join(", "))
}

pub(super) fn keys_equal(table: &Table) -> String {
    let kind = |name: &String| {
        let place = table.about.columns.iter().position(|column| column.name == *name);
        place.map_or("text", |at| table.casts[at].put.as_str())
    };
    let parts = table.keys.iter().zip(&table.about.key).enumerate();
    let parts = parts.map(|(at, (key, name))| format!("{key} = k.k{at}::{}", kind(name)));
    parts.collect::<Vec<_>>().join(" AND ")
}

/// Returns the rows' keys, as one list per column.
pub(super) fn key_lists(rows: &[Row]) -> Vec<Vec<String>> {
    let mut lists: Vec<Vec<String>> = Vec::new();
    for row in rows {
        lists.resize(row.key.len(), Vec::new());
        for (list, text) in lists.iter_mut().zip(texts(&row.key)) {
            list.push(text);
        }
    }
    lists
}

pub(super) fn given(lists: &[Vec<String>]) -> Vec<&(dyn ToSql + Sync)> {
    lists.iter().map(|list| list as _).collect()
}

pub(super) fn texts(key: &[Cell]) -> Vec<String> {
    key.iter().map(row::shown).collect()
}

pub(super) fn row_of(table: &Table, found: &tokio_postgres::Row) -> Result<Row, ToolError> {
    let cells: Vec<Cell> = (0..table.about.columns.len())
        .map(|at| {
            let text: Option<String> = found.try_get(at).map_err(|error| explain(&error, ""))?;
            Ok(text.map_or(Cell::Null, Cell::Text))
        })
        .collect::<Result<_, ToolError>>()?;
    let mut line = Vec::new();
    write_line(Kind::Postgres, &table.about.columns, cells.iter(), &mut line);
    Ok(table.about.row_of(&cells, line))
}

/// Numeric types, as the server names them.
pub(super) const NUMBERS: &[&str] = &["smallint", "integer", "bigint", "numeric", "real", "double precision"];
