//! Slots of agents with active times: those outside of them are skipped, each with its cause.
use super::Engine;
use super::slots::{CatchUpLimits, Passed, SlotContext};
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};

/// Consecutive slots that may start, or that may not for the same cause.
struct Part {
    slots: Passed,
    cause: Option<String>,
}

impl Engine {
    /// Judges slots that passed together. Those that may start are judged like the slots of any other agent, but
    /// missed ones are not caught up outside the agent's active times. Returns how many were missed and are not
    /// caught up.
    pub(super) fn judge_by_times(
        &mut self,
        now: Now,
        agent: u32,
        times: &ActiveTimes,
        passed: Passed,
        around: SlotContext,
        caught_up: &mut u64,
    ) -> u64 {
        let state = &self.agents[agent as usize];
        let parts = parts(times, &state.calendar(), passed);
        let rule = state.spec.catch_up;
        // slots that are merely late still belong to their own time
        let outside = around.missed.and_then(|_| times.at(now.wall).0);
        let around = SlotContext { next: around.next.filter(|next| times.at(*next).0.is_none()), ..around };
        let newest = parts.iter().rposition(|part| part.cause.is_none());
        let is_fresh = |slot| rule.max_age.is_none_or(|age| now.wall.duration_since(slot) <= age);
        let newer_starts = rule.policy == CatchUpPolicy::Latest
            && outside.is_none()
            && newest.is_some_and(|newest| is_fresh(parts[newest].slots.last));
        // the newest have priority for catch-up; the oldest start first
        let mut left = u64::from(rule.max);
        let mut shares = vec![0; parts.len()];
        for (nth, part) in parts.iter().enumerate().rev().filter(|(_, part)| part.cause.is_none()) {
            let is_one = rule.policy != CatchUpPolicy::All && Some(nth) != newest;
            shares[nth] = if is_one || outside.is_some() { 0 } else { left.min(part.slots.count) };
            left -= shares[nth];
        }
        let (among, mut unseen) = (Some((passed.last, *caught_up)), 0);
        let oldest = parts.iter().position(|part| part.cause.is_none());
        for (nth, part) in parts.into_iter().enumerate() {
            if let Some(cause) = part.cause {
                self.judged(now, agent, part.slots, Verdict::SkippedCalendar, &cause);
            } else if let Some(slots) = self.leave_out_skipped(now, agent, part.slots) {
                let is_newest = Some(nth) == newest;
                let make_up = CatchUpLimits {
                    most: shares[nth],
                    is_newest,
                    has_older: oldest.is_some_and(|oldest| oldest < nth),
                    among,
                    newer_starts: newer_starts && !is_newest,
                    outside: outside.as_deref(),
                };
                unseen += self.judge_active(now, agent, slots, around, caught_up, &make_up);
            }
        }
        unseen
    }

    /// Returns the verdict for an event that arrives outside the agent's active times, if it does.
    pub(super) fn outside_of_times(&self, now: Now, agent: u32) -> Option<(Verdict, String)> {
        let times = self.agents[agent as usize].spec.active_times.as_deref()?;
        times.at(now.wall).0.map(|cause| (Verdict::SkippedCalendar, cause))
    }
}

impl super::agent::AgentState {
    /// Finds the coming slot at which the agent starts; `before` is the slot that was the coming one so far.
    pub(super) fn look_ahead_of(&self, before: Option<Timestamp>) -> Option<Timestamp> {
        let slot = self.next_slot?;
        if self.spec.active_times.is_none() {
            return Some(slot);
        }
        let day = |at: Timestamp| at.as_second().div_euclid(86_400);
        match before.filter(|before| *before < slot) {
            // a search result stays valid; that nothing was found, for a day
            Some(_) if self.next_active.is_some_and(|active| slot <= active) => self.next_active,
            Some(before) if self.next_active.is_none() && day(before) == day(slot) => None,
            _ => self.first_active(slot),
        }
    }

    /// Returns the first slot from `slot` on at which the agent starts.
    pub(super) fn first_active(&self, slot: Timestamp) -> Option<Timestamp> {
        match (&self.spec.active_times, &self.spec.schedule) {
            (None, _) => Some(slot),
            // each skipped slot moves the next one by the delay
            (Some(times), Schedule::After(delay)) => {
                let steps = |after: Timestamp| {
                    let nth = after.duration_since(slot).as_nanos().div_euclid(delay.as_nanos()) + 1;
                    let span = delay.as_nanos().checked_mul(nth).and_then(|span| i64::try_from(span).ok())?;
                    slot.checked_add(SignedDuration::from_nanos(span)).ok()
                };
                times.first_active(steps, slot)
            }
            (Some(times), _) => times.first_active(|after| self.next_after(after), slot),
        }
    }
}

/// Splits slots that passed together wherever their cause changes.
fn parts(times: &ActiveTimes, calendar: &Calendar<'_>, passed: Passed) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut first = Some(passed.first);
    while let Some(slot) = first.filter(|slot| *slot <= passed.last) {
        let (cause, until) = times.at(slot);
        let last = match until > passed.last {
            true => passed.last,
            false => calendar.prev_before(until).filter(|last| *last > slot).unwrap_or(slot),
        };
        first = if last < passed.last { calendar.next_after(last) } else { None };
        match parts.last_mut().filter(|part| part.cause == cause) {
            Some(part) => part.slots.last = last,
            None => parts.push(Part { slots: Passed { first: slot, last, count: 0 }, cause }),
        }
    }
    let mut left = passed.count;
    let count = parts.len();
    for (nth, part) in parts.iter_mut().enumerate() {
        // every slot must be counted exactly once, even if the calendar's counts don't add up
        let of_later = (count - nth - 1) as u64;
        let counted = || calendar.count(part.slots.first, part.slots.last);
        let slots = if nth + 1 == count { left } else { counted().min(left.saturating_sub(of_later)) };
        part.slots.count = slots.max(1);
        left = left.saturating_sub(part.slots.count);
    }
    parts
}
