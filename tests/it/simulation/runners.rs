//! Runners: what attempts do once they are started, and what they tell the engine.
use super::fleet::Temper;
use super::model::{Wrong, ensure};
use super::world::{World, secs};
use bgagent::domain::*;
use bgagent::engine::{Input, Start, Ticket};
use jiff::SignedDuration;

/// What one attempt will do, unless it is cancelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stage {
    Starting,
    /// Waits for the word to go on.
    AtGate(Ticket, ProcessRole),
    Gate,
    Body,
}

pub(super) struct Attempt {
    pub(super) start: Start,
    pub(super) stage: Stage,
    /// By the clock that stands still in sleep.
    pub(super) at: SignedDuration,
    pub(super) cancelled: bool,
}

impl World {
    /// What attempts have to tell by now.
    pub(super) fn runners(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        let mut at = 0;
        while at < self.attempts.len() {
            if matches!(self.attempts[at].stage, Stage::AtGate(..)) || self.attempts[at].at > self.now.mono {
                at += 1;
                continue;
            }
            let start = self.attempts[at].start.clone();
            let temper = self.tempers[&start.agent.id];
            let ended = |end| Input::AttemptEnded {
                run: start.run,
                attempt: start.attempt,
                outcome: Box::new(AttemptOutcome::of(end)),
            };
            let gate = temper.closes_gate > 0;
            match self.attempts[at].stage {
                _ if self.attempts[at].cancelled && self.rng.chance(90) => {
                    self.attempts.remove(at);
                    inputs.push(ended(AttemptEnd::Cancelled));
                }
                Stage::Starting if self.rng.chance(2) => {
                    self.attempts.remove(at);
                    inputs
                        .push(ended(AttemptEnd::Failed(RunError::new(ErrorKind::Spawn, "no such program"))));
                }
                // it looks, and says nothing before it has seen something
                Stage::Starting if start.looks_first => {
                    self.attempts[at].stage = Stage::Body;
                    self.attempts[at].at =
                        self.now.mono + SignedDuration::from_millis(self.rng.span(5, 30_000));
                    at += 1;
                }
                Stage::Starting => {
                    let role = if gate { ProcessRole::Gate } else { ProcessRole::Body };
                    inputs.push(self.begin(at, role));
                    at += 1;
                }
                Stage::Gate if self.rng.chance(temper.closes_gate) => {
                    self.attempts.remove(at);
                    inputs.push(ended(AttemptEnd::GateClosed));
                }
                Stage::Gate => {
                    inputs.push(self.begin(at, ProcessRole::Body));
                    at += 1;
                }
                Stage::Body => {
                    self.attempts.remove(at);
                    let mut outcome = AttemptOutcome::of(self.end_of(temper));
                    let level = *self.rng.pick(&[Level::Ok, Level::Hold, Level::Warn, Level::Crit]);
                    let keeps_all = start.agent.history == History::All;
                    let level = if keeps_all || self.rng.chance(10) { level } else { Level::Ok };
                    let saw = outcome.end == AttemptEnd::Completed || keeps_all;
                    if saw && (start.agent.id.as_str() == "anchor" || !keeps_all) {
                        let hold_for = secs(if self.rng.chance(50) { 0 } else { 4000 });
                        outcome.findings.push(Finding {
                            key: "disk".into(),
                            level,
                            title: format!("{level}"),
                            hold_for,
                            by: FoundBy::Check,
                        });
                    }
                    let outcome = Box::new(outcome);
                    inputs.push(Input::AttemptEnded { run: start.run, attempt: start.attempt, outcome });
                }
                Stage::AtGate(..) => unreachable!("left out above"),
            }
        }
        inputs
    }

    pub(super) fn end_of(&mut self, temper: Temper) -> AttemptEnd {
        use ErrorKind::{ExitStatus, Network, Timeout, Tool, Unverified};
        if self.rng.chance(temper.fails) {
            let kind = *self.rng.pick(&[Timeout, Network, ExitStatus, Tool, Unverified]);
            AttemptEnd::Failed(RunError::new(kind, "broken"))
        } else {
            AttemptEnd::Completed
        }
    }

    pub(super) fn begin(&mut self, at: usize, role: ProcessRole) -> Input {
        let ticket = self.ticket();
        self.waiting.insert(ticket);
        self.attempts[at].stage = Stage::AtGate(ticket, role);
        let Start { run, attempt, .. } = self.attempts[at].start;
        let process = Process { pid: (self.tickets % 30_000) as u32, start: self.tickets, boot: 1 };
        // some bodies have no process
        let process = (self.defect.is_some() || self.rng.chance(70)).then_some(process);
        Input::Began { run, attempt, role, process, ticket }
    }

    pub(super) fn begin_attempt(&mut self, start: Start) -> Result<(), Wrong> {
        let (run, id) = (start.run, &start.agent.id);
        let Some(open) = self.model.is_open(run) else { return Err(format!("{run} starts without a claim")) };
        ensure!(
            open.record.attempt + 1 == start.attempt,
            "attempt {} of {run} follows on {}",
            start.attempt,
            open.record.attempt
        );
        ensure!(open.record.agent == *id && open.record.any_slot() == start.slot, "{run} starts as another");
        for other in &self.attempts {
            ensure!(other.start.run != run, "{run} of {id} is in flight twice");
            let lock = start.agent.lock.as_ref();
            ensure!(lock.is_none() || lock != other.start.agent.lock.as_ref(), "{lock:?} has two holders");
            ensure!(
                other.start.agent.id != *id || start.agent.overlap == Overlap::Parallel,
                "{id} runs twice at a time, its overlap is {:?}",
                start.agent.overlap
            );
        }
        ensure!(
            self.attempts.len() < self.fleet.daemon.max_parallel_runs,
            "more runs than may run at a time"
        );
        let at = self.now.mono + SignedDuration::from_millis(self.rng.between(1, 300));
        self.attempts.push(Attempt { start, stage: Stage::Starting, at, cancelled: false });
        Ok(())
    }

    pub(super) fn go(&mut self, ticket: Ticket, go: bool) -> Result<(), Wrong> {
        let found = self
            .attempts
            .iter_mut()
            .find(|attempt| matches!(attempt.stage, Stage::AtGate(waits, _) if waits == ticket));
        let Some(attempt) = found else { return Err("a word to nobody".into()) };
        let Stage::AtGate(_, role) = attempt.stage else { unreachable!("found above") };
        let temper = self.tempers[&attempt.start.agent.id];
        if !go {
            attempt.cancelled = true;
            attempt.at = self.now.mono;
            attempt.stage = Stage::Starting;
            return Ok(());
        }
        attempt.stage = if role == ProcessRole::Gate { Stage::Gate } else { Stage::Body };
        let longest = if role == ProcessRole::Gate { 5 } else { temper.longest };
        if !attempt.cancelled {
            attempt.at = self.now.mono + SignedDuration::from_millis(self.rng.span(5, longest * 1000));
        }
        if role == ProcessRole::Body {
            let (run, number) = (attempt.start.run, attempt.start.attempt);
            ensure!(self.witness.insert((run, number)), "attempt {number} of {run} did its work twice");
            let begun =
                self.model.is_open(run).is_some_and(|open| open.begun && open.record.attempt == number);
            ensure!(begun, "attempt {number} of {run} does its work, but nobody wrote that it began");
        }
        Ok(())
    }
}
