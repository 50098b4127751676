//! Whom to tell of what, and how often (section 6). Delivery is left to `notify`.
use super::Engine;
use crate::domain::*;

impl Engine {
    /// Puts one message per target into the outbox, if the agent asks for this kind of news.
    pub(super) fn tell(
        &mut self,
        now: Now,
        agent: u32,
        about: TellOn,
        subject: String,
        body: String,
    ) -> bool {
        let state = &self.agents[agent as usize];
        let Some(notify) = state.spec.notify.clone().filter(|notify| notify.on.contains(&about)) else {
            return false;
        };
        let id = state.spec.id.clone();
        for target in &notify.to {
            let (target, agent) = (target.clone(), id.clone());
            let (subject, body) = (subject.clone(), body.clone());
            self.push(now, Fact::NotificationQueued { target, agent, about, subject, body });
        }
        true
    }

    /// True if a problem that was last told at `told_at` may be told (again) now.
    pub(super) fn may_tell(&self, now: Now, agent: u32, told_at: Option<jiff::Timestamp>) -> bool {
        let repeat = self.agents[agent as usize].spec.notify.as_ref().map(|notify| notify.repeat);
        match (told_at, repeat) {
            (None, _) => true,
            (Some(told), Some(repeat)) => now.wall.duration_since(told) >= repeat,
            (Some(_), None) => false,
        }
    }

    /// A run failed, after its retries.
    pub(super) fn tell_failed(&mut self, now: Now, agent: u32, message: &str) {
        let state = &self.agents[agent as usize];
        if !self.may_tell(now, agent, state.told_at) {
            return;
        }
        let subject = match state.counters.errors_in_row {
            0 | 1 => format!("{}: failed", state.spec.id),
            n => format!("{}: still failing, {n} times in a row", state.spec.id),
        };
        if self.tell(now, agent, TellOn::Failed, subject, message.to_owned()) {
            self.agents[agent as usize].told_at = Some(now.wall);
        }
    }

    /// A run completed after failures that were told.
    pub(super) fn tell_recovered(&mut self, now: Now, agent: u32) {
        if self.agents[agent as usize].told_at.take().is_some() {
            let subject = format!("{}: works again", self.agents[agent as usize].spec.id);
            self.tell(now, agent, TellOn::Recovered, subject, String::new());
        }
    }

    /// Slots were missed and are not made up for.
    pub(super) fn tell_missed(&mut self, now: Now, agent: u32, count: u64, why: &str) {
        let subject = format!("{}: {} missed", self.agents[agent as usize].spec.id, counted(count, "run"));
        self.tell(now, agent, TellOn::Missed, subject, why.to_owned());
    }
}
