//! Health of agents for monitoring, without a daemon.
use super::error::StoreError;
use super::place::Where;
use super::reader::Reader;
use super::{HealthReport, HealthRow, OpenIncident, UndeliveredMessages};
use super::{mark, postgres, sqlite};
use crate::domain::{Severity, Verdict, timestamp_of_micros, to_micros};
use crate::store::rows::{agent_id, instant, word};
use crate::store::sql::{Sql, SqlResult, params};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// How long an undeliverable message is reported.
const GIVEN_UP_REPORTED_FOR: SignedDuration = SignedDuration::from_hours(48);

/// Reads the health of all active agents, without a daemon and without changing anything.
/// Undelivered messages count once they have waited for longer than `patience`.
pub fn read_health(
    place: &Where,
    now: Timestamp,
    patience: SignedDuration,
) -> Result<HealthReport, StoreError> {
    let Some(reader) = to_read(place)? else {
        let what = match place.server {
            None => "there is no database; the daemon has never run with this state folder",
            Some(_) => "there are no tables; the daemon has never run with this database",
        };
        return Err(StoreError::Other { doing: format!("reading {}", place.place()), what: what.into() });
    };
    reader.ask("reading the health of agents", |db| {
        Ok(HealthReport {
            agents: agents(db, now)?,
            incidents: incidents(db)?,
            untold: undelivered(db, now, patience)?,
            leader: match place.server {
                Some(_) => postgres::leader(db)?,
                None => None,
            },
            nobody_may_lead: place.server.is_some() && postgres::nobody_may_lead(db)?,
        })
    })
}

/// Returns the MCP servers of which a tool is trusted, without a daemon and without changing
/// anything. Empty if there is no database.
pub fn read_trusted_servers(place: &Where) -> Result<BTreeSet<String>, StoreError> {
    let Some(reader) = to_read(place)? else { return Ok(BTreeSet::new()) };
    Ok(reader.pins()?.into_iter().map(|(server, ..)| server).collect())
}

/// Opens a reader; `None` if there is no database.
pub(super) fn to_read(place: &Where) -> Result<Option<Reader>, StoreError> {
    if let Some(spec) = &place.server {
        return postgres::to_read(spec, place.state_dir());
    }
    let mark = mark::read_mark(&place.file);
    if !sqlite::is_there(&place.file, mark.as_ref())? {
        return Ok(None);
    }
    sqlite::read_only(&place.file).map(Some)
}

fn agents(db: &Sql, now: Timestamp) -> SqlResult<Vec<HealthRow>> {
    db.rows(
        "SELECT id, next_due, errors_in_row, circuit_at IS NOT NULL,
           (SELECT CASE WHEN verdict = ?1 THEN cause END FROM ledger
             WHERE ledger.agent = agents.id AND first <= ?2 ORDER BY first DESC LIMIT 1),
           CASE WHEN silent <> 0 THEN floor END,
           next_due IS NULL AND (schedule LIKE 'every %' OR schedule LIKE '%, or every %' OR schedule LIKE '% after the last run'
             AND NOT EXISTS (SELECT 1 FROM runs WHERE finished_at IS NULL AND agent = agents.id)),
           (SELECT warnings FROM runs WHERE runs.id = agents.last_run)
         FROM agents WHERE desired = 'active' AND removed = 0 ORDER BY id",
        params![Verdict::RefusedBudget.as_str(), to_micros(now)],
        |row| {
            let due = row.get::<Option<i64>>(1)?.map(timestamp_of_micros);
            let since = row.get::<Option<i64>>(5)?.map(timestamp_of_micros);
            Ok(HealthRow {
                agent: agent_id(row, 0)?,
                next_due: due,
                silent: since.zip(due),
                errors_in_row: row.get(2)?,
                circuit_open: row.get(3)?,
                no_budget: row.get(4)?,
                no_slot: row.get(6)?,
                warnings: row
                    .get::<Option<String>>(7)?
                    .map_or_else(Vec::new, |all| all.lines().map(str::to_owned).collect()),
            })
        },
    )
}

/// Returns critical, unacknowledged incidents, and slow runs. Failures of the agents themselves are
/// reported with the agent.
fn incidents(db: &Sql) -> SqlResult<Vec<OpenIncident>> {
    db.rows(
        "SELECT agent, key, title, opened_at, severity FROM incidents
         WHERE resolved_at IS NULL AND opened_at IS NOT NULL AND acked_at IS NULL AND (severity = 'critical' OR key = 'slow:' || agent)
           AND key <> 'agent:' || agent
         ORDER BY agent, key",
        &[],
        |row| {
            Ok(OpenIncident {
                agent: agent_id(row, 0)?,
                key: row.get(1)?,
                title: row.get(2)?,
                since: instant(row, 3)?,
                severity: word(row, 4, Severity::parse)?,
            })
        },
    )
}

fn undelivered(db: &Sql, now: Timestamp, patience: SignedDuration) -> SqlResult<Vec<UndeliveredMessages>> {
    let before = |span| to_micros(now.checked_sub(span).unwrap_or(Timestamp::MIN));
    db.rows("SELECT target, count(*), min(at), due IS NULL FROM outbox
         WHERE (due IS NULL AND at >= ?1) OR (due IS NOT NULL AND at < ?2 AND (tries > 0 OR urgency = 'critical')) GROUP BY target, due IS NULL ORDER BY target", params![before(GIVEN_UP_REPORTED_FOR), before(patience)], |row| {
        Ok(UndeliveredMessages {
            target: row.get(0)?,
            count: row.get::<i64>(1)? as u64,
            oldest: instant(row, 2)?,
            given_up: row.get(3)?,
        })
    })
}
