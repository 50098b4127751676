//! Slots of agents that start at some times only: those at other times are skipped, each with its cause.
use super::Engine;
use super::slots::{Around, MakeUp, Passed};
use crate::domain::*;
use jiff::Timestamp;

/// Slots in a row that may start, or may not for one cause.
struct Part {
    slots: Passed,
    cause: Option<String>,
}

impl Engine {
    /// Judges slots that passed together. Those that may start are judged as those of any other agent; but what
    /// was missed is not made up for at a time at which the agent does not start.
    pub(super) fn judge_by_times(
        &mut self,
        now: Now,
        agent: u32,
        times: &ActiveTimes,
        passed: Passed,
        around: Around,
        caught_up: &mut u64,
    ) {
        let state = &self.agents[agent as usize];
        let parts = parts(times, &state.calendar(), passed);
        let rule = state.spec.catch_up;
        let outside = times.at(now.wall).0;
        let around = Around { next: around.next.filter(|next| times.at(*next).0.is_none()), ..around };
        let newest = parts.iter().rposition(|part| part.cause.is_none());
        let is_fresh = |slot| rule.max_age.is_none_or(|age| now.wall.duration_since(slot) <= age);
        let newer_starts = rule.policy == CatchUpPolicy::Latest
            && outside.is_none()
            && newest.is_some_and(|newest| is_fresh(parts[newest].slots.last));
        // the newest are made up for first, and the oldest begin first
        let mut left = u64::from(rule.max);
        let mut shares = vec![0; parts.len()];
        for (nth, part) in parts.iter().enumerate().rev().filter(|(_, part)| part.cause.is_none()) {
            let is_one = rule.policy != CatchUpPolicy::All && Some(nth) != newest;
            shares[nth] = if is_one || outside.is_some() { 0 } else { left.min(part.slots.count) };
            left -= shares[nth];
        }
        for (nth, part) in parts.into_iter().enumerate() {
            if let Some(cause) = part.cause {
                self.judged(now, agent, part.slots, Verdict::SkippedCalendar, &cause);
            } else if let Some(slots) = self.leave_out_skipped(now, agent, part.slots) {
                let is_newest = Some(nth) == newest;
                let make_up = MakeUp {
                    most: shares[nth],
                    is_newest,
                    newer_starts: newer_starts && !is_newest,
                    outside: outside.as_deref(),
                };
                self.judge_active(now, agent, slots, around, caught_up, &make_up);
            }
        }
    }

    /// Why an event starts nothing now, if the agent does not start at this time.
    pub(super) fn outside_of_times(&self, now: Now, agent: u32) -> Option<(Verdict, String)> {
        let times = self.agents[agent as usize].spec.active_times.as_deref()?;
        times.at(now.wall).0.map(|cause| (Verdict::SkippedCalendar, cause))
    }
}

impl super::agent::AgentState {
    /// The first slot from `slot` on at which the agent starts.
    pub(super) fn first_active(&self, slot: Timestamp) -> Option<Timestamp> {
        match (&self.spec.active_times, &self.spec.schedule) {
            (None, _) => Some(slot),
            // where the one after it lies is not known
            (Some(times), Schedule::After(_)) => Some(slot).filter(|slot| times.at(*slot).0.is_none()),
            (Some(times), _) => times.first_active(|after| self.calendar().next_after(after), slot),
        }
    }
}

/// Cuts slots that passed together where it changes whether they may start.
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
        // no slot is lost or counted twice, whatever the calendar counts
        let of_later = (count - nth - 1) as u64;
        let slots = calendar.count(part.slots.first, part.slots.last).min(left - of_later).max(1);
        part.slots.count = if nth + 1 == count { left } else { slots };
        left -= part.slots.count;
    }
    parts
}
