//! Which slots there must be: worked out from commands and configurations, without the engine.
use super::model::{Model, Wrong, ensure};
use crate::calendar::{Oracle, walls};
use bgagent::domain::*;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// One agent between a start (or another schedule) and its end.
#[derive(Debug)]
struct Span {
    spec: AgentSpec,
    anchor: Timestamp,
    /// The latest wall clock of a committed decision.
    reached: Timestamp,
    /// When it ended, if somebody decided so: slots up to then count, whatever their jitter.
    ended: Option<Timestamp>,
}

#[derive(Debug)]
struct Line {
    spec: AgentSpec,
    stopped: bool,
    /// Stopped by itself: a one-shot that had its slot, or whose time had passed.
    done: bool,
    removed: bool,
    /// The last one goes on, unless the agent is stopped or removed.
    spans: Vec<Span>,
}

/// All agents that there ever were.
#[derive(Default, Debug)]
pub struct Spans {
    lines: BTreeMap<AgentId, Line>,
}

impl Spans {
    /// The configuration of a new life, or of a reload (`alive`).
    pub fn configured(&mut self, now: Timestamp, fleet: &Fleet, alive: bool) {
        for (id, line) in &mut self.lines {
            if fleet.agent(id.as_str()).is_none() && !line.removed {
                line.end(now, alive);
                line.removed = true;
            }
        }
        for spec in &fleet.agents {
            let spec = (**spec).clone();
            let Some(line) = self.lines.get_mut(&spec.id) else {
                let stopped = spec.schedule_is_past(now);
                let mut line =
                    Line { spec: spec.clone(), stopped, done: stopped, removed: false, spans: Vec::new() };
                if !stopped {
                    line.begin(now, now);
                }
                self.lines.insert(spec.id.clone(), line);
                continue;
            };
            let anew = line.removed || line.spec.schedule != spec.schedule;
            if anew {
                if !line.removed {
                    line.end(now, alive);
                }
                line.spec = spec;
                line.removed = false;
                let past = line.spec.schedule_is_past(now)
                    || matches!(line.spec.schedule, Schedule::At(at) if line.has_had(at));
                if past && !line.stopped {
                    (line.stopped, line.done) = (true, true);
                } else if line.done && !past {
                    // a one-shot that stopped by itself goes on with another time
                    (line.stopped, line.done) = (false, false);
                }
                if !line.stopped {
                    let anchor = match (&line.spec.schedule, line.spec.first_run) {
                        (Schedule::Every(period), FirstRun::Now) => now + *period,
                        _ => now,
                    };
                    line.begin(anchor, now);
                }
            } else {
                line.spec = spec;
            }
        }
        self.reached(now);
    }

    /// A decision at this time was committed.
    pub fn reached(&mut self, now: Timestamp) {
        for line in self.lines.values_mut().filter(|line| !line.stopped && !line.removed) {
            let Some(span) = line.spans.last_mut() else { continue };
            span.reached = span.reached.max(now);
            if let Schedule::At(at) = span.spec.schedule
                && span.due_of(at) <= span.reached
            {
                (line.stopped, line.done) = (true, true);
            }
        }
    }

    /// `start` of one agent; false: it must be refused.
    pub fn start(&mut self, now: Timestamp, id: &AgentId, all: bool) -> bool {
        let Some(line) = self.lines.get_mut(id).filter(|line| !line.removed) else { return false };
        if !line.stopped {
            return true;
        }
        if let Schedule::At(at) = line.spec.schedule
            && (at <= now || line.has_had(at) || (all && line.done))
        {
            return false;
        }
        (line.stopped, line.done) = (false, false);
        line.begin(now, now);
        self.reached(now);
        true
    }

    pub fn stop(&mut self, now: Timestamp, id: &AgentId) {
        if let Some(line) = self.lines.get_mut(id).filter(|line| !line.removed && !line.stopped) {
            line.end(now, true);
            line.stopped = true;
        }
    }

    pub fn ids(&self) -> Vec<AgentId> {
        self.lines.iter().filter(|(_, line)| !line.removed).map(|(id, _)| id.clone()).collect()
    }

    /// Agents that must be stopped are, and no others.
    pub fn check_states(&self, model: &Model) -> Result<(), Wrong> {
        for (id, line) in &self.lines {
            let record = model.agents.get(id).ok_or_else(|| format!("{id} has no row"))?;
            ensure!(
                (record.desired == Desired::Stopped) == line.stopped && record.removed == line.removed,
                "{id} is {} (removed: {}), but should be stopped: {}, removed: {}",
                record.desired,
                record.removed,
                line.stopped,
                line.removed
            );
        }
        Ok(())
    }

