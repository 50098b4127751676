//! Slots: which are due, which were missed, and the one verdict that each of them gets (section 4).
use super::queue::RunClaim;
use super::{CancelCause, Engine, Place};
use crate::domain::*;
use jiff::{SignedDuration, Timestamp};

/// A slot seen later than this for a known reason was missed, and is not merely late.
const LATENESS_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);
/// Delay of catch-up runs after a start or a wake-up, to let the network come up.
const CATCH_UP_SETTLE_DELAY: SignedDuration = SignedDuration::from_secs(3);
/// Differences between two clock readings below this are noise, not a suspend or a jump.
pub(super) const NOISE: SignedDuration = SignedDuration::from_secs(1);
/// Without a configured `spread`, catch-up runs start this far apart.
const CATCH_UP_SPACING: SignedDuration = SignedDuration::from_millis(100);
/// Upper bound of the default spread.
const MAX_DEFAULT_SPREAD: SignedDuration = SignedDuration::from_mins(5);

/// Returns why slots between two clock readings were missed, if they were.
pub(super) fn missed_verdict(gap: Gap) -> Option<Verdict> {
    let slept = gap.asleep > NOISE;
    let jumped = gap.jumped > NOISE;
    match (slept, jumped) {
        (true, true) if gap.jumped > gap.asleep => Some(Verdict::MissedClock),
        (true, _) => Some(Verdict::MissedSleep),
        (false, true) => Some(Verdict::MissedClock),
        (false, false) => None,
    }
}

/// Returns the longest delay of a catch-up run of this agent.
pub(super) fn longest_catch_up_delay(spec: &AgentSpec) -> SignedDuration {
    let many = CATCH_UP_SPACING * i32::try_from(spec.catch_up.max).unwrap_or(i32::MAX);
    CATCH_UP_SETTLE_DELAY
        + spec
            .catch_up
            .spread
            .map_or(MAX_DEFAULT_SPREAD, |spread| spread.saturating_add(many))
            .max(MAX_DEFAULT_SPREAD)
}

/// Returns the cause text for slots that were missed together.
fn in_words(missed: Verdict, lost: Option<LostRecords>, passed: Passed) -> String {
    let why = cause_text(missed);
    let lost = lost.filter(|_| missed == Verdict::MissedDowntime);
    match lost.map(|lost| (lost.holds(passed.first), lost.holds(passed.last), lost.in_words())) {
        Some((true, true, words)) => words,
        Some((true, false, words)) => format!("{why}, or {words}"),
        _ => why.to_owned(),
    }
}

fn cause_text(missed: Verdict) -> &'static str {
    match missed {
        Verdict::MissedDowntime => "the daemon was not running",
        Verdict::MissedSleep => "the machine was asleep",
        Verdict::MissedClock => "the clock was set forward",
        Verdict::RefusedStorage => "the database could not be written",
        _ => "the daemon was busy",
    }
}

/// Slots of one agent that passed together: `count` of them, from `first` to `last`.
#[derive(Clone, Copy)]
pub(super) struct Passed {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u64,
}

/// The circumstances of slots that passed together.
#[derive(Clone, Copy)]
pub(super) struct SlotContext {
    /// The slot after them, in the future.
    pub(super) next: Option<Timestamp>,
    /// The verdict of those that came too late, if the reason is known.
    pub(super) missed: Option<Verdict>,
}

/// Catch-up limits for some slots that passed together with others at which the agent does not start.
pub(super) struct CatchUpLimits<'a> {
    /// Maximum number of catch-up runs for them.
    pub(super) most: u64,
    /// None of the slots after them may start.
    pub(super) is_newest: bool,
    /// Some slots before them may start.
    pub(super) has_older: bool,
    /// The newest slot of all that passed, and the number of catch-up runs planned before this agent's. `None` if
    /// these are all slots.
    pub(super) among: Option<(Timestamp, u64)>,
    /// A newer slot catches up for them.
    pub(super) newer_starts: bool,
    /// Why the agent must not start now.
    pub(super) outside: Option<&'a str>,
}

impl CatchUpLimits<'_> {
    /// No limits besides the agent's own catch-up rule.
    pub(super) const ALL: Self = Self {
        most: u64::MAX,
        is_newest: true,
        has_older: false,
        among: None,
        newer_starts: false,
        outside: None,
    };
}

impl Engine {
    /// Judges every slot that is due. `missed` is the verdict for those that came too late.
    pub(super) fn fire(&mut self, now: Now, missed: Option<Verdict>) {
        let mut caught_up = 0;
        while let Some(&(_, agent)) = self.due.first().filter(|(due, _)| *due <= now.wall) {
            self.judge(now, agent, now.wall, missed, &mut caught_up);
        }
    }

