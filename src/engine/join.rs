//! Joins: agents that wait for several others (`on = { after = [ … ] }`), and which of these have ended a run since
//! the last start.
//!
//! The only storage is the log: a restart reads the ends that no start has consumed (`Reader::arrivals`).
use super::Engine;
use super::arrivals::{Arrival, Arrivals};
use crate::domain::*;
use std::sync::Arc;

impl Engine {
    /// Restores the ends of runs from the log that no start has consumed. While the clock is behind the time at
    /// which the agent was started or configured, that time can't tell which events came after it.
    pub(super) fn restore_arrivals(&mut self, now: Now, arrivals: Vec<(AgentId, Event)>) {
        for (waiting, event) in arrivals {
            let Ok(agent) = self.index(&waiting) else { continue };
            let state = &mut self.agents[agent as usize];
            let Schedule::Join(join) = &state.spec.schedule else { continue };
            let Some((of, run)) = event.ended_run() else { continue };
            let counts = join.after.contains(of)
                && join.status.takes(run.status)
                && event.ts >= state.anchor.min(now.wall);
            if counts && state.desired != Desired::Stopped {
                state.arrived.insert(of.clone(), Arrival { run, event: Box::new(event) });
            }
        }
    }

    /// Handles the end of a run: starts the agents for which it was the last one missing.
    pub(super) fn arrive(&mut self, now: Now, event: &Event) {
        let Some((of, run)) = event.ended_run() else { return };
        let Some(waiting) = self.joins.get(of).cloned() else { return };
        for agent in waiting {
            let state = &self.agents[agent as usize];
            let Schedule::Join(join) = state.spec.schedule.clone() else { continue };
            if state.desired == Desired::Stopped || !join.status.takes(run.status) {
                continue;
            }
            if state.desired == Desired::Paused {
                let why = state.why_paused();
                self.passed(now, agent, event, Verdict::SkippedPaused, &why);
                continue;
            }
            self.expire(now, agent, &join);
            let arrival = Arrival { run: run.clone(), event: Box::new(event.clone()) };
            let state = &mut self.agents[agent as usize];
            if let Some(older) = state.arrived.insert(of.clone(), arrival) {
                let why = format!("a newer run of {of} ended before the others had");
                self.passed(now, agent, &older.event, Verdict::Superseded, &why);
            }
            let state = &mut self.agents[agent as usize];
            if state.arrived.len() == join.after.len() {
                let all = std::mem::take(&mut state.arrived);
                self.join(now, agent, all);
            }
        }
    }

    /// Handles a complete join: records its event, then starts a run or records why not.
    fn join(&mut self, now: Now, agent: u32, all: Arrivals) {
        let after = all.into_iter().map(|(of, arrival)| (of, arrival.run)).collect();
        let event = Event {
            seq: Seq(0),
            ts: now.wall,
            agent_id: Some(self.agents[agent as usize].spec.id.clone()),
            run_id: None,
            session_id: None,
            payload: Payload::AgentsJoined(AgentsJoined { after }),
        };
        self.push(now, Fact::Joined(Box::new(event.clone())));
        let stands_against = self.chain_limit_reached().or_else(|| self.outside_of_times(now, agent));
        match stands_against.or_else(|| self.obstacle(now, agent, Trigger::Event)) {
            Some((verdict, cause)) => self.passed(now, agent, &event, verdict, &cause),
            None => self.start_for_event(now, agent, Arc::new(event)),
        }
    }

    /// Drops the ends that are older than `within`.
    fn expire(&mut self, now: Now, agent: u32, join: &Join) {
        let state = &mut self.agents[agent as usize];
        let is_over = |arrival: &Arrival| now.wall.duration_since(arrival.event.ts) > join.within;
        let over: Vec<AgentId> =
            state.arrived.iter().filter(|(_, arrival)| is_over(arrival)).map(|(of, _)| of.clone()).collect();
        for of in over {
            let Some(arrival) = self.agents[agent as usize].arrived.remove(&of) else { continue };
            let within = human_duration(join.within);
            let why = format!("within {within} of it not all had {}: {}", join.status, join.describe());
            self.passed(now, agent, &arrival.event, Verdict::Dropped, &why);
        }
    }

    /// Drops the ends that it waited with, when its schedule changes or it stops.
    pub(super) fn drop_arrivals(&mut self, now: Now, agent: u32, why: &str) {
        for arrival in std::mem::take(&mut self.agents[agent as usize].arrived).into_values() {
            self.passed(now, agent, &arrival.event, Verdict::Dropped, why);
        }
    }
}

impl super::agent::AgentState {
    /// Returns the agents that it waits for, each with the time of the end that counts so far.
    pub(super) fn waits_for(&self) -> Vec<(AgentId, Option<jiff::Timestamp>)> {
        let Schedule::Join(join) = &self.spec.schedule else { return Vec::new() };
        let ended = |of: &AgentId| self.arrived.get(of).map(|arrival| arrival.run.finished_at);
        join.after.iter().map(|of| (of.clone(), ended(of))).collect()
    }
}
