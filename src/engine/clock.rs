//! The wall clock was set: what counts elapsed time moves along, and nothing is silent because a clock was wrong
//! (section 4).
//!
//! After a clock is set back, the ledger may know slots ahead of now. The engine does not hold the ledger, so it asks
//! ([`Action::LookAhead`]); until the answer is here ([`Input::Ahead`]) the agent has no coming slot. What never ran is
//! then taken back. What ran never runs again: those slots are passed over when their time comes.
//!
//! [`Action::LookAhead`]: super::Action::LookAhead
//! [`Input::Ahead`]: super::Input::Ahead
use super::agent::AgentState;
use super::{Action, Engine, Place, slots::NOISE};
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};

const TICK: SignedDuration = SignedDuration::from_micros(1);
/// Why a one-shot agent is active again, or a run is dropped, whose time was only passed by a clock that was ahead.
pub(super) const TO_COME: &str = "its time is yet to come: the clock was set back";

/// What the ledger knows of slots ahead.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Nothing, or nothing that was asked for.
    #[default]
    Unknown,
    /// The ledger is being asked. An `after` that waited meanwhile is due then.
    Asked { due: Option<Timestamp> },
    /// These keep their verdict, in order.
    Known(Vec<Judged>),
}

impl Engine {
    /// After a jump of the wall clock.
    pub(super) fn follow_clock(&mut self, now: Now) {
        let jumped = Gap::between(self.last, now).jumped;
        if jumped.abs() <= NOISE {
            return;
        }
        self.steady_since = now.boot;
        self.move_runs_along(now, jumped);
        self.drop_what_is_to_come(now);
        for agent in 0..u32::try_from(self.agents.len()).expect("fewer than 2^32 agents") {
            self.move_along(now, agent, jumped);
            if self.agents[agent as usize].removed {
                continue; // when its name comes back
            }
            let state = &mut self.agents[agent as usize];
            let moved = state.next_slot.filter(|_| matches!(state.spec.schedule, Schedule::After(_)));
            let moved = moved.and_then(|slot| slot.checked_add(jumped).ok());
            if jumped.is_negative() && state.judged_until.is_some_and(|judged| judged > now.wall) {
                let due = if let Ahead::Asked { due } = state.ahead { due } else { moved };
                state.ahead = Ahead::Asked { due };
                state.draw_anchor(now.wall);
                self.break_streak(agent);
                self.schedule(agent, None);
                self.touch(agent);
                continue;
            }
            if let Ahead::Asked { .. } = state.ahead {
                continue;
            }
            if moved.is_some() {
                let slot = moved.map(|slot| state.free_from(slot));
                self.break_streak(agent);
                self.schedule(agent, slot);
                self.touch(agent);
            } else if state.next_slot.is_some() && state.is_astray(now.wall) {
                let slot = state.first_slot(now);
                self.break_streak(agent);
                self.schedule(agent, slot);
                self.touch(agent);
            } else if state.anchor > now.wall && !state.spec.schedule.has_slots() {
                state.draw_anchor(now.wall);
                self.touch(agent);
            } else {
                self.revive_one_shot(now, agent);
            }
        }
    }

    /// Drops runs of slots that are to come, claimed while the clock was ahead, and not begun: the ledger takes their verdicts back,
    /// and the slots are claimed again when their time comes.
    fn drop_what_is_to_come(&mut self, now: Now) {
        let is_early = |run: &super::Run| {
            !run.has_begun()
                && run.place != Place::Active
                && run.record.slot.is_some_and(|slot| slot > now.wall)
        };
        let mut early: Vec<RunId> =
            self.runs.iter().filter(|(_, run)| is_early(run)).map(|(id, _)| *id).collect();
        early.sort_unstable();
        for id in early {
            self.drop_waiting(now, id, TO_COME);
        }
    }

    /// The records that come next don't go on with those before the clock was set, which may be taken back.
    fn break_streak(&mut self, agent: u32) {
        let state = &mut self.agents[agent as usize];
        state.streak = None;
        for id in &state.live {
            self.runs.get_mut(id).expect("live runs are known").before = None;
        }
    }

    /// The waits of runs that have not ended.
    fn move_runs_along(&mut self, now: Now, jumped: SignedDuration) {
        if self.runs.is_empty() {
            return;
        }
        for run in self.runs.values_mut() {
            let record = &mut run.record;
            record.clock_moved = record.clock_moved.saturating_add(jumped);
            record.not_before = record.not_before.map(|at| at.checked_add(jumped).unwrap_or(at));
        }
        self.push(now, Fact::ClockSet { by: jumped });
    }

