//! Watchdogs: agents without a completed run after a due slot (`late_after`), and runs that take too long
//! (`slow_after`). Each is an incident of the agent until it is resolved, and reported as `late` or `slow`.
//!
//! Both count time while the machine is awake, independent of the wall clock. Across a restart the wall clock is
//! used, and what was reported before is not reported again.
use super::incident::{late_key, slow_key};
use super::{Engine, Place};
use crate::domain::*;

impl Engine {
    /// Expects a completed run from now on, since a slot of the agent was due.
    pub(super) fn expect_success(&mut self, now: Now, agent: u32) {
        let state = &mut self.agents[agent as usize];
        let Some(after) = state.spec.late_after else { return };
        if state.awaited_since.is_some() || state.desired != Desired::Active || state.removed {
            return;
        }
        state.awaited_since = Some(now.wall);
        state.late_at = Some(now.mono + after);
        self.late.insert((now.mono + after, agent));
        self.touch(agent);
    }

    /// Stops expecting a run: one completed, a gate had nothing to do, or the agent is not to run.
    fn stop_expecting(&mut self, agent: u32) {
        let state = &mut self.agents[agent as usize];
        if let Some(at) = state.late_at.take() {
            self.late.remove(&(at, agent));
        }
        if state.awaited_since.take().is_some() {
            self.touch(agent);
        }
    }

    /// Resumes the lateness timer of an agent after a restart or a change of configuration.
    pub(super) fn resume_expectation(&mut self, now: Now, agent: u32) {
        let state = &mut self.agents[agent as usize];
        let Some(since) = state.awaited_since else { return };
        let Some(after) = state.spec.late_after.filter(|_| state.desired == Desired::Active) else {
            return self.stop_expecting(agent);
        };
        if let Some(at) = state.late_at.take() {
            self.late.remove(&(at, agent));
        }
        let key = late_key(&state.spec.id);
        let known = self.incidents.get(&agent).and_then(|keys| keys.get(&key));
        if known.is_some_and(IncidentRecord::is_open) {
            return; // already reported
        }
        let waited = now.wall.duration_since(since).clamp(jiff::SignedDuration::ZERO, after);
        let at = now.mono + (after - waited);
        let state = &mut self.agents[agent as usize];
        state.late_at = Some(at);
        self.late.insert((at, agent));
        if since > now.wall {
            state.awaited_since = Some(now.wall); // written by a clock that was ahead
            self.touch(agent);
        }
    }

    /// Handles the expected completion: the agent is no longer late.
    pub(super) fn answered(&mut self, now: Now, agent: u32) {
        self.stop_expecting(agent);
        let key = late_key(&self.agents[agent as usize].spec.id);
        self.resolve_overdue(now, agent, &key, "no longer late");
    }

    /// Cancels the expectation because the agent is not to run. A lateness incident is closed without a message.
    pub(super) fn cancel_expectation(&mut self, now: Now, agent: u32) {
        self.stop_expecting(agent);
        let key = late_key(&self.agents[agent as usize].spec.id);
        if let Some(incident) = self.incidents.get_mut(&agent).and_then(|keys| keys.remove(&key)) {
            self.close_incident(now, incident);
        }
    }

    /// Starts the slowness timer of an attempt; after a restart the run may be slow already.
    pub(super) fn watch_run(&mut self, now: Now, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let (Some(after), None) = (run.spec.slow_after, run.slow_at) else { return };
        if !run.record.mode.is_normal() {
            return;
        }
        let at = run.started_mono.unwrap_or(now.mono) + after;
        run.slow_at = Some(at);
        if at <= now.mono {
            return self.is_slow(now, id);
        }
        self.slow.insert((at, id));
    }

    /// Stops the slowness timer of a run that is over; returns whether it was slow.
    pub(super) fn unwatch_run(&mut self, now: Now, run: &super::Run) -> bool {
        if let Some(at) = run.slow_at {
            self.slow.remove(&(at, run.record.run));
        }
        let others = &self.agents[run.agent as usize].live;
        let others_are = others.iter().any(|id| self.runs.get(id).is_some_and(|run| run.is_slow));
        // also resolves an incident from before a restart, even if this run is not known to be slow
        if !others_are {
            let key = slow_key(&run.spec.id);
            self.resolve_overdue(now, run.agent, &key, "no run is slow any more");
        }
        run.is_slow
    }

