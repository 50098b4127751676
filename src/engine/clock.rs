//! Handles changes of the wall clock: timestamps that measure elapsed time are shifted along, and no agent stops
//! running because a clock was wrong (section 4).
//!
//! After the clock is set back, the ledger may have slots in the future. The engine does not hold the ledger, so it
//! queries it ([`Action::LookAhead`]); until the answer arrives ([`Input::Ahead`]) the agent has no coming slot.
//! Verdicts of future slots that never ran are then withdrawn. Slots that ran never run again: they are skipped
//! when their time comes.
//!
//! [`Action::LookAhead`]: super::Action::LookAhead
//! [`Input::Ahead`]: super::Input::Ahead
use super::agent::AgentState;
use super::{Action, Engine, Place, slots::NOISE};
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};

const SLOT_RESOLUTION: SignedDuration = SignedDuration::from_micros(1);
/// Reason for reactivating a one-shot agent, or dropping a run, whose time had passed only by a clock that was ahead.
pub(super) const REACTIVATED_REASON: &str = "its time is yet to come: the clock was set back";

/// What the ledger knows of future slots.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Nothing is known, or nothing was asked.
    #[default]
    Unknown,
    /// The query is in flight. `due`: when an `after` schedule that was waiting is due.
    Asked { due: Option<Timestamp> },
    /// These slots keep their verdicts; in order.
    Known(Vec<Judged>),
}

impl Engine {
    /// Adapts the state to a jump of the wall clock.
    pub(super) fn follow_clock(&mut self, now: Now) {
        let jumped = Gap::between(self.last, now).jumped;
        if jumped.abs() <= NOISE {
            return;
        }
        self.steady_since = now.boot;
        self.shift_runs(now, jumped);
        self.drop_what_is_to_come(now);
        for agent in 0..u32::try_from(self.agents.len()).expect("fewer than 2^32 agents") {
            self.shift_agent(now, agent, jumped);
            if self.agents[agent as usize].removed {
                continue; // handled when its name comes back
            }
            let state = &mut self.agents[agent as usize];
            let moved = state.next_slot.filter(|_| matches!(state.spec.schedule, Schedule::After(_)));
            let moved = moved.and_then(|slot| slot.checked_add(jumped).ok());
            if jumped.is_negative() && state.judged_until.is_some_and(|judged| judged > now.wall) {
                let due = if let Ahead::Asked { due } = state.ahead { due } else { moved };
                state.ahead = Ahead::Asked { due };
                state.rewind_anchor(now.wall);
                self.break_streak(agent);
                self.schedule(agent, None);
                self.touch(agent);
                continue;
            }
            if let Ahead::Asked { .. } = state.ahead {
                continue;
            }
            if moved.is_some() {
                let slot = moved.map(|slot| state.first_free_instant(slot));
                self.break_streak(agent);
                self.schedule(agent, slot);
                self.touch(agent);
            } else if state.next_slot.is_some() && state.is_astray(now.wall) {
                let slot = state.first_slot(now);
                self.break_streak(agent);
                self.schedule(agent, slot);
                self.touch(agent);
            } else if state.anchor > now.wall && !state.spec.schedule.has_slots() {
                state.rewind_anchor(now.wall);
                self.touch(agent);
            } else {
                self.revive_one_shot(now, agent);
            }
        }
    }

