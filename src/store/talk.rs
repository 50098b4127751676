//! Records of model runs: steps, holds, spending, approvals, sessions, notes, pins and feeds.
use super::UsageBy;
use super::error::StoreError;
use super::memory_changes;
use super::types::{DecidedApproval, StepRow};
use crate::domain::*;
use crate::store::reader::Reader;
use crate::store::rows::{agent_id, instant, json_of, run_id, text, usage_of};
use crate::store::sql::{Sql, SqlResult, SqlRow, odd, params};
use jiff::Timestamp;
use jiff::civil::Date;

/// Maximum number of messages kept per session; how many are used is limited by tokens.
const MAX_SESSION_ROWS: i64 = 1000;
/// Maximum number of seen items kept per agent: the newest.
const MAX_SEEN_ROWS: i64 = 50_000;
/// Number of days with spending, or with budget notices, that are restored at a start.
const RESTORED_DAY_COUNT: i64 = 124;

/// Columns of usage, summed.
const USAGE_SUMS: &str =
    "CAST(sum(requests) AS BIGINT), CAST(sum(input_tokens) AS BIGINT), CAST(sum(cached_tokens) AS BIGINT),
    CAST(sum(output_tokens) AS BIGINT), sum(usd)";

pub(super) fn record_talk(db: &Sql, talk: &Talk, at: Timestamp) -> SqlResult<()> {
    let run = talk.run.as_bytes().as_slice();
    match &talk.said {
        Said::Final { .. } | Said::Resumed => {}
        Said::Query { n, text, untrusted, seen, gate } => {
            let (query, seen) = (text.clone(), seen.clone());
            let step = Step::Begun { query, untrusted: *untrusted, seen, gate: gate.clone() };
            journal(db, talk, *n, &step, None, 0, at)?;
        }
        Said::Held { n, model, worst, day } => {
            let step = Step::Asked { model: model.clone(), worst: *worst };
            journal(db, talk, *n, &step, None, 0, at)?;
            db.run("INSERT INTO holds(run, n, agent, model, day, tokens, output, usd) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT(run, n) DO UPDATE SET agent = excluded.agent, model = excluded.model, day = excluded.day,
                   tokens = excluded.tokens, output = excluded.output, usd = excluded.usd", params![
                run,
                *n as i64,
                talk.agent.as_str(),
                model,
                day.to_string(),
                worst.tokens as i64,
                worst.output as i64,
                worst.usd
            ])?;
            db.run("UPDATE runs SET model = ?2 WHERE id = ?1", params![run, model])?;
        }
        Said::Settled { n, asked, step, day, took_ms } => {
            journal(db, talk, *n, step, None, *took_ms, at)?;
            release(db, run, *asked)?;
            if let Step::Answered { model, used, .. } | Step::Unanswered { model, used, .. } = &**step {
                spend(db, talk, model, used, *day)?;
            }
        }
        Said::Charged { asked, model, used, day } => {
            release(db, run, *asked)?;
            spend(db, talk, model, used, *day)?;
        }
        Said::Step { n, step, tool, args, took_ms } => {
            journal(db, talk, *n, step, Some((tool, args)), *took_ms, at)?;
        }
        Said::Waits { wanted } => waits(db, talk, wanted, at)?,
        Said::Decided { id, call, approved, reason, by, .. } => {
            db.run(
                "UPDATE approvals SET decided_at = ?2, approved = ?3, reason = ?4, decided_by = ?5 WHERE id = ?1",
                params![id, to_micros(at), approved, reason, by],
            )?;
            super::questions::decided(db, id)?;
            let step = Step::Decided { call: *call, approved: *approved, reason: reason.clone() };
            db.run("INSERT INTO steps(run, n, at, body) VALUES (?1, (SELECT coalesce(max(n) + 1, 0) FROM steps WHERE run = ?1), ?2, ?3)", params![run, to_micros(at), body_of(&step)])?;
        }
    }
    Ok(())
}

/// Releases the hold of a request.
fn release(db: &Sql, run: &[u8], asked: u64) -> SqlResult<()> {
    db.run("DELETE FROM holds WHERE run = ?1 AND n = ?2", params![run, asked as i64])
}

fn body_of(step: &Step) -> String {
    serde_json::to_string(step).expect("steps serialize")
}