    /// Handles all lateness and slowness timers that have expired.
    pub(super) fn watch(&mut self, now: Now) {
        while let Some((at, agent)) = self.late.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.late.remove(&(at, agent));
            self.agents[agent as usize].late_at = None;
            self.is_late(now, agent);
        }
        while let Some((at, id)) = self.slow.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.slow.remove(&(at, id));
            self.is_slow(now, id);
        }
    }

    /// Returns descriptions of the open `late` and `slow` incidents of an agent.
    pub(super) fn overdue(&self, id: &AgentId) -> Vec<String> {
        let keys = self.by_id.get(id).and_then(|agent| self.incidents.get(agent));
        let of_ours = [("late", late_key(id)), ("slow", slow_key(id))];
        let open = of_ours.iter().filter_map(|(word, key)| Some((word, keys?.get(key)?)));
        open.filter(|(_, incident)| incident.is_open())
            .map(|(word, incident)| format!("{word}: {}", incident.title))
            .collect()
    }

    fn is_late(&mut self, now: Now, agent: u32) {
        let state = &self.agents[agent as usize];
        let (Some(after), Some(since)) = (state.spec.late_after, state.awaited_since) else { return };
        if state.removed {
            return;
        }
        let (id, last_success) = (state.spec.id.clone(), state.last_success);
        let last = match last_success {
            Some(at) => format!("the last one that completed did so at {at:.0}"),
            None => "none has completed so far".to_owned(),
        };
        let title = format!("no run has completed within {} of its slot", human_duration(after));
        self.push(now, Fact::AgentLate { agent: id.clone(), since, late_after: after, last_success });
        let body = format!("It was due at {since:.0}; {last}. `bgagent why {id}` says more.");
        let notice =
            Notice::new(&id, TellOn::Late, format!("{id}: late: {title}"), body).keyed(late_key(&id));
        self.tell(now, agent, notice);
        self.report_overdue(now, agent, None, late_key(&id), Level::Crit, title);
    }

    fn is_slow(&mut self, now: Now, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(after) = run.spec.slow_after else { return };
        if let Place::Waiting(_) = run.place {
            // time spent waiting for a person does not count
            let at = now.mono + after;
            run.slow_at = Some(at);
            self.slow.insert((at, id));
            return;
        }
        run.is_slow = true;
        let (agent, name) = (run.agent, run.spec.id.clone());
        let title = format!("run {} takes longer than {}", id.short(), human_duration(after));
        let known = self.incidents.get(&agent).and_then(|keys| keys.get(&slow_key(&name)));
        if known.is_some_and(|known| known.is_open() && known.title == title) {
            return; // reported before a restart
        }
        self.push(now, Fact::RunSlow { run: id, agent: name.clone(), slow_after: after });
        let body = format!("`bgagent show {}` says what it does.", id.short());
        let notice = Notice::new(&name, TellOn::Slow, format!("{name}: slow: {title}"), body);
        self.tell(now, agent, notice.keyed(slow_key(&name)).of_run(id));
        self.report_overdue(now, agent, Some(id), slow_key(&name), Level::Warn, title);
    }

    fn report_overdue(
        &mut self,
        now: Now,
        agent: u32,
        run: Option<RunId>,
        key: String,
        level: Level,
        title: String,
    ) {
        let finding = Finding { key, level, title, hold_for: jiff::SignedDuration::ZERO, by: FoundBy::Check };
        self.finding(now, agent, run, &finding);
    }

    /// Resolves the incident of this key, if there is one, and notifies those who received it.
    fn resolve_overdue(&mut self, now: Now, agent: u32, key: &str, words: &str) {
        let Some(known) = self.incidents.get(&agent).and_then(|keys| keys.get(key)).cloned() else { return };
        let state = &self.agents[agent as usize];
        let id = &state.spec.id;
        let told = state.spec.notify.as_ref().is_some_and(|notify| {
            let on = if *key == late_key(id) { TellOn::Late } else { TellOn::Slow };
            notify.on.contains(&on)
        });
        if told {
            let notice = Notice::new(id, TellOn::Recovered, format!("{id}: {words}"), String::new());
            self.tell(now, agent, notice.keyed(key));
        }
        self.good(now, agent, Some(known));
    }
}
