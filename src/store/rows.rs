//! Conversion of columns to values.
use crate::domain::{AgentId, RunId, Usage, timestamp_of_micros};
use crate::store::sql::{SqlResult, SqlRow, odd};
use jiff::Timestamp;

pub(super) fn word<T>(row: &SqlRow<'_>, at: usize, parse: impl FnOnce(&str) -> Option<T>) -> SqlResult<T> {
    let text = text(row, at)?;
    parse(text).ok_or_else(|| odd(at, format!("unknown word `{text}`")))
}

/// Returns a text that must not be null.
pub(super) fn text<'a>(row: &'a SqlRow<'_>, at: usize) -> SqlResult<&'a str> {
    row.text(at)?.ok_or_else(|| odd(at, "it has no value"))
}

/// Parses a text as JSON.
pub(super) fn json_of<T: serde::de::DeserializeOwned>(row: &SqlRow<'_>, at: usize) -> SqlResult<T> {
    serde_json::from_str(text(row, at)?).map_err(|error| odd(at, error.to_string()))
}

pub(super) fn agent_id(row: &SqlRow<'_>, at: usize) -> SqlResult<AgentId> {
    let text = text(row, at)?;
    text.parse().map_err(|_| odd(at, format!("no agent id: `{text}`")))
}

pub(super) fn run_id(row: &SqlRow<'_>, at: usize) -> SqlResult<RunId> {
    row.get::<[u8; 16]>(at).map(RunId::from_bytes)
}

/// Returns the run in a column, if it is not null.
pub(super) fn maybe_run(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<RunId>> {
    Ok(row.get::<Option<[u8; 16]>>(at)?.map(RunId::from_bytes))
}

pub(super) fn instant(row: &SqlRow<'_>, at: usize) -> SqlResult<Timestamp> {
    row.get::<i64>(at).map(timestamp_of_micros)
}

pub(super) fn maybe(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<Timestamp>> {
    row.get::<Option<i64>>(at).map(|at| at.map(timestamp_of_micros))
}

pub(super) fn usage_of(row: &SqlRow<'_>, at: usize) -> SqlResult<Usage> {
    let number = |at| row.get::<i64>(at).map(|n| n as u64);
    Ok(Usage {
        requests: number(at)?,
        input_tokens: number(at + 1)?,
        cached_tokens: number(at + 2)?,
        output_tokens: number(at + 3)?,
        usd: row.get(at + 4)?,
    })
}
