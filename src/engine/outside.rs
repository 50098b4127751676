//! Agents started by arrivals from outside the fleet: files (`on = { file = … }`), deliveries to webhooks (`on = {
//! webhook = … }`) and events of MCP servers (`on = { mcp = … }`).
//!
//! Each arrival gets its outcome in the transaction that records it: a claimed run, or the reason why there is
//! none. Arrivals that are not taken now are not recorded: they stay at their source and are offered again.
use super::agent::AgentState;
use super::{Engine, EventsPolled};
use crate::domain::*;
use std::sync::Arc;

/// Maximum number of runs of one agent in flight or waiting; further arrivals are taken later.
const MAX_LIVE_RUNS: usize = 1000;

impl Engine {
    /// Takes files in order; returns how many. None are taken for an agent that is stopped or whose trigger has
    /// changed, nor during a shutdown.
    pub(super) fn files_arrived(
        &mut self,
        now: Now,
        agent: &AgentId,
        by: &FileTrigger,
        files: Vec<FoundFile>,
    ) -> usize {
        let Ok(agent) = self.index(agent) else { return 0 };
        let mut taken = 0;
        for file in files {
            if self.room_for_files(agent, by) == 0 {
                break;
            }
            self.arrived(now, agent, Payload::FileArrived(file.told()), file.mark(), None);
            taken += 1;
        }
        self.chain = 0;
        taken
    }

    /// Takes events of an MCP server in order; returns how many. The cursor, and what the server left out, are
    /// recorded with the last of them: so none is lost or processed twice, wherever a crash comes. None are taken
    /// in the same cases as for files.
    pub(super) fn events_polled(
        &mut self,
        now: Now,
        agent: &AgentId,
        by: &McpTrigger,
        polled: EventsPolled,
    ) -> usize {
        let Ok(agent) = self.index(agent) else { return 0 };
        let is_awaited =
            |state: &AgentState| matches!(&state.spec.schedule, Schedule::Mcp(mcp) if **mcp == *by);
        if !self.takes(agent, is_awaited) {
            return 0;
        }
        let EventsPolled { events, cursor, skipped } = polled;
        if let Some(why) = skipped {
            let id = self.agents[agent as usize].spec.id.clone();
            let skipped =
                McpEventsSkipped { server: by.server.to_string(), event: by.event.to_string(), why };
            self.push(now, Fact::EventsSkipped { agent: id, skipped });
        }
        let all = events.len();
        let taken = all.min(self.room(agent));
        for event in events.into_iter().take(taken) {
            let passes = event.left_out.map(|bytes| {
                let most = McpTrigger::LONGEST_DATA >> 10;
                (
                    Verdict::Dropped,
                    format!("its data has {} KiB, and {most} KiB are the most", bytes.div_ceil(1024)),
                )
            });
            self.arrived(now, agent, Payload::McpEventReceived(event), String::new(), passes);
        }
        if let (Some(cursor), true) = (cursor, taken == all) {
            let agent = self.agents[agent as usize].spec.id.clone();
            self.chain = 0;
            self.push(now, Fact::CursorMoved { agent, source: by.key(), cursor });
        }
        self.chain = 0;
        taken
    }

    /// Returns how many files an agent can take at once.
    pub(super) fn room_for_files(&self, agent: u32, by: &FileTrigger) -> usize {
        let is_awaited =
            |state: &AgentState| matches!(&state.spec.schedule, Schedule::File(file) if **file == *by);
        if self.takes(agent, is_awaited) { self.room(agent) } else { 0 }
    }

    /// Returns how many events an agent can take at once.
    pub(super) fn room_for_events(&self, agent: u32) -> usize {
        if self.takes(agent, |_| true) { self.room(agent) } else { 0 }
    }

    fn takes(&self, agent: u32, is_awaited: impl Fn(&AgentState) -> bool) -> bool {
        let state = &self.agents[agent as usize];
        is_awaited(state) && state.desired != Desired::Stopped && !self.stopping
    }

    /// Returns how many more runs the agent may have.
    fn room(&self, agent: u32) -> usize {
        MAX_LIVE_RUNS.saturating_sub(self.agents[agent as usize].live.len())
    }

    /// Handles a delivery to a webhook. Returns the number of agents that have an outcome for it: those that wait
    /// for it and are not stopped. There are none during a shutdown: the sender repeats it.
    pub(super) fn delivered(&mut self, now: Now, delivery: &WebhookReceived) -> usize {
        let waits = |state: &AgentState| {
            let is_awaited =
                matches!(&state.spec.schedule, Schedule::Webhook(name) if **name == *delivery.webhook);
            is_awaited && !state.removed && state.desired != Desired::Stopped
        };
        let waiting = (0u32..).zip(&self.agents).filter(|(_, state)| waits(state) && !self.stopping);
        let waiting: Vec<u32> = waiting.map(|(agent, _)| agent).collect();
        for agent in &waiting {
            self.arrived(now, *agent, Payload::WebhookReceived(delivery.clone()), String::new(), None);
        }
        self.chain = 0;
        waiting.len()
    }

    /// Returns why a delivery is dropped if too many runs wait. Files stay where they are until there is room; a
    /// delivery can't.
    fn too_many_live(&self, agent: u32) -> Option<(Verdict, String)> {
        let live = self.agents[agent as usize].live.len();
        let cause = || format!("the queue is full: {live} runs are in flight or wait");
        (live >= MAX_LIVE_RUNS).then(|| (Verdict::Dropped, cause()))
    }

    /// Records an arrival, then starts a run or records why not. `unfit`: why it can't start a run in any case.
    fn arrived(
        &mut self,
        now: Now,
        agent: u32,
        payload: Payload,
        mark: String,
        unfit: Option<(Verdict, String)>,
    ) {
        let state = &self.agents[agent as usize];
        let event = Event {
            seq: Seq(0),
            ts: now.wall,
            agent_id: Some(state.spec.id.clone()),
            run_id: None,
            session_id: None,
            payload,
        };
        let paused = (state.desired == Desired::Paused).then(|| (Verdict::SkippedPaused, state.why_paused()));
        self.chain = 0;
        self.push(now, Fact::Arrived { event: Box::new(event.clone()), mark });
        self.chain = 1;
        let passes = unfit.or(paused).or_else(|| self.outside_of_times(now, agent));
        let passes = passes.or_else(|| self.too_many_live(agent));
        match passes.or_else(|| self.obstacle(now, agent, Trigger::Event)) {
            None => self.start_for_event(now, agent, Arc::new(event)),
            Some((verdict, cause)) => self.passed(now, agent, &event, verdict, &cause),
        }
    }
}
