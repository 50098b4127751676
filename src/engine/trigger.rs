//! Agents started by events (`on`).
use super::Engine;
use super::queue::RunClaim;
use crate::domain::*;
use std::sync::Arc;

/// Maximum length of a chain of runs that start each other by events (section 4).
const MAX_CHAIN_RUNS: u8 = 8;

/// Why an untrusted report starts no agent, and which setting allows it.
const UNTRUSTED_CAUSE: &str = "it was reported by a run that had read data from outside, and such a report starts only agents whose \
    `on` says untrusted = true";

impl Engine {
    /// Rebuilds the indexes from events to the agents that they start, after each configuration change.
    pub(super) fn index_triggers(&mut self) {
        self.triggers.clear();
        self.joins.clear();
        for (agent, state) in (0u32..).zip(&self.agents).filter(|(_, state)| !state.removed) {
            match &state.spec.schedule {
                Schedule::On(on) => self.triggers.entry(on.event).or_default().push(agent),
                Schedule::Join(join) => {
                    for of in &join.after {
                        self.joins.entry(of.clone()).or_default().push(agent);
                    }
                }
                _ => {}
            }
        }
    }

    /// Examines each fact of the decision, including those added here, and starts the agents that wait for its
    /// events. All is in one transaction: no event is lost in a crash. During a shutdown runs are claimed as usual;
    /// they begin after the restart.
    pub(super) fn trigger(&mut self, now: Now) {
        if self.triggers.is_empty() && self.joins.is_empty() {
            return;
        }
        let mut at = 0;
        while at < self.out.facts.len() {
            let depth = self.depths[at];
            // that an event started nothing must not start anything: otherwise busy agents would trigger each other
            let passed = matches!(self.out.facts[at].fact, Fact::EventPassed { .. });
            at += 1;
            if passed {
                continue;
            }
            for event in Event::telling(&self.out.facts[at - 1]) {
                self.chain = depth + 1;
                self.arrive(now, &event);
                for agent in self.triggers.get(&event.kind()).cloned().unwrap_or_default() {
                    self.start_by_event(now, agent, &event);
                }
            }
        }
    }

    fn start_by_event(&mut self, now: Now, agent: u32, event: &Event) {
        let state = &self.agents[agent as usize];
        let Schedule::On(on) = &state.spec.schedule else { return };
        let of_itself = event.agent_id.as_ref() == Some(&state.spec.id);
        let of_other = on.agent.is_some() && on.agent != event.agent_id;
        // as with slots: between a start and a stop each event has an outcome
        if state.desired == Desired::Stopped || of_itself || of_other {
            return;
        }
        let paused = (state.desired == Desired::Paused).then(|| (Verdict::SkippedPaused, state.why_paused()));
        let of_report = event.is_untrusted_report() && !on.untrusted;
        let reported = || of_report.then(|| (Verdict::Dropped, UNTRUSTED_CAUSE.to_owned()));
        let passes = paused.or_else(reported).or_else(|| self.chain_limit_reached());
        let passes = passes.or_else(|| self.outside_of_times(now, agent));
        match passes.or_else(|| self.obstacle(now, agent, Trigger::Event)) {
            None => self.start_for_event(now, agent, Arc::new(event.clone())),
            Some((verdict, cause)) => self.passed(now, agent, event, verdict, &cause),
        }
    }

    /// Returns the reason if the chain of runs that start each other by events has become too long.
    pub(super) fn chain_limit_reached(&self) -> Option<(Verdict, String)> {
        let cause = format!(
            "{MAX_CHAIN_RUNS} runs have started each other by events, one after the other: no further one is started"
        );
        (self.chain > MAX_CHAIN_RUNS).then_some((Verdict::Dropped, cause))
    }

    /// Starts a run for an event.
    pub(super) fn start_for_event(&mut self, now: Now, agent: u32, event: Arc<Event>) {
        self.claim(now, agent, RunClaim { event: Some(event), ..RunClaim::of(Trigger::Event) });
        // for the next event of this decision it is in flight, not waiting
        self.dispatch(now);
        self.touch(agent);
    }

    /// Records that an event that an agent waits for starts nothing.
    pub(super) fn passed(&mut self, now: Now, agent: u32, event: &Event, verdict: Verdict, cause: &str) {
        let cause = format!("event {}: {cause}", event.kind());
        let agent = self.agents[agent as usize].spec.id.clone();
        self.push(now, Fact::EventPassed { agent, event: Box::new(event.clone()), verdict, cause });
    }
}
