//! Queries about the past, over read-only connections.
use super::apply::AGENT_COLUMNS;
use super::error::StoreError;
use super::rows::{agent_id, instant, maybe, maybe_run, run_id, usage_of, word};
use super::sql::{Scope, Sql, SqlResult, SqlRow, odd, params};
use super::{FoundRun, LedgerRow, OutputPage, Restored, RunRow, Stats, UsageBy};
use crate::domain::*;
use crate::store::reader::Reader;
use crate::store::retention::ANSWER_RETENTION;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

impl Reader {
    /// Returns the result of an agent's newest completed run, except rehearsals, replays, and a
    /// result that a person has cleared.
    pub fn last_result(&self, agent: &AgentId) -> Result<Option<LastResult>, StoreError> {
        Ok(self.last_result_at(agent)?.map(|(result, _)| result))
    }

    /// Returns the same as [`Reader::last_result`], with the end of the run.
    pub fn last_result_at(&self, agent: &AgentId) -> Result<Option<(LastResult, Timestamp)>, StoreError> {
        self.ask("reading runs", |db| {
            let row = db.row(
                "SELECT result, untrusted, forgotten, finished_at FROM runs
                     WHERE agent = ?1 AND status = 'completed' AND mode IS NULL ORDER BY id DESC LIMIT 1",
                params![agent.as_str()],
                |row| {
                    let text = row.get::<Option<String>>(0)?.filter(|_| !row.get(2).unwrap_or(true));
                    let (untrusted, at) = (row.get(1)?, instant(row, 3)?);
                    Ok(text.map(|text| (LastResult { text: text.into(), untrusted }, at)))
                },
            )?;
            Ok(row.flatten())
        })
    }

