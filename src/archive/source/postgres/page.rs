//! The statement that reads a page, and its parameters.
use super::super::table::{Bounds, Filter, Table, quote};
use super::text::{NUMBERS, columns, texts};
use crate::archive::row::{Cell, Column};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::error::Error;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

/// Returns the statement that reads a page, with its parameters as texts.
pub(super) fn statement(
    table: &Table,
    filter: &Filter,
    after: Option<&[Cell]>,
    bounds: Bounds,
) -> (String, Vec<Option<String>>) {
    let mut values: Vec<Option<String>> = Vec::new();
    let mut place = |value: Option<String>| {
        values.push(value);
        format!("${}", values.len())
    };
    let mut tests: Vec<String> = Vec::new();
    let age = table.about.columns.iter().find(|column| column.name == table.about.column);
    for (at, sign) in [(filter.before, "<"), (filter.from, ">=")] {
        if let (Some(at), Some(age)) = (at, age) {
            // The instant may be out of range for the column's type, so it is compared as a wider one.
            let wide = if ["smallint", "integer"].contains(&age.kind.as_str()) { "::bigint" } else { "" };
            tests.push(format!(
                "t.{} {sign} {}{wide}",
                quote(&age.name),
                place(Some(instant(at, age, table)))
            ));
        }
    }
    for (name, wanted) in &filter.only {
        let list: Vec<String> = wanted.iter().map(|value| place(Some(plain(value)))).collect();
        tests.push(format!("t.{} IN ({})", quote(name), list.join(", ")));
    }
    if let Some(after) = after {
        let list: Vec<String> = texts(after).into_iter().map(|text| place(Some(text))).collect();
        let sign = if bounds.backwards { "<" } else { ">" };
        tests.push(format!("({}) {sign} ({})", table.keys.join(", "), list.join(", ")));
    }
    let order = if bounds.backwards { " DESC" } else { "" };
    let order: Vec<String> = table.keys.iter().map(|key| format!("{key}{order}")).collect();
    let tests = if tests.is_empty() { "true".to_owned() } else { tests.join(" AND ") };
    let sql = format!(
        "SELECT {} FROM {} AS t WHERE {tests} ORDER BY {} LIMIT {}",
        columns(table),
        table.quoted,
        order.join(", "),
        bounds.rows
    );
    (sql, values)
}

/// Formats an instant for comparison with the age column. Integer columns count from 1970.
fn instant(at: Timestamp, age: &Column, table: &Table) -> String {
    if NUMBERS.iter().any(|name| age.kind.starts_with(name)) {
        return at.as_second().saturating_mul(table.about.unit.per_second()).to_string();
    }
    if at.to_zoned(TimeZone::UTC).year() < 1 {
        // The server formats such years differently; nothing that it can represent is older.
        return "-infinity".to_owned();
    }
    at.strftime("%Y-%m-%d %H:%M:%S+00").to_string()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A parameter in text format, which the server parses as the type that the statement requires.
#[derive(Debug)]
pub(super) struct Sent(pub(super) Option<String>);

impl ToSql for Sent {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(ty, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}