    /// What counts elapsed time: the end of a circuit's cooldown, what was told and is told again after a while, since
    /// when a run is awaited, and how long a problem has lasted that is not one yet.
    fn move_along(&mut self, now: Now, agent: u32, jumped: SignedDuration) {
        let along = |at: Timestamp| at.checked_add(jumped).unwrap_or(at);
        let state = &mut self.agents[agent as usize];
        // what was seen before and after is not one row of equal looks
        state.calm = false;
        if let Some(at) = state.resume_at.filter(|_| state.resume_after.is_some()) {
            self.move_resume(agent, Some(along(at)));
            self.touch(agent);
        }
        let state = &mut self.agents[agent as usize];
        let moves = state.circuit.is_some() || state.told_at.is_some() || state.awaited_since.is_some();
        if let Some(circuit) = &mut state.circuit {
            circuit.until = along(circuit.until);
        }
        state.told_at = state.told_at.map(along);
        state.awaited_since = state.awaited_since.map(along);
        if moves {
            self.touch(agent);
        }
        let mut saved = Vec::new();
        for incident in self.incidents.get_mut(&agent).into_iter().flat_map(|keys| keys.values_mut()) {
            if incident.is_open() {
                let Some(told) = incident.told_at else { continue };
                incident.told_at = Some(along(told));
            } else {
                incident.since = along(incident.since);
                incident.seen_at = along(incident.seen_at);
            }
            saved.push(incident.clone());
        }
        for incident in saved {
            self.push(now, Fact::IncidentSaved(Box::new(incident)));
        }
    }

    /// Asks the ledger for those agents that need it.
    pub(super) fn look_ahead(&mut self, now: Now) {
        let agents = std::mem::take(&mut self.looks);
        if agents.is_empty() {
            return;
        }
        let behind = before(now.wall);
        let looks = agents.into_iter().filter_map(|agent| {
            let state = &self.agents[agent as usize];
            matches!(state.ahead, Ahead::Asked { .. }).then(|| LookAhead {
                spec: state.spec.clone(),
                anchor: state.anchor,
                origin: state.origin,
                floor: state.floor.map_or(behind, |floor| floor.min(behind)),
                behind,
            })
        });
        let looks: Vec<LookAhead> = looks.collect();
        if !looks.is_empty() {
            self.asking = true;
            self.out.actions.push(Action::LookAhead(looks));
        }
    }

    /// The ledger has answered: agents go on at once.
    pub(super) fn looked_ahead(&mut self, now: Now, answer: crate::domain::Ahead) {
        let Some(agent) = self.by_id.get(answer.agent()).copied() else { return };
        let state = &mut self.agents[agent as usize];
        let Ahead::Asked { due } = state.ahead else { return };
        let (floor, behind) = (answer.look().floor, answer.look().behind);
        if behind >= now.wall || state.anchor != answer.look().anchor {
            self.looks.insert(agent); // the clock was set back once more
            return;
        }
        let (kept, taken) = answer.into_parts();
        if let Some(taken) = taken {
            state.counters.skipped = state.counters.skipped.saturating_sub(taken.count);
            let agent = state.spec.id.clone();
            self.push(now, Fact::SlotsTakenBack { agent, behind, taken });
        }
        let state = &mut self.agents[agent as usize];
        state.judged_until = kept.last().map(|newest| newest.last).max(Some(floor));
        state.floor = Some(floor);
        state.ahead = Ahead::Known(kept);
        state.forget_behind();
        self.touch(agent);
        let state = &mut self.agents[agent as usize];
        if state.spec.schedule.last_moment().is_some() {
            return self.go_on_one_shot(now, agent);
        }
        if state.desired == Desired::Stopped || state.removed {
            return;
        }
        let waits = due.filter(|_| state.live.is_empty());
        let slot = match waits {
            Some(due) => Some(state.free_from(due)),
            None => state.first_slot(now),
        };
        self.schedule(agent, slot);
    }