    /// Judges the slots of a paused agent that were due by the end of its pause, `until`.
    pub(super) fn pass_pause(&mut self, now: Now, agent: u32, until: Timestamp) {
        while self.agents[agent as usize].next_due.is_some_and(|due| due <= until) {
            self.judge(now, agent, until, None, &mut 0);
        }
    }

    /// Judges the slots of one agent that are due at `until`.
    fn judge(
        &mut self,
        now: Now,
        agent: u32,
        until: Timestamp,
        missed: Option<Verdict>,
        caught_up: &mut u64,
    ) {
        let state = &self.agents[agent as usize];
        let first = state.next_slot.expect("an agent in the due set has a coming slot");
        let passed = state.passed(first, until);
        let next = match state.spec.schedule {
            // the next one is due after the end of the run, or this long from now if none starts
            Schedule::After(delay) => until.checked_add(delay).ok(),
            _ => state.next_after(passed.last),
        };
        let passed_last = passed.last;
        let next = match state.spec.schedule {
            Schedule::After(_) => next.map(|slot| state.first_free_instant(slot)),
            _ => next,
        };
        self.schedule(agent, next);
        self.touch(agent);
        let state = &mut self.agents[agent as usize];
        state.judge_until(passed.last);
        let around = SlotContext { next, missed };
        if state.desired == Desired::Active {
            let unseen = if let Some(times) = state.spec.active_times.clone() {
                self.judge_by_times(now, agent, &times, passed, around, caught_up)
            } else if let Some(passed) = self.leave_out_skipped(now, agent, passed) {
                self.judge_active(now, agent, passed, around, caught_up, &CatchUpLimits::ALL)
            } else {
                0
            };
            if let Some(missed) = missed.filter(|_| unseen > 0) {
                let why = in_words(missed, self.lost, passed);
                self.notify_missed(now, agent, unseen, &why);
            }
        } else {
            state.skip_next = false;
            let cause = state.why_paused();
            self.judged(now, agent, passed, Verdict::SkippedPaused, &cause);
        }
        // a one-shot agent has had its only slot
        if self.agents[agent as usize].spec.schedule.last_moment().is_some_and(|last| last <= passed_last) {
            self.finish_one_shot(now, agent);
        }
    }

    /// Judges slots that may start. Returns how many were missed and are not caught up.
    pub(super) fn judge_active(
        &mut self,
        now: Now,
        agent: u32,
        passed: Passed,
        around: SlotContext,
        caught_up: &mut u64,
        make_up: &CatchUpLimits<'_>,
    ) -> u64 {
        let missed = around.missed;
        let late = now.wall.duration_since(self.agents[agent as usize].due_of(passed.last));
        let too_late = missed.filter(|_| late > LATENESS_TOLERANCE);
        // with `catch_up = "all"`, several slots run one after the other, including the newest
        let one_by_one = (passed.count > 1 || make_up.has_older)
            && self.agents[agent as usize].spec.catch_up.policy == CatchUpPolicy::All;
        let regular = (make_up.is_newest && too_late.is_none() && !one_by_one).then_some(passed.last);
        let unseen = match self.before_regular(agent, passed, regular) {
            Some(earlier) => self.missed(now, agent, earlier, around, regular, caught_up, make_up),
            None => 0,
        };
        if let Some(slot) = regular {
            self.start_slot(now, agent, slot, Trigger::Schedule, None, "");
        }
        unseen
    }

    /// Skips the next slot if a person requested that; returns the remaining slots.
    pub(super) fn leave_out_skipped(&mut self, now: Now, agent: u32, passed: Passed) -> Option<Passed> {
        let state = &mut self.agents[agent as usize];
        if !std::mem::take(&mut state.skip_next) {
            return Some(passed);
        }
        let one = Passed { last: passed.first, count: 1, ..passed };
        let first = state.calendar().next_after(passed.first);
        self.judged(now, agent, one, Verdict::SkippedPaused, "skipped by hand");
        (passed.count > 1).then(|| Passed {
            first: first.unwrap_or(passed.last),
            last: passed.last,
            count: passed.count - 1,
        })
    }

    /// Returns the slots before the one that starts regularly; all of them if none does.
    fn before_regular(&self, agent: u32, passed: Passed, regular: Option<Timestamp>) -> Option<Passed> {
        let Some(slot) = regular else { return Some(passed) };
        (passed.count > 1).then(|| Passed {
            last: self.agents[agent as usize].calendar().prev_before(slot).unwrap_or(passed.first),
            count: passed.count - 1,
            ..passed
        })
    }

