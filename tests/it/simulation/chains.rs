//! Agents that wait for several others, and backfills: what the store knows of both, and what must hold of it.
//!
//! Each end of a run that counts is used by exactly one start, or passed with a word why; of each agent at most one end waits.
//! Each slot of a backfill runs once, in order, one at a time.
use super::Defect;
use super::model::{Wrong, ensure};
use bgagent::domain::*;
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

/// Who waits for the others.
pub(super) static MATE: LazyLock<AgentId> = LazyLock::new(|| "mate".parse().unwrap());

pub(super) static JOIN: LazyLock<Arc<Join>> = LazyLock::new(|| {
    Arc::new(Join {
        after: ["anchor", "eager"].map(|name| name.parse().unwrap()).into(),
        status: JoinStatus::Ended,
        within: SignedDuration::from_hours(2),
    })
});

#[derive(Default)]
pub(super) struct Chains {
    /// What the agent that waits is wanted to do.
    desired: Option<Desired>,
    /// Ends of runs that nothing has used.
    waiting: Vec<Event>,
    pub(super) backfills: BTreeMap<AgentId, BackfillRecord>,
    /// Slots of backfills for which a run was claimed: no defect touches it.
    claimed: BTreeSet<(Arc<str>, jiff::Timestamp)>,
    pub(super) joins: u64,
}

impl Chains {
    /// What a new life gets to know of ends that wait.
    pub(super) fn restored(&self) -> Vec<(AgentId, Event)> {
        self.waiting.iter().map(|event| (MATE.clone(), event.clone())).collect()
    }

    pub(super) fn apply(
        &mut self,
        entry: &Entry,
        told: &[Event],
        defect: Option<Defect>,
    ) -> Result<(), Wrong> {
        match &entry.fact {
            Fact::AgentChanged(change) if change.agent == *MATE => self.desired = Some(change.desired),
            Fact::AgentSaved(record) if record.agent == *MATE => self.desired = Some(record.desired),
            Fact::Joined(event) => self.joined(event)?,
            Fact::EventPassed { agent, event, .. } if agent == &*MATE => {
                if let Some((_, run)) = event.ended_run() {
                    self.use_up(run.run_id)?;
                }
            }
            _ => self.backfill(&entry.fact, defect)?,
        }
        for event in told {
            let Some((of, run)) = event.ended_run() else { continue };
            let counts = JOIN.after.contains(of) && JOIN.status.takes(run.status);
            if counts && self.desired.is_some_and(|desired| desired != Desired::Stopped) {
                self.waiting.push(event.clone());
            }
        }
        Ok(())
    }

    fn use_up(&mut self, run: RunId) -> Result<Event, Wrong> {
        let at = self.waiting.iter().position(|event| event.run_id == Some(run));
        let at = at.ok_or_else(|| format!("the end of {run} is used up twice, or does not count"))?;
        Ok(self.waiting.remove(at))
    }

    fn joined(&mut self, event: &Event) -> Result<(), Wrong> {
        let Payload::AgentsJoined(joined) = &event.payload else { return Err(format!("{event:?} joins")) };
        let agents: Vec<&AgentId> = joined.after.keys().collect();
        ensure!(agents == JOIN.after.iter().collect::<Vec<_>>(), "{agents:?} are joined");
        for run in joined.after.values() {
            let end = self.use_up(run.run_id)?;
            let age = event.ts.duration_since(end.ts);
            ensure!(age <= JOIN.within, "an end of {age:?} ago is joined");
        }
        self.joins += 1;
        Ok(())
    }

    /// What must hold between decisions.
    pub(super) fn check(&self) -> Result<(), Wrong> {
        let of: Vec<&AgentId> = self.waiting.iter().filter_map(|event| event.agent_id.as_ref()).collect();
        let apart: BTreeSet<&AgentId> = of.iter().copied().collect();
        ensure!(apart.len() == of.len(), "several ends of one agent wait: {of:?}");
        ensure!(apart.len() < JOIN.after.len(), "all have ended, and nothing starts");
        ensure!(of.is_empty() || self.desired != Some(Desired::Stopped), "a stopped agent waits for {of:?}");
        Ok(())
    }

    fn backfill(&mut self, fact: &Fact, defect: Option<Defect>) -> Result<(), Wrong> {
        match fact {
            Fact::BackfillBegan(record) => {
                let open = self.backfills.insert(record.agent.clone(), (**record).clone());
                ensure!(open.is_none(), "{}: a second backfill begins", record.agent);
            }
            Fact::RunClaimed(run) => {
                let Some(past) = &run.past else { return Ok(()) };
                let open = self.backfills.get(&run.agent).filter(|open| open.id == past.backfill);
                let next = open.and_then(BackfillRecord::next);
                ensure!(next == Some(past.slot), "{}: {past:?} runs, not {next:?}", run.agent);
                let first = self.claimed.insert((past.backfill.clone(), past.slot));
                ensure!(first, "{}: {past:?} runs a second time", run.agent);
            }
            Fact::BackfillMoved { id, claimed, .. } => {
                let open = self.backfills.values_mut().find(|open| open.id == *id);
                let open = open.ok_or_else(|| format!("no backfill {id} moves"))?;
                ensure!(
                    (open.claimed..=open.claimed + 1).contains(claimed) && *claimed <= open.slots.len(),
                    "a backfill comes from {} to {claimed}",
                    open.claimed
                );
                if defect != Some(Defect::BackfillStands) {
                    open.claimed = *claimed;
                }
            }
            Fact::BackfillEnded { id, agent, claimed, cause, .. } => {
                let open = self.backfills.remove(agent).filter(|open| open.id == *id);
                let open = open.ok_or_else(|| format!("no backfill {id} of {agent} ends"))?;
                ensure!(open.claimed == *claimed, "a backfill ends at {claimed}, not {}", open.claimed);
                ensure!(
                    cause.is_some() || *claimed == open.slots.len(),
                    "a backfill ends at {claimed} of all"
                );
            }
            _ => {}
        }
        Ok(())
    }
}
