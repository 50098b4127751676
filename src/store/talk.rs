//! What is recorded of runs that a model carries out: to SQL and back.
use super::UsageBy;
use super::error::StoreError;
use super::types::StepRow;
use crate::domain::*;
use crate::store::reader::Reader;
use crate::store::rows::{agent_id, instant, odd, run_id, usage_of};
use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// A note that a session keeps no more messages than this; what is used of them is bounded by tokens.
const MESSAGES_KEPT: i64 = 1000;
/// Items that are kept as seen, of each agent: the newest.
const SEEN_KEPT: i64 = 50_000;
/// Days with spending, or with news of budgets, that a new life gets to know.
const DAYS_READ: i64 = 124;

pub(super) fn talked(db: &Connection, talk: &Talk, at: Timestamp) -> rusqlite::Result<()> {
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
            db.prepare_cached(
                "INSERT OR REPLACE INTO holds(run, agent, model, day, tokens, output, usd) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                run,
                talk.agent.as_str(),
                model,
                day.to_string(),
                worst.tokens as i64,
                worst.output as i64,
                worst.usd
            ])?;
            db.prepare_cached("UPDATE runs SET model = ?2 WHERE id = ?1")?.execute(params![run, model])?;
        }
        Said::Settled { n, step, day, took_ms } => {
            journal(db, talk, *n, step, None, *took_ms, at)?;
            db.prepare_cached("DELETE FROM holds WHERE run = ?1")?.execute([run])?;
            if let Step::Answered { model, used, .. } | Step::Unanswered { model, used, .. } = &**step {
                spend(db, talk, model, used, *day)?;
            }
        }
        Said::Charged { model, used, day } => {
            db.prepare_cached("DELETE FROM holds WHERE run = ?1")?.execute([run])?;
            spend(db, talk, model, used, *day)?;
        }
        Said::Step { n, step, tool, args, took_ms } => {
            journal(db, talk, *n, step, Some((tool, args)), *took_ms, at)?;
        }
        Said::Waits { wanted } => waits(db, talk, wanted, at)?,
        Said::Decided { id, call, approved, reason, .. } => {
            db.prepare_cached(
                "UPDATE approvals SET decided_at = ?2, approved = ?3, reason = ?4 WHERE id = ?1",
            )?
            .execute(params![id, to_micros(at), approved, reason])?;
            let step = Step::Decided { call: *call, approved: *approved, reason: reason.clone() };
            db.prepare_cached(
                "INSERT INTO steps(run, n, at, body) VALUES (?1, (SELECT coalesce(max(n) + 1, 0) FROM steps WHERE run = ?1), ?2, ?3)",
            )?
            .execute(params![run, to_micros(at), body_of(&step)])?;
        }
    }
    Ok(())
}

fn body_of(step: &Step) -> String {
    serde_json::to_string(step).expect("steps serialize")
}

fn journal(
    db: &Connection,
    talk: &Talk,
    n: u64,
    step: &Step,
    call: Option<(&String, &String)>,
    took_ms: u64,
    at: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO steps(run, n, at, tool, args, took, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        talk.run.as_bytes().as_slice(),
        n as i64,
        to_micros(at),
        call.map(|(tool, _)| tool),
        call.map(|(_, args)| args),
        took_ms as i64,
        body_of(step),
    ])
    .map(|_| ())
}