    /// A one-shot agent whose ledger is known: it is over if its slot has a verdict, and else to come.
    fn go_on_one_shot(&mut self, now: Now, agent: u32) {
        let state = &mut self.agents[agent as usize];
        let Some(at) = state.spec.schedule.last_moment() else { return };
        if state.has_had(at) {
            if state.desired != Desired::Stopped {
                self.finish_one_shot(now, agent);
            }
        } else if state.is_done() {
            self.revive_one_shot(now, agent);
        } else if state.desired != Desired::Stopped {
            let slot = state.first_slot(now);
            self.schedule(agent, slot);
        }
    }

    /// A one-shot agent that was over although its time is to come.
    pub(super) fn revive_one_shot(&mut self, now: Now, agent: u32) {
        let state = &self.agents[agent as usize];
        let Some(at) = state.spec.schedule.last_moment() else { return };
        if !state.is_done() || state.removed || at <= now.wall || state.has_had(at) {
            return;
        }
        self.become_(now, agent, Desired::Active, Some(TO_COME.into()), None);
        self.agents[agent as usize].reason = None;
        let slot = self.agents[agent as usize].first_slot(now);
        self.schedule(agent, slot);
        self.touch(agent);
    }

    /// Of a new life: what waits for elapsed time does not wait for a clock that was wrong.
    pub(super) fn bound_waits(&mut self, now: Now, agent: u32) {
        let state = &mut self.agents[agent as usize];
        let longest = now.wall.checked_add(state.spec.circuit.cooldown).unwrap_or(Timestamp::MAX);
        let mut bounded = false;
        if let Some(circuit) = &mut state.circuit
            && circuit.until > longest
        {
            circuit.until = longest;
            bounded = true;
        }
        if state.told_at.is_some_and(|told| told > now.wall) {
            state.told_at = Some(now.wall);
            bounded = true;
        }
        let end = state.resume_after.and_then(|span| now.wall.checked_add(span).ok());
        if end.is_some() && state.resume_at > end {
            self.move_resume(agent, end);
            bounded = true;
        }
        if bounded {
            self.touch(agent);
        }
    }
}

pub(super) fn before(at: Timestamp) -> Timestamp {
    at.checked_sub(TICK).unwrap_or(at)
}

impl AgentState {
    /// Must the ledger be asked what it knows of slots ahead?
    pub(super) fn must_look(&self, wall: Timestamp) -> bool {
        match self.ahead {
            Ahead::Asked { .. } => true,
            Ahead::Known(_) => false,
            Ahead::Unknown => self.floor.is_some() || self.judged_until.is_some_and(|judged| judged > wall),
        }
    }

    /// The newest judged slot, which no slot may be judged before again.
    pub(super) fn high_water(&self) -> Option<Timestamp> {
        self.floor.or(self.judged_until)
    }

    /// Has each slot up to this one its verdict?
    pub(super) fn is_behind(&self, slot: Option<Timestamp>) -> bool {
        slot <= self.high_water()
    }

    /// Has this slot had its verdict?
    pub(super) fn has_had(&self, slot: Timestamp) -> bool {
        Some(slot) <= self.high_water() || self.judged_ahead(slot).is_some()
    }

    /// The slots with a verdict among which this one is, ahead of the floor.
    fn judged_ahead(&self, slot: Timestamp) -> Option<Judged> {
        let Ahead::Known(ahead) = &self.ahead else { return None };
        ahead
            .get(ahead.partition_point(|judged| judged.last < slot))
            .filter(|next| next.first <= slot)
            .copied()
    }

    /// The first slots with a verdict after an instant.
    pub(super) fn next_judged_after(&self, at: Timestamp) -> Option<Judged> {
        let Ahead::Known(ahead) = &self.ahead else { return None };
        ahead.get(ahead.partition_point(|judged| judged.first <= at)).copied()
    }