    /// Drops runs that have not begun and whose slots are in the future again: they were claimed while the clock was ahead. The
    /// ledger withdraws their verdicts, and the slots are claimed again when they are due.
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
            self.drop_waiting(now, id, REACTIVATED_REASON);
        }
    }

    /// Prevents new ledger records from extending those made before the clock was set, which may be withdrawn.
    fn break_streak(&mut self, agent: u32) {
        let state = &mut self.agents[agent as usize];
        state.streak = None;
        for id in &state.live {
            self.runs.get_mut(id).expect("live runs are known").before = None;
        }
    }

    /// Shifts the waits of runs that have not ended.
    fn shift_runs(&mut self, now: Now, jumped: SignedDuration) {
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

    /// Shifts timestamps that measure elapsed time: the end of a circuit's cooldown, the last notification, when a
    /// run was expected, and when a pending or open problem began.
    fn shift_agent(&mut self, now: Now, agent: u32, jumped: SignedDuration) {
        let along = |at: Timestamp| at.checked_add(jumped).unwrap_or(at);
        let state = &mut self.agents[agent as usize];
        // probes before and after the jump are not a series of equal ones
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

    /// Requests the ledger query for the agents that need it.
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

    /// Applies the answer of the ledger: the agent continues at once.
    pub(super) fn ledger_answered(&mut self, now: Now, answer: crate::domain::Ahead) {
        let Some(agent) = self.by_id.get(answer.agent()).copied() else { return };
        let state = &mut self.agents[agent as usize];
        let Ahead::Asked { due } = state.ahead else { return };
        let (floor, behind) = (answer.look().floor, answer.look().behind);
        if behind >= now.wall || state.anchor != answer.look().anchor {
            self.looks.insert(agent); // the clock was set back again
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
            Some(due) => Some(state.first_free_instant(due)),
            None => state.first_slot(now),
        };
        self.schedule(agent, slot);
    }

    /// Continues a one-shot agent after the ledger query: it is finished if its slot has a verdict; otherwise the
    /// slot is to come.
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

    /// Reactivates a finished one-shot agent whose time is still to come.
    pub(super) fn revive_one_shot(&mut self, now: Now, agent: u32) {
        let state = &self.agents[agent as usize];
        let Some(at) = state.spec.schedule.last_moment() else { return };
        if !state.is_done() || state.removed || at <= now.wall || state.has_had(at) {
            return;
        }
        self.become_(now, agent, Desired::Active, Some(REACTIVATED_REASON.into()), None);
        self.agents[agent as usize].reason = None;
        let slot = self.agents[agent as usize].first_slot(now);
        self.schedule(agent, slot);
        self.touch(agent);
    }

    /// Bounds the waits of a restored agent, so that elapsed time does not depend on a clock that was wrong.
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
    at.checked_sub(SLOT_RESOLUTION).unwrap_or(at)
}

impl AgentState {
    /// Returns whether the ledger must be queried for future slots.
    pub(super) fn needs_ledger(&self, wall: Timestamp) -> bool {
        match self.ahead {
            Ahead::Asked { .. } => true,
            Ahead::Known(_) => false,
            Ahead::Unknown => self.floor.is_some() || self.judged_until.is_some_and(|judged| judged > wall),
        }
    }

    /// Returns the newest slot up to which nothing is judged again.
    pub(super) fn high_water(&self) -> Option<Timestamp> {
        self.floor.or(self.judged_until)
    }

    /// Returns whether each slot up to this one has its verdict.
    pub(super) fn is_behind(&self, slot: Option<Timestamp>) -> bool {
        slot <= self.high_water()
    }

    /// Returns whether this slot has its verdict.
    pub(super) fn has_had(&self, slot: Timestamp) -> bool {
        Some(slot) <= self.high_water() || self.judged_ahead(slot).is_some()
    }

    /// Returns the range of judged slots ahead of the floor that contains this slot.
    fn judged_ahead(&self, slot: Timestamp) -> Option<Judged> {
        let Ahead::Known(ahead) = &self.ahead else { return None };
        ahead
            .get(ahead.partition_point(|judged| judged.last < slot))
            .filter(|next| next.first <= slot)
            .copied()
    }

    /// Returns the first range of judged slots after an instant.
    pub(super) fn next_judged_after(&self, at: Timestamp) -> Option<Judged> {
        let Ahead::Known(ahead) = &self.ahead else { return None };
        ahead.get(ahead.partition_point(|judged| judged.first <= at)).copied()
    }

    /// Returns the next scheduled slot that has no verdict yet.
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut slot = self.calendar().next_after(after)?;
        while let Some(judged) = self.judged_ahead(slot) {
            slot = self.calendar().next_after(judged.last)?;
        }
        Some(slot)
    }

    /// Returns the first instant from here on that is not a judged slot: for schedules relative to past runs.
    pub(super) fn first_free_instant(&self, at: Timestamp) -> Timestamp {
        let after = |at: Timestamp| at.checked_add(SLOT_RESOLUTION).unwrap_or(at);
        let mut at = self.high_water().map_or(at, |judged| at.max(after(judged)));
        while let Some(judged) = self.judged_ahead(at) {
            at = after(judged.last);
        }
        at
    }

    /// Records that all slots up to here have their verdict.
    pub(super) fn judge_until(&mut self, slot: Timestamp) {
        self.judged_until = self.judged_until.max(Some(slot));
        if self.floor.is_some() {
            self.floor = self.floor.max(Some(slot));
            self.forget_behind();
        }
    }

    /// Drops the ranges behind the floor. When none are left ahead, the floor is cleared.
    fn forget_behind(&mut self) {
        let Some(floor) = self.floor else { return };
        if let Ahead::Known(ahead) = &mut self.ahead {
            let behind = ahead.partition_point(|judged| judged.last <= floor);
            if behind > 0 {
                self.streak = None; // the dropped slots lie between its newest record and the next slot
            }
            ahead.drain(..behind);
            if ahead.is_empty() {
                (self.floor, self.ahead) = (None, Ahead::Unknown);
                self.judged_until = self.judged_until.max(Some(floor));
            }
        }
    }

    /// Returns the period in which nothing starts, because its slots ran already while the clock was ahead.
    pub(super) fn silence(&self) -> Option<(Timestamp, Timestamp)> {
        let (since, until) = (self.floor?, self.next_slot?);
        if matches!(self.spec.schedule, Schedule::After(_)) {
            return None; // it follows the end of its newest run, and waits for no slot that ran ahead
        }
        let next = self.calendar().next_after(since.max(before(self.anchor)))?;
        (self.desired != Desired::Stopped && next < until).then_some((since, until))
    }

    /// Returns whether the anchor is ahead of the clock, or the clock has passed an anchor that was moved back.
    pub(super) fn is_astray(&self, wall: Timestamp) -> bool {
        self.anchor > self.latest_anchor(wall) || self.origin.is_some_and(|origin| origin <= wall)
    }

    /// Returns the latest valid anchor: a schedule that restarts begins with its first period.
    fn latest_anchor(&self, wall: Timestamp) -> Timestamp {
        let lead = match (&self.spec.schedule, self.spec.first_run) {
            (Schedule::Every(period), FirstRun::Now) | (Schedule::After(period), _) => *period,
            _ => SignedDuration::ZERO,
        };
        wall.checked_add(lead).unwrap_or(Timestamp::MAX)
    }

    /// Moves an anchor that lies in the future back to now, by whole periods: an agent started while the clock was
    /// ahead continues from now. When the clock passes the original anchor, that one is restored.
    pub(super) fn rewind_anchor(&mut self, wall: Timestamp) {
        if let Some(origin) = self.origin.filter(|origin| *origin <= wall) {
            (self.anchor, self.origin) = (origin, None);
        }
        if self.anchor <= self.latest_anchor(wall) {
            return;
        }
        if !self.spec.schedule.has_slots() {
            self.anchor = wall; // only used to distinguish later events
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
        // there were no slots before now
        if self.judged_until.is_none_or(|judged| judged <= wall) {
            self.judged_until = self.judged_until.max(Some(before(wall)));
        }
        self.floor = self.floor.map(|floor| floor.max(before(wall)));
    }

    /// Returns the first slot from the anchor on that has no verdict yet. `None`, too, while the ledger query is in
    /// flight.
    pub(super) fn first_slot(&mut self, now: Now) -> Option<Timestamp> {
        self.rewind_anchor(now.wall);
        if self.needs_ledger(now.wall) {
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
                // ends before the start or a schedule change do not count
                let base = self.last_end.max(judged).filter(|base| *base >= self.anchor);
                let slot = base.map_or(self.anchor, |base| {
                    base.min(now.wall).checked_add(delay).unwrap_or(Timestamp::MAX).max(self.anchor)
                });
                Some(self.first_free_instant(slot))
            }
            _ => self.next_after(judged.map_or(floor, |judged| judged.max(floor))),
        }
    }
}
