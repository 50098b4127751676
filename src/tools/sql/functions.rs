//! SQLite's own `instr`, `replace` and `trim` take minutes for two long texts, in one step that can't be
//! interrupted. These replacements return the same in time linear in the length of the text.
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, Result};
use std::borrow::Cow;

/// Maximum size of a result of `replace`, in bytes.
const MAX_TEXT_BYTES: usize = 2 << 20;
/// Maximum number of characters in the set that `trim` removes.
const MAX_TRIM_CHARS: usize = 50;

pub(super) fn replace_slow_functions(connection: &Connection) -> Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("instr", 2, flags, instr)?;
    connection.create_scalar_function("replace", 3, flags, replace)?;
    connection.create_scalar_function("trim", 2, flags, |context| trim(context, true, true))?;
    connection.create_scalar_function("ltrim", 2, flags, |context| trim(context, true, false))?;
    connection.create_scalar_function("rtrim", 2, flags, |context| trim(context, false, true))
}

/// Converts a value to text as SQLite does; `None` for null.
fn text(value: ValueRef<'_>) -> Option<Cow<'_, str>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string().into()),
        ValueRef::Real(number) => Some(real(number).into()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes)),
    }
}

fn real(number: f64) -> String {
    let text = number.to_string();
    if number.is_finite() && number.fract() == 0.0 && !text.contains('.') { text + ".0" } else { text }
}

fn instr(context: &Context<'_>) -> Result<Option<i64>> {
    let (in_what, what) = (context.get_raw(0), context.get_raw(1));
    let place = if let (ValueRef::Blob(bytes), ValueRef::Blob(part)) = (in_what, what) {
        bytes_place(bytes, part)?
    } else {
        let (Some(text), Some(part)) = (text(in_what), text(what)) else { return Ok(None) };
        text.find(part.as_ref()).map(|at| text[..at].chars().count())
    };
    Ok(Some(place.map_or(0, |at| i64::try_from(at + 1).unwrap_or(i64::MAX))))
}

/// Returns the position of some bytes in others.
fn bytes_place(bytes: &[u8], part: &[u8]) -> Result<Option<usize>> {
    if part.is_empty() {
        return Ok(Some(0));
    }
    if part.len() > 64 << 10 {
        return Err(failed("the bytes that are looked for are longer than 64 KiB"));
    }
    let searcher = aho_corasick::AhoCorasick::builder()
        .kind(Some(aho_corasick::AhoCorasickKind::NoncontiguousNFA))
        .build([part])
        .map_err(|error| failed(&error.to_string()))?;
    Ok(searcher.find(bytes).map(|found| found.start()))
}

fn replace(context: &Context<'_>) -> Result<Value> {
    let [whole, part, new] = [0, 1, 2].map(|at| text(context.get_raw(at)));
    let (Some(whole), Some(part), Some(new)) = (whole, part, new) else { return Ok(Value::Null) };
    if part.is_empty() {
        return Ok(Value::Text(whole.into_owned()));
    }
    let found = whole.matches(part.as_ref()).count();
    let longer = found.saturating_mul(new.len()).saturating_add(whole.len());
    if longer.saturating_sub(found * part.len()) > MAX_TEXT_BYTES {
        return Err(failed("string or blob too big"));
    }
    Ok(Value::Text(whole.replace(part.as_ref(), &new)))
}

fn trim(context: &Context<'_>, start: bool, end: bool) -> Result<Option<String>> {
    let (Some(whole), Some(set)) = (text(context.get_raw(0)), text(context.get_raw(1))) else {
        return Ok(None);
    };
    let set: Vec<char> = set.chars().take(MAX_TRIM_CHARS + 1).collect();
    if set.len() > MAX_TRIM_CHARS {
        return Err(failed("trim takes away at most 50 characters"));
    }
    let mut left: &str = &whole;
    if start {
        left = left.trim_start_matches(&set[..]);
    }
    if end {
        left = left.trim_end_matches(&set[..]);
    }
    Ok(Some(left.to_owned()))
}

fn failed(text: &str) -> Error {
    Error::UserFunctionError(text.into())
}
