//! A row as it is archived: the values of its key, and the whole row as one line of JSON. Equal lines are
//! equal rows, so rows are compared as bytes.
//!
//! Lines preserve values exactly. A value of PostgreSQL is the server's text representation: a JSON number
//! where that text is one (with all its digits), `true` and `false` for booleans, else a string. A value of
//! SQLite keeps its storage class: an integer is a number without a point or exponent, a real one has one of
//! them; a blob is `{"base64": "…"}`, text that is not UTF-8 `{"text_base64": "…"}`, an infinite real
//! `{"real": "Infinity"}`.
use super::trouble::failed;
use crate::domain::{TimeUnit, ToolError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// An archived column. Generated columns are not archived: the database computes them again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its type, as reported by the database; empty if its SQLite declaration has none.
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// A value. PostgreSQL's are all [`Cell::Text`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
    /// Text of SQLite that is not UTF-8.
    OddText(Vec<u8>),
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Values of the key columns, in the key's order.
    pub(super) key: Vec<Cell>,
    /// All values, as a JSON object without a line break.
    pub(super) line: Vec<u8>,
    /// Value of the age column as an instant, if it is one.
    pub(super) at: Option<Timestamp>,
}

/// The kind of database that values come from, which decides how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// Appends a row to `line` as JSON.
pub(super) fn write_line<'a>(
    kind: Kind,
    columns: &[Column],
    cells: impl Iterator<Item = &'a Cell>,
    line: &mut Vec<u8>,
) {
    line.push(b'{');
    for (at, (column, cell)) in columns.iter().zip(cells).enumerate() {
        if at > 0 {
            line.push(b',');
        }
        string(&column.name, line);
        line.push(b':');
        write_cell(kind, &column.kind, cell, line);
    }
    line.push(b'}');
}

fn string(text: &str, line: &mut Vec<u8>) {
    serde_json::to_writer(line, text).expect("a text is JSON, and memory can be written");
}

fn write_cell(kind: Kind, type_name: &str, cell: &Cell, line: &mut Vec<u8>) {
    match cell {
        Cell::Null => line.extend_from_slice(b"null"),
        Cell::Integer(number) => line.extend_from_slice(number.to_string().as_bytes()),
        Cell::Real(number) if number.is_finite() => {
            serde_json::to_writer(line, number).expect("a finite number is JSON");
        }
        Cell::Real(number) => {
            let name = if *number > 0.0 { "Infinity" } else { "-Infinity" };
            line.extend_from_slice(format!("{{\"real\":\"{name}\"}}").as_bytes());
        }
        Cell::Text(text) if kind == Kind::Postgres && is_plain(type_name, text) => {
            line.extend_from_slice(text.as_bytes());
        }
        Cell::Text(text) => string(text, line),
        Cell::Blob(bytes) => encoded("base64", bytes, line),
        Cell::OddText(bytes) => encoded("text_base64", bytes, line),
    }
}

fn encoded(name: &str, bytes: &[u8], line: &mut Vec<u8>) {
    line.extend_from_slice(format!("{{\"{name}\":\"").as_bytes());
    line.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    line.extend_from_slice(b"\"}");
}

/// Returns whether the text of a PostgreSQL value is itself a JSON token.
fn is_plain(type_name: &str, text: &str) -> bool {
    let is_number =
        ["smallint", "integer", "bigint", "oid", "numeric", "real", "double precision"].iter().any(|name| {
            type_name == *name || type_name.strip_prefix(name).is_some_and(|rest| rest.starts_with('('))
        });
    match type_name {
        "boolean" => matches!(text, "true" | "false"),
        _ => is_number && is_json_number(text),
    }
}

fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let rest = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

/// Parses the values of a line, in the order of `columns`.
pub(super) fn read_line(kind: Kind, columns: &[Column], line: &[u8]) -> Result<Vec<Cell>, ToolError> {
    let bad = |why: String| failed(&format!("a line of an object can't be read: {why}"));
    #[derive(Deserialize)]
    struct Line<'a>(#[serde(borrow)] HashMap<Cow<'a, str>, &'a RawValue>);
    let values: Line<'_> = serde_json::from_slice(line).map_err(|error| bad(error.to_string()))?;
    columns
        .iter()
        .map(|column| {
            let raw = values.0.get(column.name.as_str());
            let raw = raw.ok_or_else(|| bad(format!("it has no `{}`", column.name)))?;
            read_cell(kind, raw.get()).map_err(|why| bad(format!("`{}`: {why}", column.name)))
        })
        .collect()
}

fn read_cell(kind: Kind, raw: &str) -> Result<Cell, String> {
    if raw == "null" {
        return Ok(Cell::Null);
    }
    if raw.starts_with('"') {
        return serde_json::from_str(raw).map(Cell::Text).map_err(|error| error.to_string());
    }
    if kind == Kind::Postgres {
        return Ok(Cell::Text(raw.to_owned()));
    }
    if raw.starts_with('{') {
        let tagged: HashMap<String, String> = serde_json::from_str(raw).map_err(|error| error.to_string())?;
        let (name, text) = tagged.iter().next().ok_or("an empty object is not a value")?;
        let bytes = || STANDARD.decode(text).map_err(|error| error.to_string());
        return match name.as_str() {
            "base64" => bytes().map(Cell::Blob),
            "text_base64" => bytes().map(Cell::OddText),
            "real" if text == "Infinity" => Ok(Cell::Real(f64::INFINITY)),
            "real" if text == "-Infinity" => Ok(Cell::Real(f64::NEG_INFINITY)),
            _ => Err(format!("`{name}` is not a kind of value")),
        };
    }
    if raw.contains(['.', 'e', 'E']) {
        return raw.parse().map(Cell::Real).map_err(|_| format!("`{raw}` is not a number"));
    }
    raw.parse().map(Cell::Integer).map_err(|_| format!("`{raw}` is not a value"))
}

