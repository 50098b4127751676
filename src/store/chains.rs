//! What became of events that agents wait for (`on`): a run that was claimed, or a word why there is none.
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

/// Events of an agent that are looked through for one that tells why it was not started.
const LOOKED_THROUGH: i64 = 20_000;

/// What became of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum EventOutcome {
    /// It started this run.
    Ran(Box<RunRow>),
    /// It started nothing.
    Passed {
        /// When it happened.
        at: Timestamp,
        /// Which event. `None`: a run was claimed for it, and forgotten.
        event: Option<EventRef>,
        /// What stood against it.
        verdict: Verdict,
        /// Why, in words.
        cause: String,
    },
}

/// The event by which an agent was last taken out of `stopped`, as far as the log is looked through.
fn started_after_stop(db: &Sql, agent: &AgentId) -> SqlResult<Option<i64>> {
    let mut found = None;
    db.each(
        "SELECT seq, payload FROM events WHERE agent = ?1 AND type = ?2 ORDER BY seq DESC LIMIT ?3",
        params![agent.as_str(), EventType::AgentStatus.as_str(), LOOKED_THROUGH],
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
    /// What became of the newest event up to an instant that an agent was waiting for, as far as it is kept.
    ///
    /// # Errors
    /// What SQLite says.
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
            // an event that passed is told as a skipped slot that has none
            let sql = "SELECT at, payload FROM (SELECT seq, at, type, payload FROM events WHERE agent = ?1
                   ORDER BY seq DESC LIMIT ?4) AS newest
                 WHERE type = ?3 AND at <= ?2 ORDER BY seq DESC";
            let mut found = None;
            db.each(
                sql,
                params![agent.as_str(), until, EventType::SlotSkipped.as_str(), LOOKED_THROUGH],
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

    /// The newest ends of runs that an agent with a join waits for: since it last started by them or was last taken out of
    /// `stopped`, and without those that had another outcome.
    ///
    /// # Errors
    /// What the database says.
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
                params![waiting.as_str(), used, EventType::SlotSkipped.as_str(), LOOKED_THROUGH],
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
                    params![of.as_str(), used, LOOKED_THROUGH],
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

    /// The newest run by which a backfill made up for a slot of an agent: for the last such slot up to an instant.
    ///
    /// # Errors
    /// What the database says.
    pub fn backfilled(&self, agent: &AgentId, until: Timestamp) -> Result<Option<RunRow>, StoreError> {
        self.ask("reading the runs of backfills", |db| {
            let sql = format!(
                "SELECT {RUN_COLUMNS} FROM runs WHERE agent = ?1 AND past_slot <= ?2
                 ORDER BY past_slot DESC, id DESC LIMIT 1"
            );
            db.row(&sql, params![agent.as_str(), to_micros(until)], run_row)
        })
    }

    /// The first slot of the oldest record of an agent that is kept.
    ///
    /// # Errors
    /// What SQLite says.
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
