//! Which slots there must be: worked out from commands and configurations, without the engine.
use super::model::{Model, Record, Wrong, ensure};
use crate::calendar::{Oracle, walls};
use bgagent::domain::*;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// First and last slot.
type Barred = (Timestamp, Timestamp);

/// One agent between a start (or another schedule) and its end.
#[derive(Debug)]
struct Span {
    spec: AgentSpec,
    anchor: Timestamp,
    /// The latest wall clock of a committed decision.
    reached: Timestamp,
    /// That of the decision before it.
    lived: Timestamp,
    /// When it ended, if somebody decided so: slots up to then count, whatever their jitter.
    ended: Option<Timestamp>,
    /// Slots of times that the clock went back over: those that lay behind, and those that had run.
    kept: BTreeSet<Timestamp>,
    /// Where the anchor was when the clock was set to before it; and up to where nothing else counts then.
    origin: Option<Timestamp>,
    floor: Option<Timestamp>,
}

#[derive(Debug)]
struct Line {
    spec: AgentSpec,
    stopped: bool,
    /// Stopped by itself: a one-shot that had its slot, or whose time had passed.
    done: bool,
    removed: bool,
    /// Slots within these ran as one: no slot of another schedule is among them.
    barred: Vec<Barred>,
    /// A record of an earlier schedule was cut, which nobody can do exactly.
    vague: bool,
    /// The last one goes on, unless the agent is stopped or removed.
    spans: Vec<Span>,
}

/// All agents that there ever were.
#[derive(Default, Debug)]
pub struct Spans {
    lines: BTreeMap<AgentId, Line>,
    newest: Option<Timestamp>,
    /// The ledger is asked what it knows of their slots ahead.
    asked: BTreeSet<AgentId>,
}

impl Spans {
    /// The ledger is asked about these; an answer comes for all that were asked.
    pub fn asks(&mut self, agents: impl Iterator<Item = AgentId>) {
        self.asked.extend(agents);
    }

    pub fn answered(&mut self) {
        self.asked.clear();
    }

    /// A decision at this time was committed; `set`: the clock may have been set before it, or a life begun.
    pub fn clock(&mut self, now: Timestamp, set: bool, model: &Model) {
        let back = self.newest.is_some_and(|newest| now < newest);
        self.newest = Some(now);
        if !set {
            return;
        }
        for (id, line) in self.lines.iter_mut().filter(|(_, line)| !line.removed) {
            line.clock_set(now, back, id, model);
        }
    }

    /// A life begins: what lies ahead and turned out not to have run is judged anew.
    pub fn booted(&mut self, now: Timestamp, model: &Model) {
        // a life that ended before the ledger had answered has left these as they were, and its clock is forgotten
        for id in std::mem::take(&mut self.asked) {
            if let Some(line) = self.lines.get_mut(&id) {
                line.vague = true;
            }
        }
        // the life before has lived through its last decision, whatever came between
        for span in self.lines.values_mut().filter_map(|line| line.spans.last_mut()) {
            span.lived = span.reached;
        }
        self.clock(now, true, model);
        for (id, line) in self.lines.iter_mut().filter(|(_, line)| !line.removed) {
            let records = model.ledger.get(id).map_or(&[][..], Vec::as_slice);
            for span in &mut line.spans {
                span.kept.retain(|slot| *slot <= now || ran(records, *slot));
            }
        }
    }