/// Into the books, and into the record of the run.
fn spend(db: &Connection, talk: &Talk, model: &str, used: &Usage, day: Date) -> rusqlite::Result<()> {
    if *used == Usage::default() {
        return Ok(());
    }
    db.prepare_cached(
        "UPDATE runs SET requests = requests + ?2, input_tokens = input_tokens + ?3,
           cached_tokens = cached_tokens + ?4, output_tokens = output_tokens + ?5, usd = usd + ?6 WHERE id = ?1",
    )?
    .execute(params![
        talk.run.as_bytes().as_slice(),
        used.requests as i64,
        used.input_tokens as i64,
        used.cached_tokens as i64,
        used.output_tokens as i64,
        used.usd,
    ])?;
    db.prepare_cached(
        "INSERT INTO spent(day, agent, model, requests, input_tokens, cached_tokens, output_tokens, usd)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT(day, agent, model) DO UPDATE SET requests = requests + excluded.requests,
           input_tokens = input_tokens + excluded.input_tokens, cached_tokens = cached_tokens + excluded.cached_tokens,
           output_tokens = output_tokens + excluded.output_tokens, usd = usd + excluded.usd",
    )?
    .execute(params![
        day.to_string(),
        talk.agent.as_str(),
        model,
        used.requests as i64,
        used.input_tokens as i64,
        used.cached_tokens as i64,
        used.output_tokens as i64,
        used.usd,
    ])
    .map(|_| ())
}

fn waits(db: &Connection, talk: &Talk, wanted: &[ApprovalWanted], at: Timestamp) -> rusqlite::Result<()> {
    let run = talk.run.as_bytes().as_slice();
    db.prepare_cached("UPDATE runs SET status = 'waiting_approval', attempt = ?2 WHERE id = ?1")?
        .execute(params![run, talk.attempt])?;
    db.prepare_cached("DELETE FROM processes WHERE run = ?1")?.execute([run])?;
    let mut insert = db.prepare_cached(
        "INSERT OR IGNORE INTO approvals(id, run, agent, call, tool, args, requested_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for one in wanted {
        let call = i64::try_from(one.call).unwrap_or(i64::MAX);
        insert.execute(params![one.id, run, talk.agent.as_str(), call, one.tool, one.args, to_micros(at)])?;
    }
    Ok(())
}

