//! Outcomes of events that agents wait for (`on`): a claimed run, or the reason why there is none.
use super::RunRow;
use super::error::StoreError;
use super::follow;
use super::read::{RUN_COLUMNS, run_row};
use crate::domain::{
    AgentId, AgentStatus, Desired, Event, EventRef, EventType, Join, RunId, SlotSkipped, Verdict, to_micros,
};
use crate::store::reader::Reader;
use crate::store::rows::{instant, text};
use crate::store::sql::{Sql, SqlResult, params};
use jiff::Timestamp;
use std::ops::ControlFlow;

/// Maximum number of an agent's events searched for an outcome.
const MAX_SEARCHED_ROWS: i64 = 20_000;

/// The outcome of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum EventOutcome {
    /// It started this run.
    Ran(Box<RunRow>),
    /// It started nothing.
    Passed {
        /// When it happened.
        at: Timestamp,
        /// The event. `None`: a run was claimed for it, and then dropped.
        event: Option<EventRef>,
        verdict: Verdict,
        /// The reason, in words.
        cause: String,
    },
}

/// Returns the number of the event by which an agent was last taken out of `stopped`, if it is
/// among the searched ones.
fn started_after_stop(db: &Sql, agent: &AgentId) -> SqlResult<Option<i64>> {
    let mut found = None;
    db.each(
        "SELECT seq, payload FROM events WHERE agent = ?1 AND type = ?2 ORDER BY seq DESC LIMIT ?3",
        params![agent.as_str(), EventType::AgentStatus.as_str(), MAX_SEARCHED_ROWS],
        &mut |row| {
            let status = serde_json::from_str::<AgentStatus>(text(row, 1)?).ok();
            if status.is_none_or(|status| status.previous != Desired::Stopped) {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(row.get(0)?);
            Ok(ControlFlow::Break(()))
        },
    )?;
    Ok(found)
}

impl Reader {
    /// Returns the outcome of the newest event up to an instant for which an agent was waiting, if
    /// it is still recorded.
    ///
    /// # Errors
    /// An error of the database.
    pub fn event_outcome(
        &self,
        agent: &AgentId,
        until: Timestamp,
    ) -> Result<Option<EventOutcome>, StoreError> {
        self.ask("reading what events have started", |db| {
            let until = to_micros(until);
            let sql = format!(
                "SELECT {RUN_COLUMNS} FROM runs WHERE agent = ?1 AND trigger = 'event' AND queued_at <= ?2
                 ORDER BY id DESC LIMIT 1"
            );
            let ran = db.row(&sql, params![agent.as_str(), until], run_row)?;
            // an event that did not start a run is logged as a skipped slot without a slot
            let sql = "SELECT at, payload FROM (SELECT seq, at, type, payload FROM events WHERE agent = ?1
                   ORDER BY seq DESC LIMIT ?4) AS newest
                 WHERE type = ?3 AND at <= ?2 ORDER BY seq DESC";
            let mut found = None;
            db.each(
                sql,
                params![agent.as_str(), until, EventType::SlotSkipped.as_str(), MAX_SEARCHED_ROWS],
                &mut |row| {
                    found = passed(instant(row, 0)?, text(row, 1)?);
                    Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                },
            )?;
            let passed = found;
            Ok(match (ran, passed) {
                (Some(ran), Some((at, passed))) if at > ran.claim.queued_at => Some(passed),
                (Some(ran), _) => Some(EventOutcome::Ran(Box::new(ran))),
                (None, passed) => passed.map(|(_, passed)| passed),
            })
        })
    }

    /// Returns the newest ends of runs for which an agent with a join waits: since it was last
    /// started by them or taken out of `stopped`, without those that had another outcome.
    ///
    /// # Errors
    /// An error of the database.
    pub fn arrivals(&self, waiting: &AgentId, join: &Join) -> Result<Vec<Event>, StoreError> {
        self.ask("reading what an agent waits for", |db| {
            let used: Option<i64> = db.row(
                "SELECT seq FROM events WHERE agent = ?1 AND type = ?2 ORDER BY seq DESC LIMIT 1",
                params![waiting.as_str(), EventType::AgentsJoined.as_str()],
                |row| row.get(0),
            )?;
            let used = used.max(started_after_stop(db, waiting)?).unwrap_or(0);
            let passed: Vec<Option<RunId>> = db.rows(
                "SELECT payload FROM events WHERE agent = ?1 AND seq > ?2 AND type = ?3 ORDER BY seq DESC LIMIT ?4",
                params![waiting.as_str(), used, EventType::SlotSkipped.as_str(), MAX_SEARCHED_ROWS],
                |row| {
                    let skipped = serde_json::from_str::<SlotSkipped>(text(row, 0)?).ok();
                    Ok(skipped.and_then(|skipped| skipped.event).and_then(|event| event.run_id))
                },
            )?;
            let mut all = Vec::new();
            for of in &join.after {
                let mut found = None;
                db.each(
                    "SELECT seq, at, type, agent, run, session, payload FROM events WHERE agent = ?1 AND seq > ?2
                     ORDER BY seq DESC LIMIT ?3",
                    params![of.as_str(), used, MAX_SEARCHED_ROWS],
                    &mut |row| {
                        let event = follow::event(row)?.event();
                        let counts = |event: &Event| {
                            event.ended_run().is_some_and(|(_, run)| join.status.takes(run.status))
                                && !passed.contains(&event.run_id)
                        };
                        found = event.filter(counts);
                        Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                    },
                )?;
                all.extend(found);
            }
            Ok(all)
        })
    }

    /// Returns the newest backfill run of an agent for the last backfilled slot up to an instant.
    ///
    /// # Errors
    /// An error of the database.
    pub fn backfilled(&self, agent: &AgentId, until: Timestamp) -> Result<Option<RunRow>, StoreError> {
        self.ask("reading the runs of backfills", |db| {
            let sql = format!(
                "SELECT {RUN_COLUMNS} FROM runs WHERE agent = ?1 AND past_slot <= ?2
                 ORDER BY past_slot DESC, id DESC LIMIT 1"
            );
            db.row(&sql, params![agent.as_str(), to_micros(until)], run_row)
        })
    }

    /// Returns the first slot of the agent's oldest record.
    ///
    /// # Errors
    /// An error of the database.
    pub fn oldest_slot(&self, agent: &AgentId) -> Result<Option<Timestamp>, StoreError> {
        self.ask("reading the ledger", |db| {
            db.row(
                "SELECT first FROM ledger WHERE agent = ?1 ORDER BY first LIMIT 1",
                params![agent.as_str()],
                |row| instant(row, 0),
            )
        })
    }
}

fn passed(at: Timestamp, payload: &str) -> Option<(Timestamp, EventOutcome)> {
    let SlotSkipped { verdict, cause, event, slot: None, .. } = serde_json::from_str(payload).ok()? else {
        return None;
    };
    Some((at, EventOutcome::Passed { at, event, verdict, cause }))
}
