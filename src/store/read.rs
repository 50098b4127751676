//! Questions about the past. Each reader is a connection that can only read.
use super::error::StoreError;
use super::files;
use super::rows::{agent_id, instant, maybe, odd, run_id, usage_of, word};
use super::{FoundRun, LedgerRow, OutboxRow, OutputPage, Restored, RunFilter, RunRow, Stats, UsageBy};
use crate::domain::*;
use crate::store::reader::Reader;
use crate::store::retention::ANSWERS_KEPT;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// No message waits for longer for its next try.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        files::are_files(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let db = Connection::open_with_flags(path, flags)?;
            db.busy_timeout(Duration::from_secs(5))?;
            db.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; PRAGMA cache_size = -2048;")?;
            db.set_prepared_statement_cache_capacity(32);
            Ok(db)
        };
        // one read that fails is looked at again before it is a failure
        let again = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::SystemIoFailure) => open(),
            _ => Err(error),
        };
        let db = open()
            .or_else(again)
            .map_err(|error| StoreError::of(error, path, "opening the database to read"))?;
        Ok(Self { db, path: path.to_owned() })
    }

    pub(super) fn ask<T>(
        &self,
        doing: &'static str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        question(&self.db).map_err(|error| StoreError::of(error, &self.path, doing))
    }

    /// Runs, newest first.
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let agent = filter.agent.as_ref().map(AgentId::as_str);
        let status = filter.status.map(RunStatus::as_str);
        self.ask("reading runs", |db| {
            let wanted = match (agent, status) {
                (Some(_), _) => "agent = ?1 AND (?2 IS NULL OR status = ?2)",
                (None, _) => "(?1 IS NULL) AND (?2 IS NULL OR status = ?2)",
            };
            let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE {wanted} ORDER BY id DESC LIMIT ?3");
            let mut statement = db.prepare_cached(&sql)?;
            statement.query_map(params![agent, status, limit], run_row)?.collect()
        })
    }

    /// The result of the newest run of an agent that completed; not of rehearsals and replays, and not
    /// one that a person had forgotten.
    pub fn last_result(&self, agent: &AgentId) -> Result<Option<LastResult>, StoreError> {
        Ok(self.last_result_at(agent)?.map(|(result, _)| result))
    }

    /// The same, with the end of its run.
    pub fn last_result_at(&self, agent: &AgentId) -> Result<Option<(LastResult, Timestamp)>, StoreError> {
        self.ask("reading runs", |db| {
            let row = db
                .prepare_cached(
                    "SELECT result, untrusted, forgotten, finished_at FROM runs
                     WHERE agent = ?1 AND status = 'completed' AND mode IS NULL ORDER BY id DESC LIMIT 1",
                )?
                .query_row([agent.as_str()], |row| {
                    let text = row.get::<_, Option<String>>(0)?.filter(|_| !row.get(2).unwrap_or(true));
                    let (untrusted, at) = (row.get(1)?, instant(row, 3)?);
                    Ok(text.map(|text| (LastResult { text: text.into(), untrusted }, at)))
                })
                .optional()?;
            Ok(row.flatten())
        })
    }

    /// A run by its id or by the last digits of it (at least 4).
    pub fn find_run(&self, text: &str) -> Result<FoundRun, StoreError> {
        self.ask("looking for a run", |db| {
            if let Ok(id) = text.parse::<RunId>() {
                let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE id = ?1");
                let found =
                    db.prepare_cached(&sql)?.query_row([id.as_bytes().as_slice()], run_row).optional()?;
                return Ok(found.map_or(FoundRun::None, |row| FoundRun::One(Box::new(row))));
            }
            let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_uppercase()).collect();
            if digits.len() < 4 || digits.len() > 32 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
                return Ok(FoundRun::None);
            }
            let sql = format!(
                "SELECT {RUN_COLUMNS} FROM runs WHERE hex(id) LIKE '%' || ?1 ORDER BY id DESC LIMIT 10"
            );
            let mut found: Vec<RunRow> =
                db.prepare_cached(&sql)?.query_map([digits], run_row)?.collect::<Result<_, _>>()?;
            Ok(match found.len() {
                0 => FoundRun::None,
                1 => FoundRun::One(Box::new(found.remove(0))),
                _ => FoundRun::Several(found.into_iter().map(|row| row.claim.run).collect()),
            })
        })
    }

    /// The event that started a run, as it is logged, whatever release did that.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn event_of(&self, run: RunId) -> Result<Option<LoggedEvent>, StoreError> {
        self.ask("reading the event of a run", |db| {
            let mut statement = db.prepare_cached("SELECT event FROM runs WHERE id = ?1")?;
            let text: Option<Option<String>> =
                statement.query_row([run.as_bytes().as_slice()], |row| row.get(0)).optional()?;
            Ok(text.flatten().and_then(|text| serde_json::from_str(&text).ok()))
        })
    }

    /// Output of a run after a position.
    pub fn output(&self, run: RunId, after: u64, max_bytes: usize) -> Result<OutputPage, StoreError> {
        self.ask("reading output", |db| {
            let dropped: Option<i64> = db
                .prepare_cached("SELECT dropped_bytes FROM runs WHERE id = ?1")?
                .query_row([run.as_bytes().as_slice()], |row| row.get(0))
                .optional()?;
            let mut page = OutputPage { chunks: Vec::new(), position: after, dropped_bytes: dropped.unwrap_or(0) as u64 };
            let mut statement =
                db.prepare_cached("SELECT id, attempt, n, stream, at, text FROM output WHERE run = ?1 AND id > ?2 ORDER BY attempt, n")?;
            let mut rows = statement.query(params![run.as_bytes().as_slice(), after as i64])?;
            let mut bytes = 0;
            while let Some(row) = rows.next()? {
                let chunk = OutputChunk {
                    n: row.get::<_, i64>(2)? as u64,
                    stream: word(row, 3, Stream::parse)?,
                    at: instant(row, 4)?,
                    text: row.get(5)?,
                };
                bytes += chunk.text.len();
                page.position = page.position.max(row.get::<_, i64>(0)? as u64);
                page.chunks.push((row.get(1)?, chunk));
                if bytes >= max_bytes {
                    break;
                }
            }
            Ok(page)
        })
    }

    /// The record that holds the newest slot at or before `at`.
    pub fn ledger_at(&self, agent: &AgentId, at: Timestamp) -> Result<Option<LedgerRow>, StoreError> {
        self.ask("reading the ledger", |db| {
            db.prepare_cached("SELECT first, last, count, verdict, cause, run FROM ledger WHERE agent = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1")?
                .query_row(params![agent.as_str(), to_micros(at)], ledger_row)
                .optional()
        })
    }

    /// All records of an agent, oldest first.
    pub fn ledger(&self, agent: &AgentId) -> Result<Vec<LedgerRow>, StoreError> {
        self.ask("reading the ledger", |db| {
            let mut statement = db.prepare_cached(
                "SELECT first, last, count, verdict, cause, run FROM ledger WHERE agent = ?1 ORDER BY first",
            )?;
            statement.query_map([agent.as_str()], ledger_row)?.collect()
        })
    }

    /// What the ledger knows of slots of one agent ahead of now.
    pub fn ledger_ahead(&self, look: LookAhead) -> Result<Ahead, StoreError> {
        self.ask("reading the ledger", |db| {
            let (agent, floor) = (look.spec.id.clone(), to_micros(look.floor));
            let pruned: Option<i64> = db
                .prepare_cached("SELECT until FROM pruned WHERE agent = ?1")?
                .query_row([agent.as_str()], |row| row.get(0))
                .optional()?;
            let mut ahead = Ahead::new(look, pruned.map(timestamp_of_micros));
            // records lie apart: before the one that reaches over the floor there is none that does
            let mut statement = db.prepare_cached(
                "SELECT first, last, count, verdict = 'ran' FROM ledger WHERE agent = ?1 AND last > ?2 AND first >=
                   coalesce((SELECT max(first) FROM ledger WHERE agent = ?1 AND first <= ?2), ?2) ORDER BY first",
            )?;
            let mut rows = statement.query(params![agent.as_str(), floor])?;
            while let Some(row) = rows.next()? {
                let count = row.get::<_, i64>(2)? as u64;
                ahead.add(AheadRow { first: instant(row, 0)?, last: instant(row, 1)?, count, ran: row.get(3)? });
            }
            Ok(ahead)
        })
    }

    /// Slots of an agent by verdict, since an instant. Of a record that began before it the part that is
    /// newer, as if its slots were evenly apart.
    pub fn verdicts_since(
        &self,
        agent: &AgentId,
        since: Timestamp,
    ) -> Result<BTreeMap<Verdict, u64>, StoreError> {
        self.ask("reading the ledger", |db| {
            let mut statement = db.prepare_cached(
                "SELECT verdict, sum(iif(first >= ?2, count,
                   1 + CAST((count - 1) * (CAST(last - ?2 AS REAL) / max(last - first, 1)) AS INTEGER)))
                 FROM ledger WHERE agent = ?1 AND last >= ?2 GROUP BY verdict",
            )?;
            let rows = statement.query_map(params![agent.as_str(), to_micros(since)], |row| {
                Ok((word(row, 0, Verdict::parse)?, row.get::<_, i64>(1)? as u64))
            })?;
            rows.collect()
        })
    }

    /// Incidents: open ones, or also those that ended; newest first.
    pub fn incidents(&self, ended_too: bool, limit: usize) -> Result<Vec<IncidentRecord>, StoreError> {
        let wanted =
            if ended_too { "opened_at IS NOT NULL" } else { "opened_at IS NOT NULL AND resolved_at IS NULL" };
        self.ask("reading incidents", |db| {
            let sql =
                format!("SELECT {INCIDENT_COLUMNS} FROM incidents WHERE {wanted} ORDER BY id DESC LIMIT ?1");
            db.prepare_cached(&sql)?
                .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], incident_row)?
                .collect()
        })
    }

    /// Keys of the open incidents of an agent, in order; at most 100.
    pub fn open_keys(&self, agent: &AgentId) -> Result<Vec<String>, StoreError> {
        self.ask("reading incidents", |db| {
            db.prepare_cached(
                "SELECT key FROM incidents WHERE agent = ?1 AND opened_at IS NOT NULL AND resolved_at IS NULL
                 ORDER BY key LIMIT 100",
            )?
            .query_map([agent.as_str()], |row| row.get(0))?
            .collect()
        })
    }

    /// Who found an incident that is open or pending; `None`: there is none of that key.
    pub fn found_by(&self, agent: &AgentId, key: &str) -> Result<Option<FoundBy>, StoreError> {
        self.ask("reading incidents", |db| {
            db.prepare_cached(
                "SELECT opened_by FROM incidents WHERE agent = ?1 AND key = ?2 AND resolved_at IS NULL",
            )?
            .query_row(params![agent.as_str(), key], |row| word(row, 0, FoundBy::parse))
            .optional()
        })
    }

    /// How many incidents the reports of a run have opened, ended ones too.
    pub fn opened_in(&self, run: RunId) -> Result<u64, StoreError> {
        self.ask("reading incidents", |db| {
            db.prepare_cached("SELECT count(*) FROM incidents WHERE opened_in = ?1")?
                .query_row([run.as_bytes().as_slice()], |row| row.get::<_, i64>(0))
                .map(|count| count.unsigned_abs())
        })
    }

    /// Messages that are due: of each receiver so many, the oldest first.
    pub fn outbox_due(&self, now: Timestamp, max: usize) -> Result<Vec<OutboxRow>, StoreError> {
        self.ask("reading the outbox", |db| {
            let mut statement = db.prepare_cached(
                "SELECT id, target, agent, about, at, subject, body, tries, due FROM (
                   SELECT *, row_number() OVER (PARTITION BY target ORDER BY due, id) AS place FROM outbox WHERE due <= ?1 OR due > ?3
                 ) WHERE place <= ?2 ORDER BY due, id",
            )?;
            // no pause between two tries is as long: the clock was ahead when it was written
            let wrong = to_micros(now.checked_add(LONGEST_PAUSE).unwrap_or(Timestamp::MAX));
            let rows = statement.query_map(params![to_micros(now), i64::try_from(max).unwrap_or(i64::MAX), wrong], |row| {
                Ok(OutboxRow {
                    id: row.get(0)?,
                    target: row.get(1)?,
                    agent: agent_id(row, 2)?,
                    about: word(row, 3, TellOn::parse)?,
                    at: instant(row, 4)?,
                    subject: row.get(5)?,
                    body: row.get(6)?,
                    tries: row.get(7)?,
                    due: instant(row, 8)?,
                })
            })?;
            rows.collect()
        })
    }

    /// When the next message is due after `now`.
    pub fn outbox_next(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.ask("reading the outbox", |db| {
            let next: Option<i64> = db
                .prepare_cached("SELECT min(due) FROM outbox WHERE due > ?1")?
                .query_row([to_micros(now)], |row| row.get(0))?;
            Ok(next.map(timestamp_of_micros))
        })
    }

    /// The answer that was given to a mutation with this id within the last day.
    pub fn answer_to(&self, request_id: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        let oldest = to_micros(now - ANSWERS_KEPT);
        self.ask("looking for an earlier answer", |db| {
            db.prepare_cached("SELECT answer FROM requests WHERE id = ?1 AND at >= ?2")?
                .query_row(params![request_id, oldest], |row| row.get(0))
                .optional()
        })
    }

    /// Runs that ended, since a day in `zone`: key and number.
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
            let sql = format!("SELECT {key} AS k, count(*) FROM runs WHERE finished_at >= ?1 GROUP BY k");
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement
                .query_map([since], |row| Ok((row.get(0)?, row.get::<_, i64>(1).map(|n| n as u64)?)))?;
            rows.collect()
        })
    }

    /// Days begin at midnight in a zone, which SQL does not know: quarters of an hour are counted
    /// there and put together here, since no zone is off by less.
    fn runs_by_day(&self, since: i64, zone: &jiff::tz::TimeZone) -> Result<Vec<(String, u64)>, StoreError> {
        self.ask("counting runs", |db| {
            let mut statement = db.prepare_cached(
                "SELECT finished_at / 900000000, count(*) FROM runs WHERE finished_at >= ?1 GROUP BY 1",
            )?;
            let mut days: BTreeMap<String, u64> = BTreeMap::new();
            let mut rows = statement.query([since])?;
            while let Some(row) = rows.next()? {
                let at = timestamp_of_micros(row.get::<_, i64>(0)? * 900_000_000);
                *days.entry(at.to_zoned(zone.clone()).date().to_string()).or_default() +=
                    row.get::<_, i64>(1)? as u64;
            }
            Ok(days.into_iter().collect())
        })
    }

    /// Sizes and counts.
    pub fn stats(&self, now: Timestamp) -> Result<Stats, StoreError> {
        let minute_ago = to_micros(now - SignedDuration::from_mins(1));
        let bytes = super::retention::size(&self.path);
        self.ask("reading sizes", |db| {
            let one = |sql: &str| {
                db.prepare_cached(sql)?
                    .query_row([], |row| row.get::<_, Option<i64>>(0))
                    .map(|n| n.unwrap_or(0) as u64)
            };
            let newest_seq = one("SELECT max(seq) FROM events")?;
            Ok(Stats {
                newest_seq,
                oldest_seq: one("SELECT min(seq) FROM events")?,
                events_last_minute: newest_seq.saturating_sub(super::follow::seq_before(db, minute_ago)?),
                bytes,
                incidents: one(
                    "SELECT count(*) FROM incidents WHERE opened_at IS NOT NULL AND resolved_at IS NULL",
                )?,
                outbox: one("SELECT count(*) FROM outbox WHERE due IS NOT NULL")?,
                approvals: one("SELECT count(*) FROM approvals WHERE decided_at IS NULL")?,
            })
        })
    }
}