fn journal(
    db: &Sql,
    talk: &Talk,
    n: u64,
    step: &Step,
    call: Option<(&String, &String)>,
    took_ms: u64,
    at: Timestamp,
) -> SqlResult<()> {
    db.run(
        "INSERT INTO steps(run, n, at, tool, args, took, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT(run, n) DO UPDATE SET at = excluded.at, tool = excluded.tool, args = excluded.args,
           took = excluded.took, body = excluded.body",
        params![
            talk.run.as_bytes().as_slice(),
            n as i64,
            to_micros(at),
            call.map(|(tool, _)| tool),
            call.map(|(_, args)| args),
            took_ms as i64,
            body_of(step),
        ],
    )
}

/// Adds usage to the totals of the day, and to the record of the run.
fn spend(db: &Sql, talk: &Talk, model: &str, used: &Usage, day: Date) -> SqlResult<()> {
    if *used == Usage::default() {
        return Ok(());
    }
    db.run("UPDATE runs SET requests = requests + ?2, input_tokens = input_tokens + ?3,
           cached_tokens = cached_tokens + ?4, output_tokens = output_tokens + ?5, usd = usd + ?6 WHERE id = ?1", params![
        talk.run.as_bytes().as_slice(),
        used.requests as i64,
        used.input_tokens as i64,
        used.cached_tokens as i64,
        used.output_tokens as i64,
        used.usd,
    ])?;
    db.run(
        "INSERT INTO spent(day, agent, model, requests, input_tokens, cached_tokens, output_tokens, usd)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT(day, agent, model) DO UPDATE SET requests = spent.requests + excluded.requests,
           input_tokens = spent.input_tokens + excluded.input_tokens,
           cached_tokens = spent.cached_tokens + excluded.cached_tokens,
           output_tokens = spent.output_tokens + excluded.output_tokens, usd = spent.usd + excluded.usd",
        params![
            day.to_string(),
            talk.agent.as_str(),
            model,
            used.requests as i64,
            used.input_tokens as i64,
            used.cached_tokens as i64,
            used.output_tokens as i64,
            used.usd,
        ],
    )
}

fn waits(db: &Sql, talk: &Talk, wanted: &[ApprovalWanted], at: Timestamp) -> SqlResult<()> {
    let run = talk.run.as_bytes().as_slice();
    db.run(
        "UPDATE runs SET status = 'waiting_approval', attempt = ?2 WHERE id = ?1",
        params![run, talk.attempt],
    )?;
    db.run("DELETE FROM processes WHERE run = ?1", params![run])?;
    for one in wanted {
        let call = i64::try_from(one.call).unwrap_or(i64::MAX);
        db.run("INSERT INTO approvals(id, run, agent, call, tool, args, requested_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT(id) DO NOTHING", params![one.id, run, talk.agent.as_str(), call, one.tool, one.args, to_micros(at)])?;
    }
    Ok(())
}

