//! Queries of past runs and slots: pages of them, newest first or by slot.
use super::error::StoreError;
use super::read::{RUN_COLUMNS, ledger_row, run_row};
use super::rows::{maybe, run_id, usage_of, word};
use super::sql::{SqlResult, SqlRow, Value, params};
use super::{LedgerEntry, LedgerRun, RunFilter, RunRow, UsageOf};
use crate::domain::*;
use crate::store::reader::Reader;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// Run ids grow with their creation time ([RFC 9562] version 7). Clocks that are set may be off by this much.
///
/// [RFC 9562]: https://www.rfc-editor.org/rfc/rfc9562#section-5.7
const CLOCK_SLACK: SignedDuration = SignedDuration::from_hours(48);

/// The end of a run of an agent, without texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunEnd {
    pub run: RunId,
    pub status: RunStatus,
    pub duration: Option<SignedDuration>,
}

/// Selects records of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerPage {
    /// The first records that begin after an instant, by slot, with a maximum count.
    After(Option<Timestamp>, usize),
    /// The newest records, newest first, with a maximum count.
    Newest(usize),
}

/// The usage of runs that ended within one hour.
#[derive(Debug, Clone, PartialEq)]
pub struct HourUsed {
    /// Beginning of the hour, in the requested time zone: `2026-11-30T14:00`.
    pub hour: String,
    /// The agent or the model; empty if it was not asked for.
    pub of: String,
    /// Number of runs that ended.
    pub runs: u64,
    pub usage: Usage,
}