/// What the last life left.
pub(super) fn restored(db: &Connection) -> rusqlite::Result<Restored> {
    let agents = db.prepare("SELECT * FROM agents")?.query_map([], agent_row)?.collect::<Result<_, _>>()?;
    let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE finished_at IS NULL ORDER BY id");
    let open: Vec<RunRow> = db.prepare(&sql)?.query_map([], run_row)?.collect::<Result<_, _>>()?;
    let mut open_runs: Vec<RunRecord> = open.into_iter().map(|row| row.claim).collect();
    let mut processes = db.prepare("SELECT pid, start, boot FROM processes WHERE run = ?1 ORDER BY pid")?;
    for run in &mut open_runs {
        let rows = processes.query_map([run.run.as_bytes().as_slice()], |row| {
            Ok(Process {
                pid: row.get(0)?,
                start: row.get::<_, i64>(1)? as u64,
                boot: row.get::<_, i64>(2)? as u64,
            })
        })?;
        run.processes = rows.collect::<Result<_, _>>()?;
        run.in_doubt = super::talk::in_doubt(db, run.run)?;
    }
    let sql = format!("SELECT {INCIDENT_COLUMNS} FROM incidents WHERE resolved_at IS NULL");
    let incidents = db.prepare(&sql)?.query_map([], incident_row)?.collect::<Result<_, _>>()?;
    let newest: Option<i64> =
        db.query_row("SELECT at FROM events ORDER BY seq DESC LIMIT 1", [], |row| row.get(0)).optional()?;
    let (approvals, holds, spent) = super::talk::restored(db)?;
    let told = super::talk::told_of_budgets(db)?;
    Ok(Restored {
        agents,
        open_runs,
        incidents,
        approvals,
        holds,
        spent,
        told,
        newest_run: db
            .query_row("SELECT max(id) FROM runs", [], |row| {
                row.get::<_, Option<Vec<u8>>>(0).map(|id| id.map(|_| run_id(row, 0)))
            })?
            .transpose()?,
        ancestors: Vec::new(),
        went_back: None,
        database: String::new(),
        unclean: false,
        newest_event_at: newest.map(timestamp_of_micros),
    })
}