    /// Judges slots that were not seen in time. `regular` is the later slot that starts now, if one does. Returns
    /// how many were missed and are not caught up.
    #[expect(clippy::too_many_arguments, reason = "the place of the slots in time is all of these together")]
    fn missed(
        &mut self,
        now: Now,
        agent: u32,
        passed: Passed,
        around: SlotContext,
        regular: Option<Timestamp>,
        caught_up: &mut u64,
        make_up: &CatchUpLimits<'_>,
    ) -> u64 {
        let SlotContext { next, missed } = around;
        let state = &self.agents[agent as usize];
        let rule = state.spec.catch_up;
        let (verdict, in_line) = match (missed, rule.policy) {
            (Some(verdict), _) => (verdict, 0),
            // late without a known reason: the daemon was busy or blocked. `all` catches up here, too, but the
            // backlog must not keep growing where the machine can't keep up
            (None, CatchUpPolicy::All) => (Verdict::Superseded, state.live.len() as u64),
            // a newer slot supersedes them
            (None, CatchUpPolicy::Latest | CatchUpPolicy::None) => {
                self.judged(now, agent, passed, Verdict::Superseded, cause_text(Verdict::Superseded));
                return 0;
            }
        };
        let why = in_words(verdict, self.lost, passed);
        let fresh = |slot: Timestamp| rule.max_age.is_none_or(|age| now.wall.duration_since(slot) <= age);
        let wanted = match rule.policy {
            CatchUpPolicy::None => 0,
            CatchUpPolicy::Latest => 1,
            CatchUpPolicy::All => u64::from(rule.max).saturating_sub(in_line),
        }
        .min(make_up.most);
        let mut chosen = Vec::new();
        let mut at = Some(passed.last);
        while let Some(slot) = at.filter(|slot| {
            (chosen.len() as u64) < wanted.min(passed.count) && *slot >= passed.first && fresh(*slot)
        }) {
            chosen.push(slot);
            at = state.calendar().prev_before(slot);
        }
        let close = regular.or(next).is_some_and(|next| {
            next.duration_since(now.wall) <= superseding_distance(next.duration_since(passed.last))
        });
        if rule.policy == CatchUpPolicy::Latest && close && !chosen.is_empty() {
            let cause = format!("{why}; the next slot comes soon");
            self.judged(now, agent, passed, Verdict::Superseded, &cause);
            return 0;
        }
        let mut unseen = 0;
        let left = passed.count - chosen.len() as u64;
        if left > 0 {
            let last =
                chosen.last().map_or(Some(passed.last), |oldest| state.calendar().prev_before(*oldest));
            let earlier = Passed { last: last.unwrap_or(passed.first), count: left, ..passed };
            if rule.policy == CatchUpPolicy::Latest && (make_up.newer_starts || !chosen.is_empty()) {
                let cause = format!("{why}; caught up by the newest of them");
                self.judged(now, agent, earlier, Verdict::Superseded, &cause);
            } else {
                let not_now = make_up.outside.filter(|_| rule.policy != CatchUpPolicy::None);
                let not_now = not_now.map_or_else(String::new, |why| {
                    format!("; not caught up, since nothing may start now: {why}")
                });
                self.judged(now, agent, earlier, verdict, &format!("{why}{not_now}"));
                unseen = if missed.is_some() { earlier.count } else { 0 };
            }
        }
        let (newest, before) = make_up.among.unwrap_or((passed.last, *caught_up));
        for slot in chosen.into_iter().rev() {
            let nth = i32::try_from(*caught_up - before).unwrap_or(i32::MAX);
            let delay = self.catch_up_delay(now, agent, newest, next, *caught_up, nth);
            self.start_slot(now, agent, slot, Trigger::CatchUp, Some(now.mono + delay), &why);
            *caught_up += 1;
        }
        unseen
    }

    /// Returns the delay of a catch-up run: it lets the network come up, and staggers runs that would start
    /// together; it ends before the midpoint of the time to the next slot. The run is the `nth` of its agent; older
    /// ones start first. `others` is the number planned before it in this decision.
    fn catch_up_delay(
        &self,
        now: Now,
        agent: u32,
        newest: Timestamp,
        next: Option<Timestamp>,
        others: u64,
        nth: i32,
    ) -> SignedDuration {
        let state = &self.agents[agent as usize];
        let spread = match state.spec.catch_up.spread {
            Some(spread) => jitter_of(&state.spec.id, newest, spread) + CATCH_UP_SPACING * nth,
            None => (CATCH_UP_SPACING * i32::try_from(others).unwrap_or(i32::MAX)).min(MAX_DEFAULT_SPREAD),
        };
        let room = next.map_or(SignedDuration::MAX, |next| next.duration_since(now.wall) / 2);
        (CATCH_UP_SETTLE_DELAY + spread).min(room).max(SignedDuration::ZERO)
    }