    /// Finds a run by its id, or by the last digits of it (at least 4).
    pub fn find_run(&self, text: &str) -> Result<FoundRun, StoreError> {
        self.ask("looking for a run", |db| {
            if let Ok(id) = text.parse::<RunId>() {
                let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE id = ?1");
                let found = db.row(&sql, params![id.as_bytes().as_slice()], run_row)?;
                return Ok(found.map_or(FoundRun::None, |row| FoundRun::One(Box::new(row))));
            }
            let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_uppercase()).collect();
            if digits.len() < 4 || digits.len() > 32 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Ok(FoundRun::None);
            }
            let sql = format!(
                "SELECT {RUN_COLUMNS} FROM runs WHERE {} LIKE ?1 ORDER BY id DESC LIMIT 10",
                db.hex("id")
            );
            let mut found: Vec<RunRow> = db.rows(&sql, params![format!("%{digits}")], run_row)?;
            Ok(match found.len() {
                0 => FoundRun::None,
                1 => FoundRun::One(Box::new(found.remove(0))),
                _ => FoundRun::Several(found.into_iter().map(|row| row.claim.run).collect()),
            })
        })
    }

    /// Returns the event that started a run, as logged by whichever release.
    ///
    /// # Errors
    /// An error of the database.
    pub fn event_of(&self, run: RunId) -> Result<Option<LoggedEvent>, StoreError> {
        self.ask("reading the event of a run", |db| {
            let text: Option<Option<String>> =
                db.row("SELECT event FROM runs WHERE id = ?1", params![run.as_bytes().as_slice()], |row| {
                    row.get(0)
                })?;
            Ok(text.flatten().and_then(|text| serde_json::from_str(&text).ok()))
        })
    }

    /// Returns output of a run after a position.
    pub fn output(&self, run: RunId, after: u64, max_bytes: usize) -> Result<OutputPage, StoreError> {
        self.ask("reading output", |db| {
            let dropped: Option<i64> = db.row("SELECT dropped_bytes FROM runs WHERE id = ?1", params![run.as_bytes().as_slice()], |row| row.get(0))?;
            let mut page = OutputPage { chunks: Vec::new(), position: after, dropped_bytes: dropped.unwrap_or(0) as u64 };
            let sql = "SELECT id, attempt, n, stream, at, text FROM output WHERE run = ?1 AND id > ?2 ORDER BY attempt, n";
            let mut bytes = 0;
            db.each(sql, params![run.as_bytes().as_slice(), after as i64], &mut |row| {
                let chunk = OutputChunk {
                    n: row.get::<i64>(2)? as u64,
                    stream: word(row, 3, Stream::parse)?,
                    at: instant(row, 4)?,
                    text: row.get(5)?,
                };
                bytes += chunk.text.len();
                page.position = page.position.max(row.get::<i64>(0)? as u64);
                page.chunks.push((row.get(1)?, chunk));
                Ok(if bytes >= max_bytes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            Ok(page)
        })
    }

    /// Returns the record with the newest slot at or before `at`.
    pub fn ledger_at(&self, agent: &AgentId, at: Timestamp) -> Result<Option<LedgerRow>, StoreError> {
        self.ask("reading the ledger", |db| {
            db.row("SELECT first, last, count, verdict, cause, run FROM ledger WHERE agent = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1", params![agent.as_str(), to_micros(at)], ledger_row)
        })
    }

    /// Returns all records of an agent, oldest first.
    pub fn ledger(&self, agent: &AgentId) -> Result<Vec<LedgerRow>, StoreError> {
        self.ask("reading the ledger", |db| {
            db.rows(
                "SELECT first, last, count, verdict, cause, run FROM ledger WHERE agent = ?1 ORDER BY first",
                params![agent.as_str()],
                ledger_row,
            )
        })
    }

    /// Returns what the ledger knows of an agent's slots ahead of now.
    pub fn ledger_ahead(&self, look: LookAhead) -> Result<Ahead, StoreError> {
        self.ask("reading the ledger", |db| {
            let (agent, floor) = (look.spec.id.clone(), to_micros(look.floor));
            let pruned: Option<i64> = db.row("SELECT until FROM pruned WHERE agent = ?1", params![agent.as_str()], |row| row.get(0))?;
            let mut ahead = Ahead::new(look, pruned.map(timestamp_of_micros));
            // records are disjoint: at most one that begins before the floor overlaps it
            let sql = "SELECT first, last, count, verdict = 'ran' FROM ledger WHERE agent = ?1 AND last > ?2 AND first >=
                   coalesce((SELECT max(first) FROM ledger WHERE agent = ?1 AND first <= ?2), ?2) ORDER BY first";
            db.each(sql, params![agent.as_str(), floor], &mut |row| {
                let count = row.get::<i64>(2)? as u64;
                ahead.add(AheadRow { first: instant(row, 0)?, last: instant(row, 1)?, count, ran: row.get(3)? });
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(ahead)
        })
    }

    /// Counts slots of an agent by verdict since an instant. Of a record that began earlier, the
    /// later part counts, assuming evenly spaced slots.
    pub fn verdicts_since(
        &self,
        agent: &AgentId,
        since: Timestamp,
    ) -> Result<BTreeMap<Verdict, u64>, StoreError> {
        self.ask("reading the ledger", |db| {
            let from = to_micros(since);
            let snapshot = db.begin(Scope::Read)?;
            let sql = "SELECT verdict, CAST(sum(count) AS BIGINT) FROM ledger WHERE agent = ?1 AND first >= ?2 GROUP BY verdict";
            let counted = snapshot.rows(sql, params![agent.as_str(), from], |row| {
                Ok((word(row, 0, Verdict::parse)?, row.get::<i64>(1)? as u64))
            })?;
            let mut verdicts: BTreeMap<Verdict, u64> = counted.into_iter().collect();
            // records are disjoint: at most one spans the instant
            let sql = "SELECT verdict, count, first, last FROM ledger WHERE agent = ?1 AND first < ?2 ORDER BY first DESC LIMIT 1";
            let before = snapshot.row(sql, params![agent.as_str(), from], |row| {
                Ok((word(row, 0, Verdict::parse)?, row.get::<i64>(1)?, row.get::<i64>(2)?, row.get::<i64>(3)?))
            })?;
            snapshot.commit()?;
            if let Some((verdict, count, first, last)) = before.filter(|(.., last)| *last >= from) {
                let part = (last - from) as f64 / (last - first).max(1) as f64;
                *verdicts.entry(verdict).or_default() += 1 + ((count - 1) as f64 * part) as u64;
            }
            Ok(verdicts)
        })
    }

    /// Returns open incidents, or also those that ended; newest first.
    pub fn incidents(&self, ended_too: bool, limit: usize) -> Result<Vec<IncidentRecord>, StoreError> {
        self.incidents_since(ended_too, None, limit)
    }

    /// Returns incidents like [`Reader::incidents`] that were seen at or after an instant.
    pub fn incidents_since(
        &self,
        ended_too: bool,
        since: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<IncidentRecord>, StoreError> {
        let wanted =
            if ended_too { "opened_at IS NOT NULL" } else { "opened_at IS NOT NULL AND resolved_at IS NULL" };
        let since = since.map_or(i64::MIN, to_micros);
        self.ask("reading incidents", |db| {
            let sql =
                format!("SELECT {INCIDENT_COLUMNS} FROM incidents WHERE {wanted} AND seen_at >= ?2 ORDER BY id DESC LIMIT ?1");
            db.rows(&sql, params![i64::try_from(limit).unwrap_or(i64::MAX), since], incident_row)
        })
    }

    /// Returns the keys of an agent's open incidents, in order; at most 100.
    pub fn open_keys(&self, agent: &AgentId) -> Result<Vec<String>, StoreError> {
        self.ask("reading incidents", |db| {
            db.rows(
                "SELECT key FROM incidents WHERE agent = ?1 AND opened_at IS NOT NULL AND resolved_at IS NULL
                 ORDER BY key LIMIT 100",
                params![agent.as_str()],
                |row| row.get(0),
            )
        })
    }

    /// Returns who found an incident that is open or pending; `None` if there is none with that key.
    pub fn found_by(&self, agent: &AgentId, key: &str) -> Result<Option<FoundBy>, StoreError> {
        self.ask("reading incidents", |db| {
            db.row(
                "SELECT opened_by FROM incidents WHERE agent = ?1 AND key = ?2 AND resolved_at IS NULL",
                params![agent.as_str(), key],
                |row| word(row, 0, FoundBy::parse),
            )
        })
    }

    /// Returns how many incidents the reports of a run have opened, including ended ones.
    pub fn opened_in(&self, run: RunId) -> Result<u64, StoreError> {
        self.ask("reading incidents", |db| {
            db.one(
                "SELECT count(*) FROM incidents WHERE opened_in = ?1",
                params![run.as_bytes().as_slice()],
                |row| row.get::<i64>(0),
            )
            .map(|count| count.unsigned_abs())
        })
    }

    /// Returns the answer given to a mutation with this id within the last day.
    pub fn answer_to(&self, request_id: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        let oldest = to_micros(now - ANSWER_RETENTION);
        self.ask("looking for an earlier answer", |db| {
            db.row(
                "SELECT answer FROM requests WHERE id = ?1 AND at >= ?2",
                params![request_id, oldest],
                |row| row.get(0),
            )
        })
    }

    /// Counts runs that ended since a day in `zone`, by key.
    pub fn runs_by(
        &self,
        by: UsageBy,
        since: Option<jiff::civil::Date>,
        zone: &jiff::tz::TimeZone,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let since = since
            .and_then(|day| day.to_zoned(zone.clone()).ok())
            .map_or(i64::MIN, |day| to_micros(day.timestamp()));
        if by == UsageBy::Day {
            return self.runs_by_day(since, zone);
        }
        let key = if by == UsageBy::Agent { "agent" } else { "coalesce(model, '-')" };
        self.ask("counting runs", |db| {
            let sql = format!(
                "SELECT {key} AS k, count(*) FROM runs WHERE finished_at >= ?1 GROUP BY k ORDER BY k"
            );
            db.rows(&sql, params![since], |row| Ok((row.get(0)?, row.get::<i64>(1).map(|n| n as u64)?)))
        })
    }

    /// Counts runs by day. Days depend on the time zone, which SQL does not know: it counts by
    /// quarters of an hour, of which all offsets are multiples.
    fn runs_by_day(&self, since: i64, zone: &jiff::tz::TimeZone) -> Result<Vec<(String, u64)>, StoreError> {
        self.ask("counting runs", |db| {
            let sql = "SELECT finished_at / 900000000, count(*) FROM runs WHERE finished_at >= ?1 GROUP BY 1";
            let quarters =
                db.rows(sql, params![since], |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)? as u64)))?;
            let mut days: BTreeMap<String, u64> = BTreeMap::new();
            for (quarter, count) in quarters {
                let at = timestamp_of_micros(quarter * 900_000_000);
                *days.entry(at.to_zoned(zone.clone()).date().to_string()).or_default() += count;
            }
            Ok(days.into_iter().collect())
        })
    }

    /// Returns sizes and counts.
    pub fn stats(&self, now: Timestamp) -> Result<Stats, StoreError> {
        let minute_ago = to_micros(now - SignedDuration::from_mins(1));
        self.ask("reading sizes", |db| {
            let one =
                |sql: &str| db.one(sql, &[], |row| row.get::<Option<i64>>(0)).map(|n| n.unwrap_or(0) as u64);
            let newest_seq = one("SELECT max(seq) FROM events")?;
            Ok(Stats {
                newest_seq,
                oldest_seq: one("SELECT min(seq) FROM events")?,
                events_last_minute: newest_seq.saturating_sub(super::follow::seq_before(db, minute_ago)?),
                bytes: db.size()?,
                incidents: one(
                    "SELECT count(*) FROM incidents WHERE opened_at IS NOT NULL AND resolved_at IS NULL",
                )?,
                outbox: one("SELECT count(*) FROM outbox WHERE due IS NOT NULL")?,
                approvals: one("SELECT count(*) FROM approvals WHERE decided_at IS NULL")?,
            })
        })
    }
}

/// Returns the state that the previous life left.
pub(super) fn restored(db: &Sql) -> SqlResult<Restored> {
    let agents = db.rows(&format!("SELECT {AGENT_COLUMNS} FROM agents ORDER BY id"), &[], agent_row)?;
    let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE finished_at IS NULL ORDER BY id");
    let open: Vec<RunRow> = db.rows(&sql, &[], run_row)?;
    let mut open_runs: Vec<RunRecord> = open.into_iter().map(|row| row.claim).collect();
    for run in &mut open_runs {
        let rows = db.rows(
            "SELECT pid, start, boot FROM processes WHERE run = ?1 ORDER BY pid",
            params![run.run.as_bytes().as_slice()],
            |row| {
                Ok(Process {
                    pid: row.get(0)?,
                    start: row.get::<i64>(1)? as u64,
                    boot: row.get::<i64>(2)? as u64,
                })
            },
        )?;
        run.processes = rows;
        run.in_doubt = super::talk::in_doubt(db, run.run)?;
    }
    let sql = format!("SELECT {INCIDENT_COLUMNS} FROM incidents WHERE resolved_at IS NULL ORDER BY id");
    let incidents = db.rows(&sql, &[], incident_row)?;
    let newest: Option<i64> =
        db.row("SELECT at FROM events ORDER BY seq DESC LIMIT 1", &[], |row| row.get(0))?;
    let (approvals, holds, spent) = super::talk::restored(db)?;
    let told = super::talk::budget_notices(db)?;
    Ok(Restored {
        agents,
        open_runs,
        incidents,
        approvals,
        holds,
        spent,
        told,
        backfills: super::backfill::open(db)?,
        nodes: super::work::live(db)?,
        newest_run: db.row("SELECT id FROM runs ORDER BY id DESC LIMIT 1", &[], |row| run_id(row, 0))?,
        ancestors: Vec::new(),
        went_back: None,
        lost: super::meta::lost(db, newest.map(timestamp_of_micros))?,
        database: String::new(),
        unclean: false,
        newest_event_at: newest.map(timestamp_of_micros),
    })
}

/// Parses the event in a column; `None` if its type is unknown to this release.
fn started_by(text: &str) -> Option<Arc<Event>> {
    serde_json::from_str::<LoggedEvent>(text).ok()?.event().map(Arc::new)
}

pub(super) const RUN_COLUMNS: &str = "id, agent, trigger, slot, status, attempt, queued_at, started_at, not_before, chain, event, query,
    config_hash, finished_at, duration, result, error_kind, error, exit_code, requests, input_tokens, cached_tokens,
    output_tokens, usd, warnings, mode, model, session, clock_moved, params, backfill, past_slot, node, node_session";

pub(super) fn run_row(row: &SqlRow<'_>) -> SqlResult<RunRow> {
    let claim = RunRecord {
        run: run_id(row, 0)?,
        agent: agent_id(row, 1)?,
        trigger: word(row, 2, Trigger::parse)?,
        slot: maybe(row, 3)?,
        status: word(row, 4, RunStatus::parse)?,
        attempt: row.get(5)?,
        queued_at: instant(row, 6)?,
        started_at: maybe(row, 7)?,
        not_before: maybe(row, 8)?,
        clock_moved: SignedDuration::from_micros(row.get(28)?),
        chain: row.get(9)?,
        event: row.text(10)?.and_then(started_by),
        query: row.get::<Option<String>>(11)?.map(Into::into),
        params: match row.text(29)? {
            Some(text) => Some(serde_json::from_str(text).map_err(|error| odd(29, error.to_string()))?),
            None => None,
        },
        past: match (row.get::<Option<String>>(30)?, maybe(row, 31)?) {
            (Some(backfill), Some(slot)) => Some(PastSlot { backfill: backfill.into(), slot }),
            _ => None,
        },
        session: row.get::<Option<String>>(27)?.map(Into::into),
        mode: match row.get::<Option<String>>(25)? {
            Some(text) => serde_json::from_str(&text).map_err(|error| odd(25, error.to_string()))?,
            None => RunMode::Normal,
        },
        config_hash: ConfigHash(row.get::<i64>(12)? as u64),
        processes: Vec::new(),
        used: usage_of(row, 19)?,
        in_doubt: Vec::new(),
        node: row.get::<Option<String>>(32)?.map(|node| {
            let session = row.get::<Option<String>>(33).ok().flatten().map(Into::into);
            PlacedAt { node: node.into(), session }
        }),
    };
    Ok(RunRow {
        usage: claim.used,
        claim,
        finished_at: maybe(row, 13)?,
        duration: row.get::<Option<i64>>(14)?.map(SignedDuration::from_micros),
        result: row.get(15)?,
        error: run_error(row, 16)?,
        exit_code: row.get(18)?,
        warnings: row
            .get::<Option<String>>(24)?
            .map_or_else(Vec::new, |all| all.lines().map(str::to_owned).collect()),
        model: row.get(26)?,
    })
}

fn run_error(row: &SqlRow<'_>, at: usize) -> SqlResult<Option<RunError>> {
    let kind: Option<String> = row.get(at)?;
    let message: Option<String> = row.get(at + 1)?;
    Ok(kind
        .and_then(|kind| ErrorKind::parse(&kind))
        .map(|kind| RunError { kind, message: message.unwrap_or_default() }))
}

fn agent_row(row: &SqlRow<'_>) -> SqlResult<AgentRecord> {
    let number = |at| row.get::<i64>(at).map(|n| n as u64);
    let last_run = match maybe_run(row, 16)? {
        None => None,
        Some(run) => Some(LastRun {
            run,
            kept: row.get(29)?,
            status: word(row, 17, RunStatus::parse)?,
            started_at: maybe(row, 18)?,
            finished_at: instant(row, 19)?,
            duration: SignedDuration::from_micros(row.get(20)?),
            error: run_error(row, 21)?,
        }),
    };
    let circuit = match (maybe(row, 24)?, maybe(row, 25)?) {
        (Some(opened_at), Some(until)) => Some(CircuitRecord { opened_at, until }),
        _ => None,
    };
    Ok(AgentRecord {
        agent: agent_id(row, 0)?,
        desired: word(row, 1, Desired::parse)?,
        reason: row.get(2)?,
        resume_at: maybe(row, 3)?,
        held: match row.get::<i64>(4)? {
            1 => Held::ByAll,
            2 => Held::Kept,
            _ => Held::No,
        },
        anchor: instant(row, 5)?,
        judged_until: maybe(row, 6)?,
        schedule: row.get(7)?,
        next_due: maybe(row, 8)?,
        skip_next: row.get(9)?,
        last_end: maybe(row, 10)?,
        counters: Counters {
            runs: number(11)?,
            successes: number(12)?,
            errors: number(13)?,
            errors_in_row: row.get(14)?,
            skipped: number(15)?,
        },
        last_run,
        last_success: maybe(row, 23)?,
        circuit,
        told_at: maybe(row, 26)?,
        removed: row.get(27)?,
        config_hash: ConfigHash(row.get::<i64>(28)? as u64),
        floor: maybe(row, 30)?,
        origin: maybe(row, 31)?,
        silent: row.get(32)?,
        resume_after: row.get::<Option<i64>>(33)?.map(SignedDuration::from_micros),
        awaited_since: maybe(row, 34)?,
    })
}

pub(super) fn ledger_row(row: &SqlRow<'_>) -> SqlResult<LedgerRow> {
    let run = maybe_run(row, 5)?;
    Ok(LedgerRow {
        first: instant(row, 0)?,
        last: instant(row, 1)?,
        count: row.get::<i64>(2)? as u64,
        verdict: word(row, 3, Verdict::parse)?,
        cause: row.get(4)?,
        run,
    })
}

const INCIDENT_COLUMNS: &str = "agent, key, severity, title, since, opened_at, seen_at, count, resolved_at, acked_at, told_at, finding, found_by, \
     found_run, found_at, opened_by, opened_in";

fn incident_row(row: &SqlRow<'_>) -> SqlResult<IncidentRecord> {
    let diagnosis = match row.get::<Option<String>>(11)? {
        Some(text) => {
            Some(Diagnosis { by: agent_id(row, 12)?, run: run_id(row, 13)?, at: instant(row, 14)?, text })
        }
        None => None,
    };
    let run = maybe_run(row, 16)?;
    Ok(IncidentRecord {
        agent: agent_id(row, 0)?,
        key: row.get(1)?,
        severity: word(row, 2, Severity::parse)?,
        title: row.get(3)?,
        since: instant(row, 4)?,
        opened_at: maybe(row, 5)?,
        seen_at: instant(row, 6)?,
        count: row.get::<i64>(7)? as u64,
        resolved_at: maybe(row, 8)?,
        acked_at: maybe(row, 9)?,
        told_at: maybe(row, 10)?,
        diagnosis,
        by: word(row, 15, FoundBy::parse)?,
        run,
    })
}