pub(super) fn remembered(db: &Connection, change: &MemoryChange, at: Timestamp) -> rusqlite::Result<()> {
    match change {
        MemoryChange::Said { session, run, messages, untrusted } => {
            let mut insert = db.prepare_cached(
                "INSERT INTO sessions(session, run, at, message, untrusted) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for message in messages {
                let text = serde_json::to_string(message).expect("messages serialize");
                insert.execute(params![
                    &**session,
                    run.as_bytes().as_slice(),
                    to_micros(at),
                    text,
                    untrusted
                ])?;
            }
            db.prepare_cached(
                "DELETE FROM sessions WHERE session = ?1 AND id <=
                   (SELECT id FROM sessions WHERE session = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![&**session, MESSAGES_KEPT])?;
        }
        MemoryChange::Note { agent, key, text, untrusted } => {
            // what comes from outside takes no other's place; what does not takes that of both
            db.prepare_cached("DELETE FROM notes WHERE agent = ?1 AND key = ?2 AND untrusted >= ?3")?
                .execute(params![agent.as_str(), key, untrusted])?;
            if !text.is_empty() {
                db.prepare_cached(
                    "INSERT INTO notes(agent, key, text, at, untrusted) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![agent.as_str(), key, text, to_micros(at), untrusted])?;
            }
        }
        MemoryChange::Seen { agent, items } => {
            let mut insert =
                db.prepare_cached("INSERT OR REPLACE INTO seen(agent, item, at) VALUES (?1, ?2, ?3)")?;
            for item in items {
                insert.execute(params![agent.as_str(), item, to_micros(at)])?;
            }
            db.prepare_cached(
                "DELETE FROM seen WHERE agent = ?1 AND at <
                   (SELECT at FROM seen WHERE agent = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![agent.as_str(), SEEN_KEPT])?;
        }
        MemoryChange::Cleared { agent, session } => {
            db.prepare_cached("DELETE FROM sessions WHERE session = ?1")?.execute([&**session])?;
            db.prepare_cached("DELETE FROM notes WHERE agent = ?1")?.execute([agent.as_str()])?;
            db.prepare_cached("DELETE FROM seen WHERE agent = ?1")?.execute([agent.as_str()])?;
            // the run stays in the record; the next one is not told of it
            db.prepare_cached(
                "UPDATE runs SET forgotten = 1 WHERE id =
                   (SELECT max(id) FROM runs WHERE agent = ?1 AND status = 'completed' AND mode IS NULL)",
            )?
            .execute([agent.as_str()])?;
        }
    }
    Ok(())
}

pub(super) fn pinned(
    db: &Connection,
    server: &str,
    tool: &str,
    trusted: &str,
    seen: Option<&str>,
    about: Option<&str>,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO pins(server, tool, trusted, seen, about) VALUES (?1, ?2, ?3, ?4, ?5)";
    db.prepare_cached(sql)?.execute(params![server, tool, trusted, seen, about]).map(|_| ())
}

pub(super) fn feed_kept(db: &Connection, source: &str, kept: &KeptFeed) -> rusqlite::Result<()> {
    let KeptFeed { came_from, etag, last_modified, items, at } = kept;
    db.prepare_cached(
        "INSERT OR REPLACE INTO feeds(source, came_from, etag, last_modified, items, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![source, came_from, etag, last_modified, items, to_micros(*at)])
    .map(|_| ())
}

impl Reader {
    /// The journal of a run, in order.
    pub fn steps(&self, run: RunId) -> Result<Vec<StepRow>, StoreError> {
        self.ask("reading a journal", |db| {
            let mut statement = db.prepare_cached(
                "SELECT n, at, tool, args, coalesce(took, 0), body FROM steps WHERE run = ?1 ORDER BY n",
            )?;
            statement.query_map([run.as_bytes().as_slice()], step_row)?.collect()
        })
    }

    /// The newest messages of a session, oldest first.
    pub fn session(&self, session: &str, most: usize) -> Result<Vec<SessionRow>, StoreError> {
        self.ask("reading a session", |db| {
            let mut statement = db.prepare_cached(
                "SELECT at, message, untrusted FROM (SELECT id, at, message, untrusted FROM sessions WHERE session = ?1 ORDER BY id DESC LIMIT ?2) ORDER BY id",
            )?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![session, most], |row| {
                Ok(SessionRow { at: instant(row, 0)?, message: json_of(row, 1)?, untrusted: row.get(2)? })
            })?;
            rows.collect()
        })
    }

    /// Notes of an agent, by key. With `key`: that one.
    pub fn notes(&self, agent: &AgentId, key: Option<&str>) -> Result<Vec<Note>, StoreError> {
        self.ask("reading notes", |db| {
            let mut statement = db.prepare_cached(
                "SELECT key, text, at, untrusted FROM notes WHERE agent = ?1 AND (?2 IS NULL OR key = ?2) ORDER BY key, untrusted",
            )?;
            let rows = statement.query_map(params![agent.as_str(), key], |row| {
                Ok(Note {
                    key: row.get(0)?,
                    text: row.get(1)?,
                    at: instant(row, 2)?,
                    untrusted: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// How many items an agent's gate has seen, and when the newest of them.
    pub fn seen_count(&self, agent: &AgentId) -> Result<Option<(u64, Timestamp)>, StoreError> {
        self.ask("reading seen items", |db| {
            db.prepare_cached("SELECT count(*), max(at) FROM seen WHERE agent = ?1 HAVING count(*) > 0")?
                .query_row([agent.as_str()], |row| Ok((row.get::<_, i64>(0)? as u64, instant(row, 1)?)))
                .optional()
        })
    }

    /// Which of these items an agent's gate has seen.
    pub fn seen(&self, agent: &AgentId, items: &[String]) -> Result<Vec<bool>, StoreError> {
        self.ask("reading seen items", |db| {
            let mut statement = db.prepare_cached("SELECT 1 FROM seen WHERE agent = ?1 AND item = ?2")?;
            items.iter().map(|item| statement.exists(params![agent.as_str(), item])).collect()
        })
    }

    /// What is kept of a feed.
    pub fn feed(&self, source: &str) -> Result<Option<KeptFeed>, StoreError> {
        self.ask("reading a feed", |db| {
            db.prepare_cached(
                "SELECT came_from, etag, last_modified, items, at FROM feeds WHERE source = ?1",
            )?
            .query_row([source], |row| {
                Ok(KeptFeed {
                    came_from: row.get(0)?,
                    etag: row.get(1)?,
                    last_modified: row.get(2)?,
                    items: row.get(3)?,
                    at: instant(row, 4)?,
                })
            })
            .optional()
        })
    }

    /// Calls that wait for a person, oldest first.
    pub fn approvals(&self) -> Result<Vec<ApprovalRecord>, StoreError> {
        self.ask("reading approvals", approvals)
    }

    /// Pins of MCP tools: server, tool, trusted hash, what is trusted.
    #[expect(clippy::type_complexity, reason = "a row")]
    pub fn pins(&self) -> Result<Vec<(String, String, String, Option<String>)>, StoreError> {
        self.ask("reading pins", |db| {
            let mut statement = db.prepare_cached("SELECT server, tool, trusted, about FROM pins")?;
            let rows =
                statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
            rows.collect()
        })
    }

    /// What requests of models used, since a day: key, runs, usage.
    pub fn spent(&self, by: UsageBy, since: Option<Date>) -> Result<Vec<(String, Usage)>, StoreError> {
        let key = column(by);
        self.ask("summing up usage", |db| {
            let sql = format!(
                "SELECT {key} AS k, sum(requests), sum(input_tokens), sum(cached_tokens), sum(output_tokens), sum(usd)
                 FROM spent WHERE ?1 IS NULL OR day >= ?1 GROUP BY k ORDER BY k"
            );
            let mut statement = db.prepare_cached(&sql)?;
            let since = since.map(|day| day.to_string());
            let rows = statement.query_map([since], |row| Ok((row.get(0)?, usage_of(row, 1)?)))?;
            rows.collect()
        })
    }

    /// What is held for requests under way.
    pub fn holds(&self) -> Result<Vec<HoldRecord>, StoreError> {
        self.ask("reading what is held", holds)
    }

    /// Which models requests were sent to, since a day: key, model, dollars.
    pub fn spent_by_model(
        &self,
        by: UsageBy,
        since: Option<Date>,
    ) -> Result<Vec<(String, String, f64)>, StoreError> {
        let key = column(by);
        self.ask("summing up usage", |db| {
            let sql = format!(
                "SELECT {key} AS k, model AS m, sum(usd) FROM spent WHERE ?1 IS NULL OR day >= ?1 GROUP BY k, m ORDER BY k, m"
            );
            let mut statement = db.prepare_cached(&sql)?;
            let since = since.map(|day| day.to_string());
            let rows = statement.query_map([since], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect()
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

fn approvals(db: &Connection) -> rusqlite::Result<Vec<ApprovalRecord>> {
    let mut statement = db.prepare_cached(
        "SELECT id, run, agent, call, tool, args, requested_at FROM approvals WHERE decided_at IS NULL ORDER BY requested_at, id",
    )?;
    let rows = statement.query_map([], |row| {
        let call = usize::try_from(row.get::<_, i64>(3)?).unwrap_or(usize::MAX);
        Ok(ApprovalRecord {
            wanted: ApprovalWanted { id: row.get(0)?, call, tool: row.get(4)?, args: row.get(5)? },
            run: run_id(row, 1)?,
            agent: agent_id(row, 2)?,
            requested_at: instant(row, 6)?,
        })
    })?;
    rows.collect()
}

fn holds(db: &Connection) -> rusqlite::Result<Vec<HoldRecord>> {
    let mut statement = db.prepare_cached("SELECT run, agent, model, day, tokens, output, usd FROM holds")?;
    let rows = statement.query_map([], |row| {
        Ok(HoldRecord {
            run: run_id(row, 0)?,
            agent: agent_id(row, 1)?,
            model: row.get(2)?,
            day: day_of(row, 3)?,
            worst: WorstCase {
                tokens: row.get::<_, i64>(4)? as u64,
                output: row.get::<_, i64>(5)? as u64,
                usd: row.get(6)?,
            },
        })
    })?;
    rows.collect()
}

/// What a start needs to know: open approvals, requests whose end nobody saw, and what was used by
/// day and agent since `since`.
pub(super) fn restored(
    db: &Connection,
) -> rusqlite::Result<(Vec<ApprovalRecord>, Vec<HoldRecord>, Vec<SpentRow>)> {
    let holds = holds(db)?;
    // budgets look back for a month at the most. Days are counted, not their distance: those of a clock that was ahead
    // don't hide the true ones
    let since: Option<String> = db.query_row(
        "SELECT min(day) FROM (SELECT DISTINCT day FROM spent ORDER BY day DESC LIMIT ?1)",
        [DAYS_READ],
        |row| row.get(0),
    )?;
    let mut statement = db.prepare(
        "SELECT day, agent, sum(requests), sum(input_tokens), sum(cached_tokens), sum(output_tokens), sum(usd)
         FROM spent WHERE ?1 IS NULL OR day >= ?1 GROUP BY day, agent",
    )?;
    let spent = statement
        .query_map([since], |row| {
            Ok(SpentRow { day: day_of(row, 0)?, agent: agent_id(row, 1)?, used: usage_of(row, 2)? })
        })?
        .collect::<Result<_, _>>()?;
    Ok((approvals(db)?, holds, spent))
}

/// Keeps what was told of a budget, so that no later life tells it again.
pub(super) fn told(db: &Connection, news: &BudgetNews) -> rusqlite::Result<()> {
    let told = news.told();
    db.prepare_cached(
        "DELETE FROM told WHERE since < (SELECT min(since) FROM (SELECT DISTINCT since FROM told ORDER BY since DESC LIMIT ?1))",
    )?
    .execute([DAYS_READ])?;
    db.prepare_cached("INSERT OR IGNORE INTO told(since, agent, what, exhausted) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            told.since.to_string(),
            told.agent.as_ref().map_or("", AgentId::as_str),
            told.limit,
            told.exhausted
        ])
        .map(|_| ())
}

/// What was told of budgets.
pub(super) fn told_of_budgets(db: &Connection) -> rusqlite::Result<Vec<BudgetTold>> {
    let mut statement = db.prepare("SELECT since, nullif(agent, ''), what, exhausted FROM told")?;
    let rows = statement.query_map([], |row| {
        Ok(BudgetTold {
            since: day_of(row, 0)?,
            agent: row.get::<_, Option<String>>(1)?.map(|_| agent_id(row, 1)).transpose()?,
            limit: row.get(2)?,
            exhausted: row.get(3)?,
        })
    })?;
    rows.collect()
}

/// Calls of a run that may have changed something and have no answer.
pub(super) fn in_doubt(db: &Connection, run: RunId) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "SELECT n, at, tool, args, coalesce(took, 0), body FROM steps WHERE run = ?1 ORDER BY n",
    )?;
    let mut open = std::collections::BTreeMap::new();
    for row in statement.query_map([run.as_bytes().as_slice()], step_row)? {
        let StepRow { tool, args, step, .. } = row?;
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

fn day_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Date> {
    let text: String = row.get(at)?;
    text.parse().map_err(|_| odd(at, format!("no day: `{text}`")))
}

fn step_row(row: &Row<'_>) -> rusqlite::Result<StepRow> {
    Ok(StepRow {
        n: row.get::<_, i64>(0)? as u64,
        at: instant(row, 1)?,
        tool: row.get(2)?,
        args: row.get(3)?,
        took_ms: row.get::<_, i64>(4)? as u64,
        step: json_of(row, 5)?,
    })
}

fn json_of<T: serde::de::DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    serde_json::from_str(&text).map_err(|error| odd(at, error.to_string()))
}