    /// Starts a run for a slot, or records what prevents it. `missed`: why it did not start when due.
    fn start_slot(
        &mut self,
        now: Now,
        agent: u32,
        slot: Timestamp,
        trigger: Trigger,
        not_before: Option<SignedDuration>,
        missed: &str,
    ) {
        let one = Passed { first: slot, last: slot, count: 1 };
        match self.obstacle(now, agent, trigger) {
            Some((verdict, cause)) if missed.is_empty() => self.judged(now, agent, one, verdict, &cause),
            // at its due time it was missed for a different reason
            Some((verdict, cause)) => {
                self.judged(now, agent, one, verdict, &format!("{missed}; not caught up: {cause}"));
            }
            None => {
                let cause = if missed.is_empty() { String::new() } else { format!("caught up: {missed}") };
                let claim = RunClaim { slot: Some(slot), not_before, ..RunClaim::of(trigger) };
                let run = self.claim(now, agent, claim);
                self.push(
                    now,
                    Fact::SlotsJudged {
                        agent: self.agents[agent as usize].spec.id.clone(),
                        first: slot,
                        last: slot,
                        count: 1,
                        verdict: Verdict::Ran,
                        cause,
                        run: Some(run),
                        extends: false,
                    },
                );
                self.agents[agent as usize].streak = None;
                self.expect_success(now, agent);
            }
        }
    }

    /// Returns what prevents a run that was not started manually: an open circuit, or a run in flight.
    pub(super) fn obstacle(&mut self, now: Now, agent: u32, trigger: Trigger) -> Option<(Verdict, String)> {
        // An event concerns only the body; a slot also serves the checks of the gate.
        let asks_gate = trigger != Trigger::Event && self.has_looking_gate(agent);
        if !asks_gate && let Some(held) = self.held_back(now, agent) {
            return Some(held);
        }
        let state = &self.agents[agent as usize];
        if trigger == Trigger::CatchUp && state.spec.catch_up.policy == CatchUpPolicy::All {
            return None; // they run one after the other
        }
        // Runs claimed during a shutdown can't begin before the next start of the daemon, so they don't block other
        // events until then. After the restart they begin one after the other.
        let waits_for_next_life =
            |id: &RunId| self.stopping && self.runs[id].place == Place::Ready && !self.runs[id].has_begun();
        // a backfill yields to regular slots: its runs fit in between
        let is_backfill = |id: &RunId| self.runs[id].record.past.is_some();
        let counts =
            |id: &&RunId| !is_backfill(id) && (trigger != Trigger::Event || !waits_for_next_life(id));
        let blocking = *state.live.iter().find(counts)?;
        let place = self.runs[&blocking].place;
        let doing = match (place, self.runs[&blocking].record.status) {
            (Place::Active, _) => "is still running",
            (Place::NoNode, _) => "waits for a node",
            (_, RunStatus::Retrying) => "waits for its next attempt",
            (_, RunStatus::WaitingApproval) => "waits for a person",
            _ => "waits to start",
        };
        match state.spec.overlap {
            Overlap::Parallel => None,
            Overlap::Skip => Some((Verdict::SkippedOverlap, format!("run {} {doing}", blocking.short()))),
            // arrivals don't supersede each other: each is queued
            Overlap::Queue if trigger == Trigger::Event && state.spec.schedule.is_from_outside() => None,
            Overlap::Queue => {
                let waits = state.live.iter().find(|id| {
                    let run = &self.runs[id];
                    run.place != Place::Active
                        && !is_backfill(id)
                        && run.record.status == RunStatus::Queued
                        && !(trigger == Trigger::Event && waits_for_next_life(id))
                });
                waits.map(|id| {
                    (Verdict::Dropped, format!("the queue is full: run {} waits already", id.short()))
                })
            }
            Overlap::CancelPrevious => {
                self.cancel_previous(now, agent);
                None
            }
        }
    }

    /// Returns what prevents the body of a run, whatever its gate says: an open circuit, or an exhausted budget.
    pub(super) fn held_back(&mut self, now: Now, agent: u32) -> Option<(Verdict, String)> {
        let state = &self.agents[agent as usize];
        if let Some(circuit) = state.circuit.filter(|circuit| now.wall < circuit.until) {
            let cause = format!(
                "its circuit is open after {} failures in a row, until {:.0}",
                state.counters.errors_in_row, circuit.until
            );
            return Some((Verdict::RefusedCircuit, cause));
        }
        self.refused_by_budget(now, agent).map(|cause| (Verdict::RefusedBudget, cause))
    }