pub(super) fn remembered(db: &Sql, change: &MemoryChange, at: Timestamp) -> SqlResult<()> {
    match change {
        MemoryChange::Said { session, run, messages, untrusted, store } => {
            if *store == MemoryStore::Redis {
                memory_changes::said(db, session, (*run, *untrusted), messages, at)?;
            }
            for message in messages {
                let text = serde_json::to_string(message).expect("messages serialize");
                db.run(
                    "INSERT INTO sessions(session, run, at, message, untrusted) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![&**session, run.as_bytes().as_slice(), to_micros(at), text, untrusted],
                )?;
            }
            db.run(
                "DELETE FROM sessions WHERE session = ?1 AND id <=
                   (SELECT id FROM sessions WHERE session = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                params![&**session, MAX_SESSION_ROWS],
            )?;
        }
        MemoryChange::Note { agent, key, text, untrusted, store } => {
            if *store == MemoryStore::Redis {
                return memory_changes::noted(db, agent, (key, text, *untrusted), at);
            }
            // an untrusted note does not replace a trusted one; a trusted note replaces both
            db.change(
                "DELETE FROM notes WHERE agent = ?1 AND key = ?2 AND untrusted >= ?3",
                params![agent.as_str(), key, untrusted],
            )?;
            if !text.is_empty() {
                db.run(
                    "INSERT INTO notes(agent, key, text, at, untrusted) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![agent.as_str(), key, text, to_micros(at), untrusted],
                )?;
            }
        }
        MemoryChange::Seen { agent, items } => {
            for item in items {
                db.run(
                    "INSERT INTO seen(agent, item, at) VALUES (?1, ?2, ?3)
                     ON CONFLICT(agent, item) DO UPDATE SET at = excluded.at",
                    params![agent.as_str(), item, to_micros(at)],
                )?;
            }
            db.run(
                "DELETE FROM seen WHERE agent = ?1 AND at <
                   (SELECT at FROM seen WHERE agent = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2)",
                params![agent.as_str(), MAX_SEEN_ROWS],
            )?;
        }
        MemoryChange::Cleared { agent, session, store } => {
            if *store == MemoryStore::Redis {
                memory_changes::forgotten(db, agent, session, at)?;
            }
            db.run("DELETE FROM sessions WHERE session = ?1", params![&**session])?;
            db.run("DELETE FROM notes WHERE agent = ?1", params![agent.as_str()])?;
            db.run("DELETE FROM seen WHERE agent = ?1", params![agent.as_str()])?;
            // the record of the run is kept; the next run does not get its result
            db.change("UPDATE runs SET forgotten = 1 WHERE id =
                   (SELECT id FROM runs WHERE agent = ?1 AND status = 'completed' AND mode IS NULL ORDER BY id DESC LIMIT 1)", params![agent.as_str()])?;
        }
    }
    Ok(())
}

pub(super) fn pinned(
    db: &Sql,
    server: &str,
    tool: &str,
    trusted: &str,
    seen: Option<&str>,
    about: Option<&str>,
) -> SqlResult<()> {
    let sql = "INSERT INTO pins(server, tool, trusted, seen, about) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT(server, tool) DO UPDATE SET trusted = excluded.trusted, seen = excluded.seen, about = excluded.about";
    db.run(sql, params![server, tool, trusted, seen, about])
}

pub(super) fn feed_kept(db: &Sql, source: &str, kept: &CachedFeed) -> SqlResult<()> {
    let CachedFeed { came_from, etag, last_modified, items, at } = kept;
    db.run(
        "INSERT INTO feeds(source, came_from, etag, last_modified, items, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT(source) DO UPDATE SET came_from = excluded.came_from, etag = excluded.etag,
           last_modified = excluded.last_modified, items = excluded.items, at = excluded.at",
        params![source, came_from, etag, last_modified, items, to_micros(*at)],
    )
}

impl Reader {
    /// Returns the journal of a run, in order.
    pub fn steps(&self, run: RunId) -> Result<Vec<StepRow>, StoreError> {
        self.steps_after(run, None, usize::MAX)
    }

    /// Returns the first `limit` entries of a run's journal that follow entry `after`.
    pub fn steps_after(
        &self,
        run: RunId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StepRow>, StoreError> {
        let after = after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.ask("reading a journal", |db| {
            db.rows(
                "SELECT n, at, tool, args, coalesce(took, 0), body FROM steps WHERE run = ?1 AND n > ?2 ORDER BY n LIMIT ?3",
                params![run.as_bytes().as_slice(), after, limit],
                step_row,
            )
        })
    }

    /// Returns the newest messages of a session, oldest first.
    pub fn session(&self, session: &str, most: usize) -> Result<Vec<SessionRow>, StoreError> {
        self.ask("reading a session", |db| {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            db.rows("SELECT at, message, untrusted FROM (SELECT id, at, message, untrusted FROM sessions WHERE session = ?1 ORDER BY id DESC LIMIT ?2) AS newest ORDER BY id", params![session, most], |row| {
                Ok(SessionRow { at: instant(row, 0)?, message: json_of(row, 1)?, untrusted: row.get(2)? })
            })
        })
    }

    /// Returns the notes of an agent, by key, or those with `key`.
    pub fn notes(&self, agent: &AgentId, key: Option<&str>) -> Result<Vec<Note>, StoreError> {
        self.ask("reading notes", |db| {
            db.rows("SELECT key, text, at, untrusted FROM notes WHERE agent = ?1 AND (CAST(?2 AS TEXT) IS NULL OR key = ?2) ORDER BY key, untrusted", params![agent.as_str(), key], |row| {
                Ok(Note {
                    key: row.get(0)?,
                    text: row.get(1)?,
                    at: instant(row, 2)?,
                    untrusted: row.get(3)?,
                })
            })
        })
    }

    /// Returns how many items an agent's gate has seen, and when it saw the newest.
    pub fn seen_count(&self, agent: &AgentId) -> Result<Option<(u64, Timestamp)>, StoreError> {
        self.ask("reading seen items", |db| {
            db.row(
                "SELECT count(*), max(at) FROM seen WHERE agent = ?1 HAVING count(*) > 0",
                params![agent.as_str()],
                |row| Ok((row.get::<i64>(0)? as u64, instant(row, 1)?)),
            )
        })
    }

    /// Returns for each of these items whether an agent's gate has seen it.
    pub fn seen(&self, agent: &AgentId, items: &[String]) -> Result<Vec<bool>, StoreError> {
        self.ask("reading seen items", |db| {
            items
                .iter()
                .map(|item| {
                    db.exists(
                        "SELECT 1 FROM seen WHERE agent = ?1 AND item = ?2",
                        params![agent.as_str(), item],
                    )
                })
                .collect()
        })
    }

    /// Returns what is stored of a feed.
    pub fn feed(&self, source: &str) -> Result<Option<CachedFeed>, StoreError> {
        self.ask("reading a feed", |db| {
            db.row(
                "SELECT came_from, etag, last_modified, items, at FROM feeds WHERE source = ?1",
                params![source],
                |row| {
                    Ok(CachedFeed {
                        came_from: row.get(0)?,
                        etag: row.get(1)?,
                        last_modified: row.get(2)?,
                        items: row.get(3)?,
                        at: instant(row, 4)?,
                    })
                },
            )
        })
    }

    /// Returns calls that wait for a person, oldest first.
    pub fn approvals(&self) -> Result<Vec<ApprovalRecord>, StoreError> {
        self.ask("reading approvals", approvals)
    }

    /// Returns the pins of MCP tools: server, tool, trusted hash, trusted description.
    #[expect(clippy::type_complexity, reason = "a row")]
    pub fn pins(&self) -> Result<Vec<(String, String, String, Option<String>)>, StoreError> {
        self.ask("reading pins", |db| {
            db.rows("SELECT server, tool, trusted, about FROM pins ORDER BY server, tool", &[], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
        })
    }

    /// Returns the usage of model requests since a day, by key.
    pub fn spent(&self, by: UsageBy, since: Option<Date>) -> Result<Vec<(String, Usage)>, StoreError> {
        let key = column(by);
        self.ask("summing up usage", |db| {
            let sql = format!(
                "SELECT {key} AS k, {USAGE_SUMS}
                 FROM spent WHERE CAST(?1 AS TEXT) IS NULL OR day >= ?1 GROUP BY k ORDER BY k"
            );
            let since = since.map(|day| day.to_string());
            db.rows(&sql, params![since], |row| Ok((row.get(0)?, usage_of(row, 1)?)))
        })
    }

    /// Returns calls that waited for a person and were decided, newest first.
    pub fn decided_approvals(&self, limit: usize) -> Result<Vec<DecidedApproval>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.ask("reading approvals", |db| {
            let sql = format!(
                "SELECT {APPROVAL_COLUMNS}, decided_at, approved, decided_by, reason FROM approvals
                 WHERE decided_at IS NOT NULL ORDER BY decided_at DESC, id LIMIT ?1"
            );
            db.rows(&sql, params![limit], |row| {
                Ok(DecidedApproval {
                    record: approval_row(row)?,
                    at: instant(row, 7)?,
                    approved: row.get::<Option<i64>>(8)?.unwrap_or(0) != 0,
                    by: row.get(9)?,
                    reason: row.get(10)?,
                })
            })
        })
    }

    /// Returns the holds of requests in flight.
    pub fn holds(&self) -> Result<Vec<HoldRecord>, StoreError> {
        self.ask("reading what is held", holds)
    }

    /// Returns the costs of model requests since a day: key, model, dollars.
    pub fn spent_by_model(
        &self,
        by: UsageBy,
        since: Option<Date>,
    ) -> Result<Vec<(String, String, f64)>, StoreError> {
        let key = column(by);
        self.ask("summing up usage", |db| {
            let sql = format!(
                "SELECT {key} AS k, model AS m, sum(usd) FROM spent WHERE CAST(?1 AS TEXT) IS NULL OR day >= ?1 GROUP BY k, m ORDER BY k, m"
            );
            let since = since.map(|day| day.to_string());
            db.rows(&sql, params![since], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        })
    }
}

fn column(by: UsageBy) -> &'static str {
    match by {
        UsageBy::Agent => "agent",
        UsageBy::Model => "model",
        UsageBy::Day => "day",
    }
}

const APPROVAL_COLUMNS: &str = "id, run, agent, call, tool, args, requested_at";

fn approvals(db: &Sql) -> SqlResult<Vec<ApprovalRecord>> {
    let sql = format!(
        "SELECT {APPROVAL_COLUMNS} FROM approvals WHERE decided_at IS NULL ORDER BY requested_at, id"
    );
    db.rows(&sql, &[], approval_row)
}

fn approval_row(row: &SqlRow<'_>) -> SqlResult<ApprovalRecord> {
    let call = usize::try_from(row.get::<i64>(3)?).unwrap_or(usize::MAX);
    Ok(ApprovalRecord {
        wanted: ApprovalWanted { id: row.get(0)?, call, tool: row.get(4)?, args: row.get(5)? },
        run: run_id(row, 1)?,
        agent: agent_id(row, 2)?,
        requested_at: instant(row, 6)?,
    })
}

fn holds(db: &Sql) -> SqlResult<Vec<HoldRecord>> {
    db.rows("SELECT run, agent, model, day, tokens, output, usd, n FROM holds ORDER BY run, n", &[], |row| {
        Ok(HoldRecord {
            run: run_id(row, 0)?,
            agent: agent_id(row, 1)?,
            model: row.get(2)?,
            day: day_of(row, 3)?,
            n: row.get::<i64>(7)? as u64,
            worst: WorstCase {
                tokens: row.get::<i64>(4)? as u64,
                output: row.get::<i64>(5)? as u64,
                usd: row.get(6)?,
            },
        })
    })
}

/// Returns what a start needs to know: open approvals, holds of requests with an unknown outcome,
/// and recent usage by day and agent.
pub(super) fn restored(db: &Sql) -> SqlResult<(Vec<ApprovalRecord>, Vec<HoldRecord>, Vec<SpentRow>)> {
    let holds = holds(db)?;
    // budgets look back for a month at most. The number of days is limited rather than their
    // distance, so that days dated by a clock that was ahead do not hide the real ones
    let since: Option<String> = db.one(
        "SELECT min(day) FROM (SELECT DISTINCT day FROM spent ORDER BY day DESC LIMIT ?1) AS days",
        params![RESTORED_DAY_COUNT],
        |row| row.get(0),
    )?;
    let spent = db.rows(
        &format!(
            "SELECT day, agent, {USAGE_SUMS}
         FROM spent WHERE CAST(?1 AS TEXT) IS NULL OR day >= ?1 GROUP BY day, agent ORDER BY day, agent"
        ),
        params![since],
        |row| Ok(SpentRow { day: day_of(row, 0)?, agent: agent_id(row, 1)?, used: usage_of(row, 2)? }),
    )?;
    Ok((approvals(db)?, holds, spent))
}

/// Records a budget notice, so that it is not repeated after a restart.
pub(super) fn told(db: &Sql, news: &BudgetNotice) -> SqlResult<()> {
    let notice = news.told();
    db.run("DELETE FROM told WHERE since < (SELECT min(since) FROM (SELECT DISTINCT since FROM told ORDER BY since DESC LIMIT ?1) AS days)", params![RESTORED_DAY_COUNT])?;
    db.run(
        "INSERT INTO told(since, agent, what, exhausted) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![
            notice.since.to_string(),
            notice.agent.as_ref().map_or("", AgentId::as_str),
            notice.limit,
            notice.exhausted
        ],
    )
}

/// Returns the budget notices.
pub(super) fn budget_notices(db: &Sql) -> SqlResult<Vec<BudgetTold>> {
    db.rows(
        "SELECT since, nullif(agent, ''), what, exhausted FROM told ORDER BY since, agent, what, exhausted",
        &[],
        |row| {
            Ok(BudgetTold {
                since: day_of(row, 0)?,
                agent: row.get::<Option<String>>(1)?.map(|_| agent_id(row, 1)).transpose()?,
                limit: row.get(2)?,
                exhausted: row.get(3)?,
            })
        },
    )
}

/// Returns calls of a run that may have had an effect and have no recorded result.
pub(super) fn in_doubt(db: &Sql, run: RunId) -> SqlResult<Vec<String>> {
    let mut open = std::collections::BTreeMap::new();
    for row in db.rows(
        "SELECT n, at, tool, args, coalesce(took, 0), body FROM steps WHERE run = ?1 ORDER BY n",
        params![run.as_bytes().as_slice()],
        step_row,
    )? {
        let StepRow { tool, args, step, .. } = row;
        match step {
            Step::Calling { call, effect: Effect::Effect } => {
                let name = format!("{} {}", tool.unwrap_or_default(), args.unwrap_or_default());
                open.insert(call, name.trim_end().to_owned());
            }
            Step::Called { call, .. } => {
                open.remove(&call);
            }
            _ => {}
        }
    }
    Ok(open.into_values().collect())
}

fn day_of(row: &SqlRow<'_>, at: usize) -> SqlResult<Date> {
    let text = text(row, at)?;
    text.parse().map_err(|_| odd(at, format!("no day: `{text}`")))
}

fn step_row(row: &SqlRow<'_>) -> SqlResult<StepRow> {
    Ok(StepRow {
        n: row.get::<i64>(0)? as u64,
        at: instant(row, 1)?,
        tool: row.get(2)?,
        args: row.get(3)?,
        took_ms: row.get::<i64>(4)? as u64,
        step: json_of(row, 5)?,
    })
}
