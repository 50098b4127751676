//! Backfills: their slots, their progress, and which slots have run before.
use super::error::StoreError;
use super::rows::{agent_id, instant, text};
use super::sql::{Sql, SqlResult, odd, params};
use crate::domain::{AgentId, BackfillRecord, RunStatus, Verdict, timestamp_of_micros, to_micros};
use crate::store::reader::Reader;
use jiff::Timestamp;

pub(super) fn began(db: &Sql, backfill: &BackfillRecord, at: Timestamp) -> SqlResult<()> {
    let slots: Vec<i64> = backfill.slots.iter().map(|slot| to_micros(*slot)).collect();
    db.run(
        "INSERT INTO backfills(id, agent, slots, params, max_usd, claimed, usd, made_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            &*backfill.id,
            backfill.agent.as_str(),
            serde_json::to_string(&slots).expect("numbers serialize"),
            serde_json::to_string(&backfill.params).expect("values serialize"),
            backfill.max_usd,
            backfill.claimed as i64,
            backfill.usd,
            to_micros(at),
        ],
    )
}

pub(super) fn moved(db: &Sql, id: &str, claimed: usize, usd: f64) -> SqlResult<()> {
    db.run("UPDATE backfills SET claimed = ?2, usd = ?3 WHERE id = ?1", params![id, claimed as i64, usd])
}

pub(super) fn ended(db: &Sql, id: &str, cause: Option<&str>, at: Timestamp) -> SqlResult<()> {
    db.run("UPDATE backfills SET ended_at = ?2, cause = ?3 WHERE id = ?1", params![id, to_micros(at), cause])
}

/// Returns the backfills that have not ended.
pub(super) fn open(db: &Sql) -> SqlResult<Vec<BackfillRecord>> {
    db.rows(
        "SELECT id, agent, slots, params, max_usd, claimed, usd FROM backfills WHERE ended_at IS NULL ORDER BY id",
        &[],
        |row| {
            let unread = |column| move |error: serde_json::Error| odd(column, error.to_string());
            let slots: Vec<i64> = serde_json::from_str(text(row, 2)?).map_err(unread(2))?;
            Ok(BackfillRecord {
                id: text(row, 0)?.into(),
                agent: agent_id(row, 1)?,
                slots: slots.into_iter().map(timestamp_of_micros).collect(),
                params: serde_json::from_str(text(row, 3)?).map_err(unread(3))?,
                max_usd: row.get(4)?,
                claimed: usize::try_from(row.get::<i64>(5)?).unwrap_or(0),
                usd: row.get(6)?,
            })
        },
    )
}

/// The first and the last of consecutive slots that have run.
pub type RanSlots = (Timestamp, Timestamp);

impl Reader {
    /// Returns the slots of an agent between two instants that have run: according to the ledger,
    /// or by completed runs of backfills.
    ///
    /// # Errors
    /// An error of the database.
    pub fn slots_that_ran(
        &self,
        agent: &AgentId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<RanSlots>, StoreError> {
        self.ask("reading which slots have run", |db| {
            let (from, to) = (to_micros(from), to_micros(to));
            let mut ran = db.rows(
                "SELECT first, last FROM ledger WHERE agent = ?1 AND first <= ?3 AND last >= ?2 AND verdict = ?4",
                params![agent.as_str(), from, to, Verdict::Ran.as_str()],
                |row| Ok((instant(row, 0)?, instant(row, 1)?)),
            )?;
            let backfilled: Vec<RanSlots> = db.rows(
                "SELECT past_slot, past_slot FROM runs WHERE agent = ?1 AND past_slot >= ?2 AND past_slot <= ?3 AND status = ?4",
                params![agent.as_str(), from, to, RunStatus::Completed.as_str()],
                |row| Ok((instant(row, 0)?, instant(row, 1)?)),
            )?;
            ran.extend(backfilled);
            Ok(ran)
        })
    }

    /// Returns the agent of a backfill, the number of its slots with a claimed run, and whether it
    /// has ended; `None` if its id is unknown.
    ///
    /// # Errors
    /// An error of the database.
    pub fn backfill(&self, id: &str) -> Result<Option<(AgentId, u64, bool)>, StoreError> {
        self.ask("reading backfills", |db| {
            db.row("SELECT agent, claimed, ended_at FROM backfills WHERE id = ?1", params![id], |row| {
                let claimed = u64::try_from(row.get::<i64>(1)?).unwrap_or(0);
                Ok((agent_id(row, 0)?, claimed, row.get::<Option<i64>>(2)?.is_some()))
            })
        })
    }

    /// Returns the costs of the newest completed runs of an agent, in US dollars.
    ///
    /// # Errors
    /// An error of the database.
    pub fn costs_of_runs(&self, agent: &AgentId, most: i64) -> Result<Vec<f64>, StoreError> {
        self.ask("reading what runs have cost", |db| {
            db.rows(
                "SELECT usd FROM runs WHERE agent = ?1 AND status = ?2 AND mode IS NULL ORDER BY id DESC LIMIT ?3",
                params![agent.as_str(), RunStatus::Completed.as_str(), most],
                |row| row.get(0),
            )
        })
    }
}
