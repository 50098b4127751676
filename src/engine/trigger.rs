//! Agents that an event starts (`on`).
use super::Engine;
use super::queue::NewRun;
use crate::domain::*;
use std::sync::Arc;

/// The longest chain of runs that start each other by events (section 4).
const LONGEST_CHAIN: u8 = 8;

/// Why a report starts nobody, and what would let it.
const UNTRUSTED: &str = "it was reported by a run that had read data from outside, and such a report starts only agents whose \
    `on` says untrusted = true";

impl Engine {
    /// Which events start whom; made anew with each configuration.
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

    /// Looks at each fact of the decision, also at those that this adds, and starts the agents that
    /// wait for the events that tell it. In the same transaction: no event is lost in a crash. While the
    /// daemon goes down runs are claimed as ever; they begin in its next life.
    pub(super) fn trigger(&mut self, now: Now) {
        if self.triggers.is_empty() && self.joins.is_empty() {
            return;
        }
        let mut at = 0;
        while at < self.out.facts.len() {
            let depth = self.depths[at];
            // that an event started nothing starts nothing: else busy agents would set each other off
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
        // as with slots: between a start and a stop each has an outcome
        if state.desired == Desired::Stopped || of_itself || of_other {
            return;
        }
        let paused = (state.desired == Desired::Paused).then(|| (Verdict::SkippedPaused, state.why_paused()));
        let of_report = event.is_untrusted_report() && !on.untrusted;
        let reported = || of_report.then(|| (Verdict::Dropped, UNTRUSTED.to_owned()));
        let passes = paused.or_else(reported).or_else(|| self.too_long_a_chain());
        let passes = passes.or_else(|| self.outside_of_times(now, agent));
        match passes.or_else(|| self.obstacle(now, agent, Trigger::Event)) {
            None => self.start_by(now, agent, Arc::new(event.clone())),
            Some((verdict, cause)) => self.passed(now, agent, event, verdict, &cause),
        }
    }

    /// Runs that start each other by events must not go on for ever.
    pub(super) fn too_long_a_chain(&self) -> Option<(Verdict, String)> {
        let cause = format!(
            "{LONGEST_CHAIN} runs have started each other by events, one after the other: no further one is started"
        );
        (self.chain > LONGEST_CHAIN).then_some((Verdict::Dropped, cause))
    }

    /// An event starts a run.
    pub(super) fn start_by(&mut self, now: Now, agent: u32, event: Arc<Event>) {
        self.claim(now, agent, NewRun { event: Some(event), ..NewRun::of(Trigger::Event) });
        // for the next event of this decision it is in flight, not one that waits
        self.dispatch(now);
        self.touch(agent);
    }

    /// An event that an agent waits for starts nothing.
    pub(super) fn passed(&mut self, now: Now, agent: u32, event: &Event, verdict: Verdict, cause: &str) {
        let cause = format!("event {}: {cause}", event.kind());
        let agent = self.agents[agent as usize].spec.id.clone();
        self.push(now, Fact::EventPassed { agent, event: Box::new(event.clone()), verdict, cause });
    }
}