/// The event that a column holds; `None` for one of a kind that this release does not know.
fn started_by(text: &str) -> Option<Arc<Event>> {
    serde_json::from_str::<LoggedEvent>(text).ok()?.event().map(Arc::new)
}

pub(super) const RUN_COLUMNS: &str = "id, agent, trigger, slot, status, attempt, queued_at, started_at, not_before, chain, event, query,
    config_hash, finished_at, duration, result, error_kind, error, exit_code, requests, input_tokens, cached_tokens,
    output_tokens, usd, warnings, mode, model, session, clock_moved";

pub(super) fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
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
        event: row.get_ref(10)?.as_str_or_null()?.and_then(started_by),
        query: row.get::<_, Option<String>>(11)?.map(Into::into),
        session: row.get::<_, Option<String>>(27)?.map(Into::into),
        mode: match row.get::<_, Option<String>>(25)? {
            Some(text) => serde_json::from_str(&text).map_err(|error| odd(25, error.to_string()))?,
            None => RunMode::Normal,
        },
        config_hash: ConfigHash(row.get::<_, i64>(12)? as u64),
        processes: Vec::new(),
        used: usage_of(row, 19)?,
        in_doubt: Vec::new(),
    };
    Ok(RunRow {
        usage: claim.used,
        claim,
        finished_at: maybe(row, 13)?,
        duration: row.get::<_, Option<i64>>(14)?.map(SignedDuration::from_micros),
        result: row.get(15)?,
        error: run_error(row, 16)?,
        exit_code: row.get(18)?,
        warnings: row
            .get::<_, Option<String>>(24)?
            .map_or_else(Vec::new, |all| all.lines().map(str::to_owned).collect()),
        model: row.get(26)?,
    })
}