    /// Returns whether the gate of this agent monitors something itself. Then it keeps running even if the body is
    /// held back.
    pub(super) fn has_looking_gate(&self, agent: u32) -> bool {
        let gate = self.agents[agent as usize].spec.gate.as_deref();
        gate.is_some_and(|gate| match &gate.body {
            CheckBody::Tool(call) => {
                matches!(self.fleet.kind_of(&call.tool), Some(ToolKind::Probe | ToolKind::Feed))
            }
            CheckBody::Command(_) => false,
        })
    }

    pub(super) fn cancel_previous(&mut self, now: Now, agent: u32) {
        for id in self.agents[agent as usize].live.clone() {
            let run = self.runs.get_mut(&id).expect("live runs are known");
            if run.record.past.is_some() {
                continue;
            }
            if run.place == Place::Active {
                run.cancelled.get_or_insert(CancelCause::NewerSlot);
                self.out.actions.push(super::Action::Cancel { run: id, kill: false });
            } else {
                self.pass_on_position(id);
                self.drop_waiting(now, id, "a newer slot takes its place");
            }
        }
    }

    /// Records a verdict other than `ran`.
    pub(super) fn judged(&mut self, now: Now, agent: u32, passed: Passed, verdict: Verdict, cause: &str) {
        let extends = self.extend_streak(agent, verdict, cause);
        if !matches!(verdict, Verdict::SkippedPaused | Verdict::SkippedCalendar | Verdict::Superseded) {
            self.expect_success(now, agent);
        }
        let state = &mut self.agents[agent as usize];
        state.counters.skipped += passed.count;
        let fact = Fact::SlotsJudged {
            agent: state.spec.id.clone(),
            first: passed.first,
            last: passed.last,
            count: passed.count,
            verdict,
            cause: cause.to_owned(),
            run: None,
            extends,
        };
        self.push(now, fact);
        self.touch(agent);
    }

    /// Returns whether this verdict extends the newest ledger record of the agent. If not, a new one begins.
    pub(super) fn extend_streak(&mut self, agent: u32, verdict: Verdict, cause: &str) -> bool {
        let state = &mut self.agents[agent as usize];
        let extends = state.streak.as_ref().is_some_and(|(v, c)| *v == verdict && **c == *cause);
        if !extends {
            state.streak = Some((verdict, cause.into()));
        }
        extends
    }

    /// Records a verdict for a slot whose time has come, but not yet its jitter, when its agent stops or gets
    /// another schedule.
    pub(super) fn drop_pending(&mut self, now: Now, agent: u32, why: &str) {
        let state = &mut self.agents[agent as usize];
        let Some(slot) = state.next_slot.filter(|slot| *slot <= now.wall) else { return };
        state.judge_until(slot);
        self.schedule(agent, None);
        self.judged(now, agent, Passed { first: slot, last: slot, count: 1 }, Verdict::Dropped, why);
    }

    /// Stops a one-shot agent whose only slot has been judged.
    pub(super) fn finish_one_shot(&mut self, now: Now, agent: u32) {
        self.schedule(agent, None);
        self.become_(now, agent, Desired::Stopped, Some(super::agent::DONE.into()), None);
    }
}

impl super::agent::AgentState {
    /// Returns the slots from `first`, which is due, to the last one due at `until`, but not past a slot that
    /// already has its verdict.
    fn passed(&self, first: Timestamp, until: Timestamp) -> Passed {
        let one = Passed { first, last: first, count: 1 };
        let calendar = self.calendar();
        let end =
            self.next_judged_after(first).map_or(until, |ahead| until.min(super::clock::before(ahead.first)));
        if calendar.next_after(first).is_none_or(|second| second > end) {
            return one;
        }
        let Some(mut last) = calendar.prev_before(end + SignedDuration::from_micros(1)) else { return one };
        if last > first && self.due_of(last) > until {
            last = calendar.prev_before(last).unwrap_or(first);
        }
        if last <= first { one } else { Passed { first, last, count: calendar.count(first, last) } }
    }
}

/// Returns how close the next regular slot must be to supersede a missed one: a tenth of the period (at most 5
/// minutes), but at least the delay before a catch-up could start.
fn superseding_distance(period: SignedDuration) -> SignedDuration {
    (period / 10).min(SignedDuration::from_mins(5)).max(CATCH_UP_SETTLE_DELAY)
}
