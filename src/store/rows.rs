//! How values stand in columns of rows.
use crate::domain::{AgentId, RunId, Usage, timestamp_of_micros};
use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::FromSqlError;

/// A value that is not what we write: the row was damaged, or another program wrote it.
pub(super) fn odd(at: usize, what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        at,
        rusqlite::types::Type::Text,
        Box::new(FromSqlError::other(std::io::Error::other(what))),
    )
}

pub(super) fn word<T>(
    row: &Row<'_>,
    at: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    parse(&text).ok_or_else(|| odd(at, format!("unknown word `{text}`")))
}

pub(super) fn agent_id(row: &Row<'_>, at: usize) -> rusqlite::Result<AgentId> {
    let text: String = row.get(at)?;
    text.parse().map_err(|_| odd(at, format!("no agent id: `{text}`")))
}

pub(super) fn run_id(row: &Row<'_>, at: usize) -> rusqlite::Result<RunId> {
    row.get::<_, [u8; 16]>(at).map(RunId::from_bytes)
}

pub(super) fn instant(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    row.get(at).map(timestamp_of_micros)
}

pub(super) fn maybe(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(at).map(|at| at.map(timestamp_of_micros))
}

pub(super) fn usage_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Usage> {
    let number = |at| row.get::<_, i64>(at).map(|n| n as u64);
    Ok(Usage {
        requests: number(at)?,
        input_tokens: number(at + 1)?,
        cached_tokens: number(at + 2)?,
        output_tokens: number(at + 3)?,
        usd: row.get(at + 4)?,
    })
}