fn run_error(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<RunError>> {
    let kind: Option<String> = row.get(at)?;
    let message: Option<String> = row.get(at + 1)?;
    Ok(kind
        .and_then(|kind| ErrorKind::parse(&kind))
        .map(|kind| RunError { kind, message: message.unwrap_or_default() }))
}

fn agent_row(row: &Row<'_>) -> rusqlite::Result<AgentRecord> {
    let number = |at| row.get::<_, i64>(at).map(|n| n as u64);
    let last_run = match row.get::<_, Option<Vec<u8>>>(16)? {
        None => None,
        Some(_) => Some(LastRun {
            run: run_id(row, 16)?,
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
        held: match row.get(4)? {
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
        config_hash: ConfigHash(row.get::<_, i64>(28)? as u64),
        floor: maybe(row, 30)?,
        origin: maybe(row, 31)?,
        silent: row.get(32)?,
        resume_after: row.get::<_, Option<i64>>(33)?.map(SignedDuration::from_micros),
    })
}

fn ledger_row(row: &Row<'_>) -> rusqlite::Result<LedgerRow> {
    let run = match row.get::<_, Option<Vec<u8>>>(5)? {
        Some(_) => Some(run_id(row, 5)?),
        None => None,
    };
    Ok(LedgerRow {
        first: instant(row, 0)?,
        last: instant(row, 1)?,
        count: row.get::<_, i64>(2)? as u64,
        verdict: word(row, 3, Verdict::parse)?,
        cause: row.get(4)?,
        run,
    })
}

const INCIDENT_COLUMNS: &str = "agent, key, severity, title, since, opened_at, seen_at, count, resolved_at, acked_at, told_at, finding, found_by, \
     found_run, found_at, opened_by, opened_in";

fn incident_row(row: &Row<'_>) -> rusqlite::Result<IncidentRecord> {
    let diagnosis = match row.get::<_, Option<String>>(11)? {
        Some(text) => {
            Some(Diagnosis { by: agent_id(row, 12)?, run: run_id(row, 13)?, at: instant(row, 14)?, text })
        }
        None => None,
    };
    let run = match row.get::<_, Option<Vec<u8>>>(16)? {
        Some(_) => Some(run_id(row, 16)?),
        None => None,
    };
    Ok(IncidentRecord {
        agent: agent_id(row, 0)?,
        key: row.get(1)?,
        severity: word(row, 2, Severity::parse)?,
        title: row.get(3)?,
        since: instant(row, 4)?,
        opened_at: maybe(row, 5)?,
        seen_at: instant(row, 6)?,
        count: row.get::<_, i64>(7)? as u64,
        resolved_at: maybe(row, 8)?,
        acked_at: maybe(row, 9)?,
        told_at: maybe(row, 10)?,
        diagnosis,
        by: word(row, 15, FoundBy::parse)?,
        run,
    })
}