    /// Every slot has one verdict, and nothing else has any. Returns how many were compared.
    pub fn check_ledger(&self, model: &Model) -> Result<u64, Wrong> {
        let mut compared = 0;
        for (id, line) in &self.lines {
            if matches!(line.spec.schedule, Schedule::After(_)) {
                continue; // follows from what ran
            }
            let expected = line.expected();
            let mut rest = &expected[..];
            for record in model.ledger.get(id).into_iter().flatten() {
                let before = rest.partition_point(|slot| *slot < record.first);
                ensure!(before == 0, "{id}: slot {} has no verdict, the next record is {record:?}", rest[0]);
                let within = rest.partition_point(|slot| *slot <= record.last);
                ensure!(
                    within as u64 == record.count,
                    "{id}: {record:?} stands for {within} slots: {:?}",
                    &rest[..within.min(5)]
                );
                ensure!(
                    rest[0] == record.first && rest[within - 1] == record.last,
                    "{id}: {record:?} begins or ends beside a slot"
                );
                rest = &rest[within..];
            }
            ensure!(
                rest.is_empty(),
                "{id}: slot {} has no verdict and is the first of {}",
                rest[0],
                rest.len()
            );
            compared += expected.len() as u64;
        }
        Ok(compared)
    }
}

trait Past {
    fn schedule_is_past(&self, now: Timestamp) -> bool;
}

impl Past for AgentSpec {
    fn schedule_is_past(&self, now: Timestamp) -> bool {
        matches!(self.schedule, Schedule::At(at) if at <= now)
    }
}

impl Line {
    fn begin(&mut self, anchor: Timestamp, now: Timestamp) {
        self.spans.push(Span { spec: self.spec.clone(), anchor, reached: now, ended: None });
    }

    fn end(&mut self, now: Timestamp, alive: bool) {
        if let (false, true, Some(span)) = (self.stopped, alive, self.spans.last_mut()) {
            span.ended = Some(now);
        }
    }

    fn has_had(&self, at: Timestamp) -> bool {
        self.expected().last().is_some_and(|newest| *newest >= at)
    }

    /// In each span those after all of the spans before.
    fn expected(&self) -> Vec<Timestamp> {
        let mut all: Vec<Timestamp> = Vec::new();
        for span in &self.spans {
            let floor = all.last().copied();
            all.extend(span.slots().into_iter().filter(|slot| floor.is_none_or(|floor| *slot > floor)));
        }
        all
    }
}

impl Span {
    fn slots(&self) -> Vec<Timestamp> {
        let until = self.ended.map_or(self.reached, |ended| ended.max(self.reached));
        let counts = |slot: &Timestamp| {
            self.due_of(*slot) <= self.reached || self.ended.is_some_and(|ended| *slot <= ended)
        };
        let mut slots: Vec<Timestamp> = match &self.spec.schedule {
            Schedule::Every(period) => {
                let first = if self.spec.first_run == FirstRun::Now { 0 } else { 1 };
                (first..).map(|k| self.anchor + *period * k).take_while(|slot| *slot <= until).collect()
            }
            Schedule::At(at) if *at >= self.anchor && *at <= until => vec![*at],
            Schedule::Cron(cron) => {
                // whole minutes from the anchor on; read from a quiet minute before it
                let minute = SignedDuration::from_mins(1);
                let from = self.anchor - SignedDuration::from_hours(6);
                let walls = walls(cron.zone(), from, until + minute);
                let mut slots = Oracle::read(cron.expression()).instants(&walls);
                slots.retain(|slot| *slot >= self.anchor && *slot <= until);
                slots
            }
            _ => Vec::new(),
        };
        slots.retain(counts);
        slots
    }

    fn due_of(&self, slot: Timestamp) -> Timestamp {
        due_of(&self.spec, self.anchor, slot)
    }
}

/// When a slot is due: delayed by its jitter, but not into the next slot.
pub fn due_of(spec: &AgentSpec, anchor: Timestamp, slot: Timestamp) -> Timestamp {
    if spec.jitter.is_zero() {
        return slot;
    }
    let calendar = Calendar { schedule: &spec.schedule, anchor, first_run: spec.first_run };
    let room = calendar.next_after(slot).map_or(spec.jitter, |next| next.duration_since(slot));
    slot + jitter_of(&spec.id, slot, spec.jitter.min(room))
}
