//! Notifications: who gets which, and how often (section 6). Delivery is left to `notify`.
use super::incident::failing_key;
use super::{Engine, Run};
use crate::domain::*;
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Maximum length of a result excerpt, in characters.
const MAX_RESULT_CHARS: usize = 500;

/// Outcome of a run, for notifications.
pub(super) struct EndedRun<'a> {
    pub(super) result: Option<&'a str>,
    /// It is only the end of what the run printed.
    pub(super) result_is_cut: bool,
    pub(super) gate: Option<&'a str>,
    pub(super) exit_code: Option<i32>,
    pub(super) usage: Usage,
    pub(super) duration: SignedDuration,
    pub(super) warnings: &'a [String],
}

impl EndedRun<'_> {
    /// Returns the values for `{run.…}`, by the names of [`DeliverSpec::OF_RUN`].
    fn run_values(&self, now: Now, run: &Run) -> Value {
        let record = &run.record;
        json!({
            "id": record.run,
            "agent": run.spec.id,
            "attempt": record.attempt,
            "trigger": record.trigger,
            "slot": record.any_slot(),
            "started_at": record.started_at,
            "finished_at": now.wall,
            "duration": human_duration(self.duration),
            "requests": self.usage.requests,
            "tokens": self.usage.tokens(),
            "usd": format!("{:.4}", self.usage.usd),
            "exit_code": self.exit_code,
            "warnings": self.warnings,
        })
    }
}

impl Engine {
    /// Queues one message per target, if the agent subscribes to this kind. Returns whether it does.
    pub(super) fn tell(&mut self, now: Now, agent: u32, notice: Notice) -> bool {
        self.notify_except(now, agent, notice, &[])
    }

    /// Does the same, except for the targets in `but`, which have it already.
    pub(super) fn notify_except(&mut self, now: Now, agent: u32, notice: Notice, but: &[String]) -> bool {
        let notify = self.agents[agent as usize].spec.notify.clone();
        let Some(notify) = notify.filter(|notify| notify.on.contains(&notice.about)) else { return false };
        for target in notify.to.iter().filter(|target| !but.contains(target)) {
            let (target, notice) = (target.clone(), Box::new(notice.clone()));
            self.push(now, Fact::NotificationQueued { target, notice });
        }
        true
    }

    /// Delivers the result of a completed normal run to its recipients, and notifies the others that it completed.
    pub(super) fn notify_completed(&mut self, now: Now, run: &Run, ended: &EndedRun<'_>) {
        let spec = run.spec.clone();
        let mut have_it: &[String] = &[];
        if let Some(deliver) = spec.deliver.as_deref() {
            let end_of_it = ended.result.filter(|_| ended.result_is_cut).map(|result| {
                format!(
                    "[the end of its output; all of it: bgagent logs {}]\n{result}",
                    run.record.run.short()
                )
            });
            let result = end_of_it.as_deref().or(ended.result);
            let facts = DeliveryFacts::new(result, ended.gate, ended.run_values(now, run));
            if let Some((subject, body)) = deliver.words(&facts, run.record.run) {
                let notice = Notice::new(&spec.id, TellOn::Completed, subject, body).of_run(run.record.run);
                for target in &deliver.to {
                    let (target, notice) = (target.clone(), Box::new(notice.clone()));
                    self.push(now, Fact::NotificationQueued { target, notice });
                }
                have_it = &deliver.to;
            }
        }
        let subject = format!("{}: completed", spec.id);
        let body = cut_at_sentence(
            ended.result.unwrap_or_default().trim(),
            LengthUnit::Chars,
            MAX_RESULT_CHARS,
            &rest_of(run.record.run),
        );
        let notice =
            Notice::new(&spec.id, TellOn::Completed, subject, body.into_owned()).of_run(run.record.run);
        self.notify_except(now, run.agent, notice, have_it);
    }

    /// Returns whether a problem last reported at `told_at` may be reported (again) now.
    pub(super) fn may_notify(&self, now: Now, agent: u32, told_at: Option<jiff::Timestamp>) -> bool {
        let repeat = self.agents[agent as usize].spec.notify.as_ref().map(|notify| notify.repeat);
        match (told_at, repeat) {
            (None, _) => true,
            (Some(told), Some(repeat)) => now.wall.duration_since(told) >= repeat,
            (Some(_), None) => false,
        }
    }

    /// Reports a run that failed after its retries.
    pub(super) fn notify_failed(&mut self, now: Now, agent: u32, message: &str) {
        let state = &self.agents[agent as usize];
        if !self.may_notify(now, agent, state.told_at) {
            return;
        }
        let id = &state.spec.id;
        let subject = match state.counters.errors_in_row {
            0 | 1 => format!("{id}: failed"),
            n => format!("{id}: still failing, {n} times in a row"),
        };
        let notice = Notice::new(id, TellOn::Failed, subject, message.to_owned()).keyed(failing_key(id));
        if self.tell(now, agent, notice) {
            self.agents[agent as usize].told_at = Some(now.wall);
        }
    }

    /// Reports a completed run after failures that were reported.
    pub(super) fn notify_recovered(&mut self, now: Now, agent: u32) {
        if self.agents[agent as usize].told_at.take().is_some() {
            let id = &self.agents[agent as usize].spec.id;
            let notice = Notice::new(id, TellOn::Recovered, format!("{id}: works again"), String::new());
            let notice = notice.keyed(failing_key(id));
            self.tell(now, agent, notice);
        }
    }

    /// Reports slots that were missed and are not caught up.
    pub(super) fn notify_missed(&mut self, now: Now, agent: u32, count: u64, why: &str) {
        let id = &self.agents[agent as usize].spec.id;
        let subject = format!("{id}: {} missed", counted(count, "run"));
        let notice = Notice::new(id, TellOn::Missed, subject, why.to_owned());
        self.tell(now, agent, notice);
    }
}