    /// The next slot by the schedule that has no verdict yet.
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut slot = self.calendar().next_after(after)?;
        while let Some(judged) = self.judged_ahead(slot) {
            slot = self.calendar().next_after(judged.last)?;
        }
        Some(slot)
    }

    /// The first instant from here on that is no judged slot: for schedules that follow what happened.
    pub(super) fn free_from(&self, at: Timestamp) -> Timestamp {
        let after = |at: Timestamp| at.checked_add(TICK).unwrap_or(at);
        let mut at = self.high_water().map_or(at, |judged| at.max(after(judged)));
        while let Some(judged) = self.judged_ahead(at) {
            at = after(judged.last);
        }
        at
    }

    /// All slots up to here have their verdict.
    pub(super) fn judge_until(&mut self, slot: Timestamp) {
        self.judged_until = self.judged_until.max(Some(slot));
        if self.floor.is_some() {
            self.floor = self.floor.max(Some(slot));
            self.forget_behind();
        }
    }

    /// What lies behind the floor is no longer ahead. When nothing is, the floor has no meaning any more.
    fn forget_behind(&mut self) {
        let Some(floor) = self.floor else { return };
        if let Ahead::Known(ahead) = &mut self.ahead {
            let behind = ahead.partition_point(|judged| judged.last <= floor);
            if behind > 0 {
                self.streak = None; // they stand between its record and the next slot
            }
            ahead.drain(..behind);
            if ahead.is_empty() {
                (self.floor, self.ahead) = (None, Ahead::Unknown);
                self.judged_until = self.judged_until.max(Some(floor));
            }
        }
    }

    /// Since when and until when nothing starts, because the slots between ran already while the clock was ahead.
    pub(super) fn silence(&self) -> Option<(Timestamp, Timestamp)> {
        let (since, until) = (self.floor?, self.next_slot?);
        if matches!(self.spec.schedule, Schedule::After(_)) {
            return None; // it follows the end of its newest run, and waits for no slot that ran ahead
        }
        let next = self.calendar().next_after(since.max(before(self.anchor)))?;
        (self.desired != Desired::Stopped && next < until).then_some((since, until))
    }

    /// Is the anchor ahead of the clock, or the clock past one that was drawn back?
    pub(super) fn is_astray(&self, wall: Timestamp) -> bool {
        self.anchor > self.farthest_anchor(wall) || self.origin.is_some_and(|origin| origin <= wall)
    }

    /// A schedule that begins anew begins with its first period.
    fn farthest_anchor(&self, wall: Timestamp) -> Timestamp {
        let lead = match (&self.spec.schedule, self.spec.first_run) {
            (Schedule::Every(period), FirstRun::Now) | (Schedule::After(period), _) => *period,
            _ => SignedDuration::ZERO,
        };
        wall.checked_add(lead).unwrap_or(Timestamp::MAX)
    }

    /// Draws an anchor that is ahead of the clock back to now, by whole periods: an agent that was started while the
    /// clock was ahead goes on from now. When the clock is past it again, it goes on from there.
    pub(super) fn draw_anchor(&mut self, wall: Timestamp) {
        if let Some(origin) = self.origin.filter(|origin| *origin <= wall) {
            (self.anchor, self.origin) = (origin, None);
        }
        if self.anchor <= self.farthest_anchor(wall) {
            return;
        }
        if !self.spec.schedule.has_slots() {
            self.anchor = wall; // it only says what came after it
            return;
        }
        self.origin.get_or_insert(self.anchor);
        let ahead = self.anchor.duration_since(wall).as_nanos();
        let back = match self.spec.schedule.interval() {
            Some(period) => (ahead + period.as_nanos() - 1) / period.as_nanos() * period.as_nanos(),
            None => ahead,
        };
        let back = i64::try_from(back).map(SignedDuration::from_nanos);
        self.anchor = back.ok().and_then(|back| self.anchor.checked_sub(back).ok()).unwrap_or(wall);
        // before now there were no slots
        if self.judged_until.is_none_or(|judged| judged <= wall) {
            self.judged_until = self.judged_until.max(Some(before(wall)));
        }
        self.floor = self.floor.map(|floor| floor.max(before(wall)));
    }

    /// The first slot from the anchor on that has no verdict yet. None, too, while the ledger is asked.
    pub(super) fn first_slot(&mut self, now: Now) -> Option<Timestamp> {
        self.draw_anchor(now.wall);
        if self.must_look(now.wall) {
            if !matches!(self.ahead, Ahead::Asked { .. }) {
                self.ahead = Ahead::Asked { due: None };
            }
            return None;
        }
        let floor = before(self.anchor);
        let judged = self.high_water();
        match self.spec.schedule {
            Schedule::After(_) if !self.live.is_empty() => None,
            Schedule::After(delay) => {
                // what ended before the start or the change of schedule does not count
                let base = self.last_end.max(judged).filter(|base| *base >= self.anchor);
                let slot = base.map_or(self.anchor, |base| {
                    base.min(now.wall).checked_add(delay).unwrap_or(Timestamp::MAX).max(self.anchor)
                });
                Some(self.free_from(slot))
            }
            _ => self.next_after(judged.map_or(floor, |judged| judged.max(floor))),
        }
    }
}