    /// The configuration of a new life, or of a reload (`alive`).
    pub fn configured(&mut self, now: Timestamp, fleet: &Fleet, alive: bool, model: &Model) {
        for (id, line) in &mut self.lines {
            if fleet.agent(id.as_str()).is_none() && !line.removed {
                line.end(now, alive);
                line.removed = true;
                // what lies ahead waits for its name to come back
                line.vague |= model.ledger.get(id).is_some_and(|all| all.iter().any(|one| one.last > now));
            }
        }
        for spec in &fleet.agents {
            let spec = (**spec).clone();
            let Some(line) = self.lines.get_mut(&spec.id) else {
                let stopped = spec.schedule_is_past(now);
                let mut line = Line {
                    spec: spec.clone(),
                    stopped,
                    done: stopped,
                    removed: false,
                    barred: Vec::new(),
                    vague: false,
                    spans: Vec::new(),
                };
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
                    // the clock was set back with it: what lies ahead is cut, and the schedule it was of is gone
                    line.vague |=
                        model.ledger.get(&spec.id).is_some_and(|all| all.iter().any(|one| one.last > now));
                } else {
                    let back = line.spans.iter().any(|span| span.reached > now);
                    line.clock_set(now, back, &spec.id, model);
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
                    if let (Schedule::Any(_), Some(span)) = (&line.spec.schedule, line.spans.last_mut()) {
                        span.floor = Some(now); // an edit starts nothing
                    }
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
            if now > span.reached {
                (span.lived, span.reached) = (span.reached, now);
            }
            if let Schedule::At(at) = span.spec.schedule
                && span.kept.contains(&at)
            {
                (line.stopped, line.done) = (true, true);
                continue;
            }
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
            if matches!(line.spec.schedule, Schedule::After(_)) || line.vague {
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

fn ran(records: &[Record], slot: Timestamp) -> bool {
    let at = records.partition_point(|record| record.last < slot);
    records.get(at).is_some_and(|record| record.first <= slot && record.verdict == Verdict::Ran)
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
        self.spans.push(Span {
            spec: self.spec.clone(),
            anchor,
            reached: now,
            lived: now,
            ended: None,
            kept: BTreeSet::new(),
            origin: None,
            floor: None,
        });
    }

    fn end(&mut self, now: Timestamp, alive: bool) {
        if let (false, true, Some(span)) = (self.stopped, alive, self.spans.last_mut()) {
            span.ended = Some(now);
        }
    }

    fn has_had(&self, at: Timestamp) -> bool {
        self.expected().contains(&at)
    }

    /// The slots of all spans, each once.
    fn expected(&self) -> Vec<Timestamp> {
        let mut all = BTreeSet::new();
        for span in &self.spans {
            all.extend(span.slots(&self.barred));
        }
        all.into_iter().collect()
    }

    /// The clock was set, or a life began: back, if `back`.
    fn clock_set(&mut self, now: Timestamp, back: bool, id: &AgentId, model: &Model) {
        let behind = now - SignedDuration::from_micros(1);
        let records = model.ledger.get(id).map_or(&[][..], Vec::as_slice);
        let live = !self.stopped;
        let many = self.spans.len();
        for (nth, span) in self.spans.iter_mut().enumerate() {
            let live = live && nth + 1 == many;
            if back {
                self.vague |= span.go_back(behind, live, records, &self.barred);
            }
            if live {
                span.move_anchor(now, &self.barred);
            }
        }
        if back {
            let ran = records.iter().filter(|one| one.verdict == Verdict::Ran && one.last > behind);
            self.barred.extend(ran.filter(|one| one.first < one.last).map(|one| (one.first, one.last)));
        }
        // a one-shot that only a wrong clock has passed
        if let Schedule::At(at) = self.spec.schedule
            && (self.done && self.stopped && at > now && !self.has_had(at))
        {
            (self.stopped, self.done) = (false, false);
            if self
                .spans
                .last()
                .is_none_or(|span| span.spec.schedule != self.spec.schedule || span.ended.is_some())
            {
                self.begin(now, now);
            } else if let Some(span) = self.spans.last_mut() {
                span.move_anchor(now, &self.barred);
            }
        }
    }
}

impl Span {
    /// Slots up to `behind` stay, and those that ran. True: a record was cut that is not of this span alone.
    fn go_back(&mut self, behind: Timestamp, live: bool, records: &[Record], barred: &[Barred]) -> bool {
        let kept =
            self.slots(barred).into_iter().filter(|slot| *slot <= behind || ran(records, *slot)).collect();
        let cut = records.iter().any(|one| {
            one.first <= behind
                && one.last > behind
                && one.verdict != Verdict::Ran
                && one.first < one.last
                && (!live || one.first < self.anchor)
        });
        let reached_over = self.reached > behind;
        self.kept = kept;
        self.floor = self.floor.map(|floor| floor.min(behind));
        self.reached = self.reached.min(behind);
        self.lived = self.lived.min(behind);
        self.ended = self.ended.map(|ended| ended.min(behind));
        cut && reached_over
    }

    /// An anchor that is ahead of the clock is drawn back, by whole periods; when the clock is past where it was, it
    /// goes on from there.
    fn move_anchor(&mut self, now: Timestamp, barred: &[Barred]) {
        let before = |at: Timestamp| at - SignedDuration::from_micros(1);
        if let Some(origin) = self.origin.filter(|origin| *origin <= now) {
            // before it there are only those slots that came while somebody was there
            let lived = if self.lived < origin { self.lived } else { now };
            let there = |slot: &Timestamp| self.due_of(*slot) <= lived || self.kept.contains(slot);
            self.kept = self.slots(barred).into_iter().filter(there).collect();
            self.floor = self.floor.max(Some(before(origin)));
            (self.anchor, self.origin) = (origin, None);
        }
        let lead = match (&self.spec.schedule, self.spec.first_run) {
            (Schedule::Every(period), FirstRun::Now) => *period,
            _ => SignedDuration::ZERO,
        };
        if self.anchor <= now + lead {
            return;
        }
        self.origin.get_or_insert(self.anchor);
        self.kept = self.slots(barred).into_iter().collect();
        self.floor = Some(before(now));
        let every = self.spec.schedule.parts().iter().find(|part| matches!(part, Schedule::Every(_)));
        self.anchor = match every {
            Some(Schedule::Every(period)) => {
                let (ahead, period) = (self.anchor.duration_since(now).as_nanos(), period.as_nanos());
                let periods = (ahead + period - 1) / period;
                self.anchor - SignedDuration::from_nanos((periods * period) as i64)
            }
            _ => now,
        };
    }

    fn slots(&self, barred: &[Barred]) -> Vec<Timestamp> {
        let mut slots = self.kept.clone();
        let is_free = |slot: &Timestamp| {
            self.floor.is_none_or(|floor| *slot > floor)
                && !barred.iter().any(|(first, last)| first <= slot && slot <= last)
        };
        slots.extend(self.by_schedule().into_iter().filter(is_free));
        slots.into_iter().collect()
    }

    fn by_schedule(&self) -> Vec<Timestamp> {
        let until = self.ended.map_or(self.reached, |ended| ended.max(self.reached));
        let counts = |slot: &Timestamp| {
            self.due_of(*slot) <= self.reached || self.ended.is_some_and(|ended| *slot <= ended)
        };
        let parts = self.spec.schedule.parts().iter();
        let mut slots: Vec<Timestamp> = parts.flat_map(|part| self.by_part(part, until)).collect();
        slots.retain(counts);
        slots
    }

    fn by_part(&self, part: &Schedule, until: Timestamp) -> Vec<Timestamp> {
        match part {
            Schedule::Every(period) => {
                let first = if self.spec.first_run == FirstRun::Now { 0 } else { 1 };
                (first..).map(|k| self.anchor + *period * k).take_while(|slot| *slot <= until).collect()
            }
            Schedule::At(at) if *at >= self.anchor && *at <= until => vec![*at],
            Schedule::Cron(_) if until < self.anchor => Vec::new(),
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
        }
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
