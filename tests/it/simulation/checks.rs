//! What must hold of each decision and between them. What must hold at the end is in `spans`.
use super::chains::MATE;
use super::fleet;
use super::model::{Wrong, ensure};
use super::spans::due_of;
use super::world::{Turned, What, World, secs};
use bgagent::domain::*;
use bgagent::engine::{Action, AgentNow, Command, Decision, Reply, Target, Ticket, Wish};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;

impl World {
    /// Follows a command in the reference, and compares the answer.
    pub(super) fn command_done(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        command: &Command,
        decision: &Decision,
    ) -> Result<(), Wrong> {
        let answer = decision.actions.iter().find_map(|action| match action {
            Action::Reply { ticket: to, result } if *to == ticket => Some(result),
            _ => None,
        });
        let Some(answer) = answer else { return Err("a command without an answer".into()) };
        match command {
            Command::Want { target: Target::One(id), wish: Wish::Start, .. } => {
                let accepted = self.spans.start(now, id, false);
                ensure!(answer.is_ok() == accepted, "start {id} should be {accepted}: {answer:?}");
            }
            Command::Want { target: Target::All, wish: Wish::Start, .. } => {
                for id in self.spans.ids() {
                    self.spans.start(now, &id, true);
                }
            }
            Command::Want { target: Target::One(id), wish: Wish::Stop { .. }, .. } => {
                self.spans.stop(now, id)
            }
            Command::Want { target: Target::All, wish: Wish::Stop { .. }, .. } => {
                for id in self.spans.ids() {
                    self.spans.stop(now, &id);
                }
            }
            _ => {}
        }
        if let Ok(Reply::Changed(changed)) = answer {
            let row = &self.model.agents[&changed.agent];
            ensure!(
                row.desired == changed.state,
                "{changed:?} was answered, but the row says {}",
                row.desired
            );
            ensure!(changed.changed == (changed.previous != changed.state), "{changed:?}");
        }
        Ok(())
    }