impl Reader {
    /// Returns runs, newest first.
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let mut wanted = vec!["id IS NOT NULL".to_owned()];
        let mut values = vec![Value::Integer(i64::try_from(filter.limit).unwrap_or(i64::MAX))];
        let any_of = |column: &str, count: usize, from: usize| {
            let places: Vec<String> = (from..from + count).map(|at| format!("?{at}")).collect();
            format!("{column} IN ({})", places.join(", "))
        };
        if !filter.agents.is_empty() {
            wanted.push(any_of("agent", filter.agents.len(), values.len() + 1));
            values.extend(filter.agents.iter().map(|agent| Value::Text(agent.as_str())));
        }
        if !filter.statuses.is_empty() {
            wanted.push(any_of("status", filter.statuses.len(), values.len() + 1));
            values.extend(filter.statuses.iter().map(|status| Value::Text(status.as_str())));
        }
        if !filter.triggers.is_empty() {
            wanted.push(any_of("trigger", filter.triggers.len(), values.len() + 1));
            values.extend(filter.triggers.iter().map(|trigger| Value::Text(trigger.as_str())));
        }
        if let Some(before) = &filter.before {
            values.push(Value::Blob(before.as_bytes()));
            wanted.push(format!("id < ?{}", values.len()));
        }
        let oldest = filter.since.and_then(|since| since.checked_sub(CLOCK_SLACK).ok()).map(RunId::first_at);
        if let (Some(since), Some(oldest)) = (filter.since, &oldest) {
            values.push(Value::Blob(oldest.as_bytes()));
            wanted.push(format!("id >= ?{}", values.len()));
            values.push(Value::Integer(to_micros(since)));
            wanted.push(format!("queued_at >= ?{}", values.len()));
        }
        if let Some(until) = filter.until {
            values.push(Value::Integer(to_micros(until)));
            wanted.push(format!("queued_at <= ?{}", values.len()));
        }
        let wanted = wanted.join(" AND ");
        let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE {wanted} ORDER BY id DESC LIMIT ?1");
        self.ask("reading runs", |db| db.rows(&sql, &values, run_row))
    }

    /// Returns the ends of an agent's newest completed runs, newest first.
    pub fn recent_ends(&self, agent: &AgentId, limit: usize) -> Result<Vec<RunEnd>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.ask("reading runs", |db| {
            db.rows(
                "SELECT id, status, duration FROM runs WHERE agent = ?1 AND finished_at IS NOT NULL ORDER BY id DESC LIMIT ?2",
                params![agent.as_str(), limit],
                |row| {
                    let duration = row.get::<Option<i64>>(2)?.map(SignedDuration::from_micros);
                    Ok(RunEnd { run: run_id(row, 0)?, status: word(row, 1, RunStatus::parse)?, duration })
                },
            )
        })
    }

    /// Returns the ledger records of one agent with a slot between `from` and `to`, both included.
    pub fn ledger_between(
        &self,
        agent: &AgentId,
        (from, to): (Timestamp, Timestamp),
        page: LedgerPage,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let (after, order, limit) = match page {
            LedgerPage::After(after, limit) => (after.map_or(i64::MIN, to_micros), "ASC", limit),
            LedgerPage::Newest(limit) => (i64::MIN, "DESC", limit),
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // records are disjoint: of those that begin before the range, at most one overlaps it
        let sql = format!(
            "SELECT l.first, l.last, l.count, l.verdict, l.cause, l.run, r.status, r.started_at, r.finished_at, r.duration
             FROM ledger l LEFT JOIN runs r ON r.id = l.run
             WHERE l.agent = ?1 AND l.last >= ?2 AND l.first <= ?3 AND l.first > ?4 AND l.first >=
               coalesce((SELECT max(first) FROM ledger WHERE agent = ?1 AND first <= ?2), ?2)
             ORDER BY l.first {order} LIMIT ?5"
        );
        self.ask("reading the ledger", |db| {
            db.rows(&sql, params![agent.as_str(), to_micros(from), to_micros(to), after, limit], |row| {
                Ok(LedgerEntry { agent: agent.clone(), row: ledger_row(row)?, run: ledger_run(row)? })
            })
        })
    }

    /// Returns whether a run has read data from outside, according to its journal, and by which tools.
    pub fn read_from_outside(&self, run: RunId) -> Result<(bool, Vec<String>), StoreError> {
        self.ask("reading a journal", |db| {
            // within a JSON string the quotes would be escaped
            let sql = "SELECT DISTINCT coalesce(tool, '') FROM steps WHERE run = ?1 AND body LIKE '%\"untrusted\":true%'";
            let found = db.rows(sql, params![run.as_bytes().as_slice()], |row| row.get::<String>(0))?;
            let mut by: Vec<String> = found.iter().filter(|tool| !tool.is_empty()).cloned().collect();
            by.sort();
            Ok((!found.is_empty(), by))
        })
    }

    /// Returns the usage of runs that ended since an instant, by the hour of their end, and by
    /// agent or model.
    pub fn used_by_hour(
        &self,
        of: Option<UsageOf>,
        since: Timestamp,
        zone: &TimeZone,
    ) -> Result<Vec<HourUsed>, StoreError> {
        let of = match of {
            None => "''",
            Some(UsageOf::Agent) => "agent",
            Some(UsageOf::Model) => "coalesce(model, '-')",
        };
        // hours depend on the time zone, which SQL does not know; offsets are multiples of a
        // quarter of an hour
        let sql = format!(
            "SELECT finished_at / 900000000, {of} AS whose, count(*), CAST(sum(requests) AS BIGINT), CAST(sum(input_tokens) AS BIGINT),
               CAST(sum(cached_tokens) AS BIGINT), CAST(sum(output_tokens) AS BIGINT), sum(usd)
             FROM runs WHERE finished_at >= ?1 GROUP BY 1, 2"
        );
        self.ask("summing up usage", |db| {
            let quarters = db.rows(&sql, params![to_micros(since)], |row| {
                Ok((row.get::<i64>(0)?, row.get::<String>(1)?, row.get::<i64>(2)? as u64, usage_of(row, 3)?))
            })?;
            let mut hours: BTreeMap<(String, String), (u64, Usage)> = BTreeMap::new();
            for (quarter, whose, runs, usage) in quarters {
                let at = timestamp_of_micros(quarter * 900_000_000).to_zoned(zone.clone());
                let sum = hours.entry((at.strftime("%Y-%m-%dT%H:00").to_string(), whose)).or_default();
                sum.0 += runs;
                sum.1.add(&usage);
            }
            let rows = hours.into_iter();
            Ok(rows.map(|((hour, of), (runs, usage))| HourUsed { hour, of, runs, usage }).collect())
        })
    }
}

fn ledger_run(row: &SqlRow<'_>) -> SqlResult<Option<LedgerRun>> {
    if row.text(6)?.is_none() {
        return Ok(None);
    }
    Ok(Some(LedgerRun {
        status: word(row, 6, RunStatus::parse)?,
        started_at: maybe(row, 7)?,
        finished_at: maybe(row, 8)?,
        duration: row.get::<Option<i64>>(9)?.map(SignedDuration::from_micros),
    }))
}
