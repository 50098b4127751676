//! Applies a new configuration: all of it or nothing, and only what changed is touched (section 2).
use super::agent::PAST;
use super::{Engine, Reply, StopMode};
use crate::domain::*;
use jiff::Timestamp;
use std::sync::Arc;

impl Engine {
    /// Puts a valid configuration in force. Runs in flight finish with the one that they started with.
    pub(super) fn reload(&mut self, now: Now, fleet: Arc<Fleet>) -> Reply {
        let (mut added, mut changed, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        let mut gone: Vec<(AgentId, u32)> = self
            .by_id
            .iter()
            .filter(|(id, _)| fleet.agent(id.as_str()).is_none())
            .map(|(id, agent)| (id.clone(), *agent))
            .collect();
        gone.sort();
        let same = self.fleet.hash == fleet.hash;
        let is_new = fleet.newest_revision() > self.fleet.newest_revision();
        self.fleet = fleet.clone();
        self.money.reconsider();
        self.reserve_waiting(now);
        for (id, agent) in gone {
            self.remove_agent(now, agent);
            removed.push(id);
        }
        for spec in &fleet.agents {
            match self.by_id.get(&spec.id).copied() {
                None => {
                    added.push(spec.id.clone());
                    self.add_or_revive(now, spec.clone());
                }
                // the machine's time zone may have other rules under the same name, or none
                Some(agent)
                    if self.agents[agent as usize].spec.config_hash != spec.config_hash
                        || self.agents[agent as usize].spec.schedule != spec.schedule =>
                {
                    changed.push(spec.id.clone());
                    self.change_agent(now, agent, spec.clone());
                }
                Some(agent) => self.agents[agent as usize].spec = spec.clone(), // its line number may have changed
            }
        }
        self.index_triggers();
        self.close_obsolete_incidents(now);
        let touched = !added.is_empty() || !changed.is_empty() || !removed.is_empty();
        if let Some(applied) = fleet.applied.clone().filter(|_| is_new) {
            self.push(now, Fact::ConfigStored(applied));
        }
        if touched || !same || is_new {
            let (added, changed, removed) = (added.clone(), changed.clone(), removed.clone());
            self.config_applied(now, &fleet, (added, changed, removed));
        }
        self.look_for_nodes();
        self.resume_due(now);
        self.fire(now, None);
        Reply::Reloaded { added, changed, removed, applied: is_new }
    }

    /// Tells that a configuration is in force, with the agents that are new, different and gone.
    pub(super) fn config_applied(
        &mut self,
        now: Now,
        fleet: &Fleet,
        (added, changed, removed): (Vec<AgentId>, Vec<AgentId>, Vec<AgentId>),
    ) {
        let applied = fleet.revision_in_force().cloned();
        let path = match &applied {
            Some(applied) => applied.origin.clone(),
            None => fleet.path.display().to_string(),
        };
        self.push(now, Fact::ConfigApplied { path, applied, hash: fleet.hash, added, changed, removed });
    }

    /// Adds an agent. A name that was removed, at any time before, keeps its history and its desired state.
    fn add_or_revive(&mut self, now: Now, spec: Arc<AgentSpec>) {
        if let Some(record) = self.gone.remove(&spec.id) {
            return self.add_known(now, spec, record);
        }
        let removed = (0u32..).zip(&self.agents).find(|(_, state)| state.removed && state.spec.id == spec.id);
        let Some((agent, _)) = removed else { return self.add_agent(now, spec) };
        self.by_id.insert(spec.id.clone(), agent);
        let state = &mut self.agents[agent as usize];
        state.spec = spec;
        self.revive(now, agent);
        self.begin_anew(now, agent);
    }

    /// Reverts [`Self::report_removed`].
    pub(super) fn revive(&mut self, now: Now, agent: u32) {
        let state = &mut self.agents[agent as usize];
        state.removed = false;
        let wanted = state.desired;
        if let Some(at) = state.resume_at {
            self.resumes.insert((at, agent));
        }
        if wanted != Desired::Stopped {
            let state = &self.agents[agent as usize];
            let change =
                change_of(&state.record(), Desired::Stopped, wanted, "it is back in the configuration");
            self.push(now, Fact::AgentChanged(Box::new(change)));
        }
        self.touch(agent);
    }

    fn change_agent(&mut self, now: Now, agent: u32, spec: Arc<AgentSpec>) {
        let state = &mut self.agents[agent as usize];
        let moved = state.spec.schedule != spec.schedule;
        let shifted = state.spec.jitter != spec.jitter || state.spec.first_run != spec.first_run;
        if moved {
            self.drop_pending(now, agent, "its schedule was changed");
        }
        let state = &mut self.agents[agent as usize];
        state.spec = spec;
        state.next_active = state.next_slot.and_then(|slot| state.first_active(slot));
        state.streak = None;
        state.calm = false;
        if moved {
            self.begin_anew(now, agent);
        } else if shifted && state.next_slot.is_some() {
            // a slot whose time has come stays, whatever its jitter is now
            let slot = state.next_slot.filter(|slot| *slot <= now.wall).or_else(|| state.first_slot(now));
            self.schedule(agent, slot);
        }
        self.resume_expectation(now, agent);
        self.touch(agent);
    }

    /// Restarts a changed schedule from now on, but not with an immediate slot, so that an edit does not start
    /// anything.
    pub(super) fn begin_anew(&mut self, now: Now, agent: u32) {
        self.drop_arrivals(now, agent, "its schedule was changed");
        let state = &mut self.agents[agent as usize];
        let wanted = state.desired;
        state.streak = None;
        state.skip_next = false;
        state.origin = None;
        state.anchor = match (&state.spec.schedule, state.spec.first_run) {
            (Schedule::Every(period), FirstRun::Now) | (Schedule::After(period), _) => {
                now.wall.checked_add(*period).unwrap_or(Timestamp::MAX)
            }
            _ => now.wall,
        };
        // an edit starts nothing: an interval combined with other schedules begins one period from now
        if matches!(state.spec.schedule, Schedule::Any(_))
            && state.judged_until.is_none_or(|judged| judged < now.wall)
        {
            state.judged_until = Some(now.wall);
        }
        // an instant with a verdict is no longer a slot: the clock may have been set back
        let asks = state.needs_ledger(now.wall);
        let is_past = |at: Timestamp| at <= now.wall || (!asks && state.has_had(at));
        let past = state.spec.schedule.last_moment().is_some_and(is_past);
        let (to, reason) = match wanted {
            Desired::Active | Desired::Paused if past => (Desired::Stopped, Some(PAST.to_owned())),
            Desired::Stopped if !past && state.is_done() => (Desired::Active, None),
            wanted => (wanted, None),
        };
        let slot = if to == Desired::Stopped && !asks { None } else { state.first_slot(now) };
        self.schedule(agent, slot);
        if to != wanted {
            self.become_(now, agent, to, reason, None);
        }
        self.touch(agent);
    }

    /// Removes an agent from the schedule. A run in flight finishes, and its history stays. Its desired state is
    /// kept in case the name comes back.
    fn remove_agent(&mut self, now: Now, agent: u32) {
        const WHY: &str = "the agent was removed from the configuration";
        self.drop_pending(now, agent, WHY);
        self.drop_arrivals(now, agent, WHY);
        self.end_live(now, agent, StopMode::Drain, WHY);
        self.schedule(agent, None);
        self.close_incidents(now, agent);
        let state = &mut self.agents[agent as usize];
        state.removed = true;
        state.streak = None;
        state.calm = false;
        state.skip_next = false;
        if let Some(at) = state.resume_at {
            self.resumes.remove(&(at, agent));
        }
        let record = state.record();
        self.report_removed(now, &record);
        self.by_id.remove(&record.agent);
        self.touch(agent);
    }

    /// Reports a removed agent as stopped.
    pub(super) fn report_removed(&mut self, now: Now, record: &AgentRecord) {
        if record.desired != Desired::Stopped {
            let change =
                change_of(record, record.desired, Desired::Stopped, "removed from the configuration");
            self.push(now, Fact::AgentChanged(Box::new(change)));
        }
    }
}

fn change_of(record: &AgentRecord, previous: Desired, desired: Desired, reason: &str) -> AgentChange {
    AgentChange {
        agent: record.agent.clone(),
        previous,
        desired,
        reason: Some(reason.to_owned()),
        resume_at: record.resume_at.filter(|_| desired == Desired::Paused),
        run_count: record.counters.runs,
        error_count: record.counters.errors,
        last_run: record.last_run.as_ref().map(|last| last.finished_at),
        next_run: None,
    }
}