    pub(super) fn check_decision(&self, turn: &Turned) -> Result<(), Wrong> {
        for entry in &turn.decision.facts {
            match &entry.fact {
                Fact::SlotsJudged { verdict, cause, agent, .. } => {
                    let legal = match verdict {
                        // while the ledger is asked, what passed before is not judged
                        Verdict::MissedDowntime => matches!(turn.what, What::Booted(_) | What::Looked),
                        Verdict::MissedSleep => self.slept || matches!(turn.what, What::Looked),
                        Verdict::MissedClock => self.set_forward || matches!(turn.what, What::Looked),
                        Verdict::RefusedStorage => matches!(turn.what, What::Storage | What::Looked),
                        Verdict::Superseded => !cause.contains("busy"),
                        _ => true,
                    };
                    ensure!(legal, "{agent}: {verdict}, {cause}: nothing of the kind happened");
                    self.check_times(turn, &entry.fact)?;
                }
                Fact::RunClaimed(run) => {
                    if let Some(slot) = run.slot {
                        let engine = self.engine.as_ref().expect("the daemon is up");
                        let spec =
                            engine.agent(run.agent.as_str()).map(|agent| (agent.spec, agent.record.anchor));
                        // a reload may have changed or removed the agent
                        if let (Some((spec, anchor)), false) = (spec, matches!(turn.what, What::Loaded(_))) {
                            let late = turn.at.wall.duration_since(due_of(&spec, anchor, slot));
                            ensure!(
                                late >= SignedDuration::ZERO,
                                "{}: slot {slot} starts {late:?} early",
                                run.agent
                            );
                            ensure!(
                                run.trigger == Trigger::CatchUp || late <= secs(5),
                                "{}: slot {slot} starts {late:?} late as if it were on time",
                                run.agent
                            );
                        }
                    }
                    if turn.firing && matches!(turn.what, What::Tick | What::Other) {
                        self.check_after(turn, run)?;
                    }
                    if run.trigger == Trigger::Event {
                        ensure!((1..=8).contains(&run.chain) && run.event.is_some(), "{run:?}");
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A slot is left out by hours and calendars if they leave it out, and by nothing else.
    fn check_times(&self, turn: &Turned, fact: &Fact) -> Result<(), Wrong> {
        let Fact::SlotsJudged { agent, first, last, verdict, cause, .. } = fact else { return Ok(()) };
        let engine = self.engine.as_ref().expect("the daemon is up");
        // a reload may have changed or removed the agent
        let spec = engine.agent(agent.as_str()).map(|agent| agent.spec);
        let Some(spec) = spec.filter(|_| !matches!(turn.what, What::Loaded(_))) else { return Ok(()) };
        let left_out = match verdict {
            Verdict::SkippedCalendar => true,
            Verdict::SkippedPaused | Verdict::Dropped => return Ok(()),
            _ => false,
        };
        for slot in [first, last] {
            let is_active = fleet::is_active(&spec, *slot);
            ensure!(
                is_active != left_out,
                "{agent}: slot {slot} is {verdict} ({cause}), active: {is_active}"
            );
        }
        if *verdict == Verdict::Ran && turn.at.wall.duration_since(*last) > secs(5 + 900) {
            ensure!(
                fleet::is_active(&spec, turn.at.wall),
                "{agent}: slot {last} is made up for at a time at which the agent does not start"
            );
        }
        Ok(())
    }

    /// Agents that wait for events, and have an outcome for each that this decision tells.
    pub(super) fn listeners(&self, decision: &Decision) -> Vec<Arc<AgentSpec>> {
        let engine = self.engine.as_ref().expect("the daemon is up");
        let changed = |id: &AgentId| {
            let is_of =
                |entry: &Entry| matches!(&entry.fact, Fact::AgentChanged(change) if change.agent == *id);
            decision.facts.iter().any(is_of)
        };
        let listens = |agent: &AgentNow| agent.record.desired != Desired::Stopped && !changed(&agent.spec.id);
        let waiting = engine.agents(|spec| matches!(spec.schedule, Schedule::On(_)));
        waiting.into_iter().filter(listens).map(|agent| agent.spec).collect()
    }

    /// Each event that an agent waits for has exactly one outcome, in the transaction of the event: a run
    /// that is claimed, or a word why there is none. Also while the daemon goes down, and as it comes up.
    pub(super) fn check_outcomes(&self, turn: &Turned, stored: &[&Entry]) -> Result<(), Wrong> {
        let (mut outcomes, mut events) = (HashMap::<&AgentId, u64>::new(), Vec::new());
        let mut arrived = HashMap::<&AgentId, u64>::new();
        for entry in stored {
            match &entry.fact {
                Fact::RunClaimed(run) if run.trigger == Trigger::Event => {
                    *outcomes.entry(&run.agent).or_default() += 1;
                }
                // the end of a run that no join has used
                Fact::EventPassed { agent, event, .. } if *agent == *MATE && event.ended_run().is_some() => {
                    continue;
                }
                Fact::EventPassed { agent, .. } => {
                    *outcomes.entry(agent).or_default() += 1;
                    continue;
                }
                Fact::Arrived { event, .. } | Fact::Joined(event) => {
                    *arrived.entry(event.agent_id.as_ref().expect("an arrival has an agent")).or_default() +=
                        1;
                }
                _ => {}
            }
            events.extend(Event::telling(entry));
        }
        for name in &super::outside::names() {
            let (came, got) = [&arrived, &outcomes].map(|of| of.get(name).copied().unwrap_or(0)).into();
            ensure!(came == got, "{name}: {came} arrivals, but {got} outcomes");
        }
        for spec in &turn.listeners {
            let Schedule::On(on) = &spec.schedule else { continue };
            let wanted = events.iter().filter(|event| {
                event.kind() == on.event
                    && event.agent_id.as_ref() != Some(&spec.id)
                    && (on.agent.is_none() || on.agent == event.agent_id)
            });
            let wanted = wanted.count() as u64;
            let got = outcomes.get(&spec.id).copied().unwrap_or(0);
            ensure!(
                wanted == got,
                "{}: {wanted} events, but {got} outcomes (going down: {})",
                spec.id,
                self.down
            );
        }
        Ok(())
    }

    /// `after`: no run while another one lives, and not before the delay since its end is over.
    fn check_after(&self, turn: &Turned, run: &RunRecord) -> Result<(), Wrong> {
        let engine = self.engine.as_ref().expect("the daemon is up");
        let Some(agent) = engine.agent(run.agent.as_str()) else { return Ok(()) };
        let (Schedule::After(delay), Some(slot)) = (&agent.spec.schedule, run.slot) else { return Ok(()) };
        let ended = |run: RunId| {
            turn.decision.facts.iter().any(|entry| match &entry.fact {
                Fact::RunEnded { run: other, .. } | Fact::SlotRevised { run: other, .. } => *other == run,
                _ => false,
            })
        };
        let other =
            self.model.open.iter().find(|open| open.record.agent == run.agent && !ended(open.record.run));
        ensure!(other.is_none(), "{}: slot {slot} comes while {other:?} lives", run.agent);
        if let Some(end) = self.ends.get(&run.agent).filter(|end| self.set_at < **end) {
            let gone = turn.at.boot - *end;
            let anew = agent.record.anchor > turn.at.wall - gone;
            ensure!(
                anew || gone >= *delay,
                "{}: slot {slot} comes {gone:?} after the last run, not {delay:?}",
                run.agent
            );
        }
        Ok(())
    }

    /// The engine and what was committed say the same.
    pub(super) fn audit(&mut self) -> Result<(), Wrong> {
        let engine = self.engine.as_ref().expect("the daemon is up");
        let mut live = 0;
        for name in fleet::names().into_iter().chain(super::outside::names()) {
            let Some(agent) = engine.agent(name.as_str()) else { continue };
            let row = &self.model.agents[&name];
            ensure!(*row == agent.record, "{name} was changed, but not saved: {row:?} is {:?}", agent.record);
            live += agent.live.len();
            for run in &agent.live {
                ensure!(
                    self.model.is_open(run.run).is_some(),
                    "{name}: the store knows nothing of {}",
                    run.run
                );
                let waits = run.status == RunStatus::Queued && row.desired == Desired::Active;
                if waits && self.stopping.is_none() {
                    let since = *self.since.entry(run.run).or_insert(self.now.mono);
                    ensure!(self.now.mono - since < secs(2 * 86_400), "{name}: {} waits for ever", run.run);
                } else {
                    self.since.remove(&run.run);
                }
            }
            let periodic = matches!(row_schedule(&agent.spec), Some(true));
            if periodic && row.desired != Desired::Stopped && agent.live.is_empty() && self.stopping.is_none()
            {
                ensure!(agent.next_slot.is_some(), "{name} has no coming slot");
            }
        }
        let gone =
            self.model.open.iter().filter(|open| engine.agent(open.record.agent.as_str()).is_none()).count();
        ensure!(live + gone == self.model.open.len(), "{live} runs live, {} are open", self.model.open.len());
        ensure!(
            engine.active_runs() == self.attempts.len(),
            "{} runs are in flight, but {} attempts",
            engine.active_runs(),
            self.attempts.len()
        );
        Ok(())
    }
}

/// Whether it has a next slot for ever.
fn row_schedule(spec: &AgentSpec) -> Option<bool> {
    match spec.schedule {
        Schedule::Every(_) | Schedule::Cron(_) | Schedule::After(_) | Schedule::Any(_) => Some(true),
        _ => None,
    }
}