/// Formats a key, or a part of one, for people and manifests.
pub(super) fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".into(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Blob(bytes) | Cell::OddText(bytes) => STANDARD.encode(bytes),
    }
}

/// Returns the instant that a value of the age column represents, if any. Times without a zone are UTC.
pub(super) fn instant(cell: &Cell, unit: TimeUnit) -> Option<Timestamp> {
    let micros = |number: f64| {
        let micros = number * (1_000_000 / unit.per_second()) as f64;
        Timestamp::from_microsecond(micros as i64).ok()
    };
    match cell {
        Cell::Integer(number) => number
            .checked_mul(1_000_000 / unit.per_second())
            .and_then(|micros| Timestamp::from_microsecond(micros).ok()),
        Cell::Real(number) if number.is_finite() => micros(*number),
        Cell::Text(text) => {
            if let Ok(number) = text.parse::<i64>() {
                return instant(&Cell::Integer(number), unit);
            }
            if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
                return micros(number);
            }
            // PostgreSQL's "+00" is not an RFC 3339 offset.
            let padded = match text.as_bytes() {
                [.., b'+' | b'-', a, b] if a.is_ascii_digit() && b.is_ascii_digit() && text.contains(':') => {
                    Cow::Owned(format!("{text}:00"))
                }
                _ => Cow::Borrowed(text.as_str()),
            };
            if let Ok(at) = padded.parse::<Timestamp>() {
                return Some(at);
            }
            let local: DateTime = text.parse().ok()?;
            local.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    //! Values are preserved exactly.
    use super::*;

    fn column(name: &str, kind: &str) -> Column {
        Column { name: name.into(), kind: kind.into() }
    }

    #[track_caller]
    fn check(kind: Kind, type_name: &str, cell: Cell, text: &str) {
        let columns = [column("a \"b\"\n", type_name)];
        let mut line = Vec::new();
        write_line(kind, &columns, [cell.clone()].iter(), &mut line);
        let shown = String::from_utf8(line.clone()).unwrap();
        assert_eq!(shown, format!("{{\"a \\\"b\\\"\\n\":{text}}}"));
        let back = read_line(kind, &columns, &line).unwrap();
        assert_eq!(back, [cell]);
    }

    #[test]
    fn values_of_sqlite_keep_their_class() {
        for (cell, text) in [
            (Cell::Null, "null"),
            (Cell::Integer(i64::MIN), "-9223372036854775808"),
            (Cell::Integer(9_007_199_254_740_993), "9007199254740993"),
            (Cell::Real(1.0), "1.0"),
            (Cell::Real(-0.0), "-0.0"),
            (Cell::Real(1e300), "1e+300"),
            (Cell::Real(f64::INFINITY), r#"{"real":"Infinity"}"#),
            (Cell::Real(f64::NEG_INFINITY), r#"{"real":"-Infinity"}"#),
            (Cell::Text("12".into()), r#""12""#),
            (Cell::Text("ü\0\u{1F600}\n".into()), "\"ü\\u0000\u{1F600}\\n\""),
            (Cell::Blob(vec![0, 255]), r#"{"base64":"AP8="}"#),
            (Cell::OddText(vec![255]), r#"{"text_base64":"/w=="}"#),
        ] {
            check(Kind::Sqlite, "", cell, text);
        }
    }

    #[test]
    fn values_of_postgres_are_its_texts() {
        for (type_name, value, text) in [
            ("bigint", "9223372036854775807", "9223372036854775807"),
            ("numeric(40,5)", "12345678901234567890.12300", "12345678901234567890.12300"),
            ("numeric", "NaN", "\"NaN\""),
            ("double precision", "1e+300", "1e+300"),
            ("double precision", "-Infinity", "\"-Infinity\""),
            ("boolean", "true", "true"),
            ("text", "true", "\"true\""),
            ("text", "null", "\"null\""),
            ("jsonb", "null", "\"null\""),
            ("jsonb", "{\"a\": 1}", "\"{\\\"a\\\": 1}\""),
            ("integer[]", "{1,NULL}", "\"{1,NULL}\""),
            ("bytea", "\\x00ff", "\"\\\\x00ff\""),
        ] {
            check(Kind::Postgres, type_name, Cell::Text(value.into()), text);
        }
        check(Kind::Postgres, "jsonb", Cell::Null, "null");
    }

    #[test]
    fn ages_are_read_in_every_form() {
        let noon: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        for (cell, unit) in [
            (Cell::Text("2026-01-02 12:00:00+00".into()), TimeUnit::Seconds),
            (Cell::Text("2026-01-02 12:00:00".into()), TimeUnit::Seconds),
            (Cell::Text("2026-01-02T12:00:00Z".into()), TimeUnit::Seconds),
            (Cell::Text("2026-01-02 14:00:00+02:00".into()), TimeUnit::Seconds),
            (Cell::Integer(noon.as_second()), TimeUnit::Seconds),
            (Cell::Real(noon.as_second() as f64), TimeUnit::Seconds),
            (Cell::Integer(noon.as_millisecond()), TimeUnit::Milliseconds),
            (Cell::Text(noon.as_microsecond().to_string()), TimeUnit::Microseconds),
        ] {
            assert_eq!(instant(&cell, unit), Some(noon), "{cell:?}");
        }
        let day = instant(&Cell::Text("2026-01-02".into()), TimeUnit::Seconds).unwrap();
        assert_eq!(day.to_string(), "2026-01-02T00:00:00Z");
        for odd in [Cell::Null, Cell::Text("infinity".into()), Cell::Text("soon".into())] {
            assert_eq!(instant(&odd, TimeUnit::Seconds), None);
        }
    }
}
