//! Events of MCP servers that start agents (`on = { mcp = … }`): polls their servers, and passes
//! new events to the engine.
//!
//! Each agent has its own poller, so that a server that hangs delays no other agent. Events go to
//! the engine, which records each with its outcome, and with the last of them the server's cursor,
//! in one transaction. After a crash before it, all of them are polled again, and after it, none;
//! known events are recognized by id (`Reader::known_events`). Events for which the engine has no
//! capacity wait here, and the server is not polled in the meantime.
use super::inbox::{Handle, Message};
use crate::domain::{AgentId, McpEventReceived, McpTrigger};
use crate::engine::{AwaitedEvents, EventsPolled};
use crate::mcp::{KeptServer, NoEvents, Polled};
use crate::store::{EventCursor, Reader, Store, StoreError};
use crate::tools::Tools;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Minimum interval between queries of the awaited events, and delay before a failed read is retried.
const QUERY_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum interval of those queries: agents may start or stop without an event.
const MAX_QUERY_INTERVAL: Duration = Duration::from_secs(60);
/// Timeout of a poll.
const POLL_TIMEOUT: Duration = Duration::from_secs(30);
/// Number of events requested at once. A server may return more.
const PAGE_EVENTS: usize = 100;
/// Maximum number of events of one agent passed to the engine at once.
const MAX_EVENTS_PER_BATCH: usize = 1000;
/// Maximum number of pages read without a pause; a server may claim forever that it has more.
const MAX_CONSECUTIVE_PAGES: u32 = 20;
/// Maximum pause after failures. How often a server that exits is started is limited by the server's own limits.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Number of consecutive failures that make a problem. A single one passes.
const FAILURES_UNTIL_PROBLEM: u32 = 2;
/// A server that is polled at least this often is kept running in between.
const KEEP_RUNNING_WITHIN: Duration = Duration::from_secs(600);
/// Minimum interval between warnings that a server has skipped events.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Passes events of MCP servers to the engine until the daemon shuts down.
pub(super) async fn run(
    store: Store,
    handle: Handle,
    tools: Arc<Mutex<Arc<Tools>>>,
    down: CancellationToken,
) {
    tokio::select! {
        () = down.cancelled() => {}
        () = supervise(&store, &handle, &tools, &down) => {}
    }
}

/// What an agent can accept now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Capacity {
    room: usize,
    is_stopped: bool,
}

/// A running poller.
struct RunningPoller {
    by: Arc<McpTrigger>,
    capacity: watch::Sender<Capacity>,
    /// Ends it, but not during a handover, whose result is awaited in any case.
    end: CancellationToken,
    task: JoinHandle<()>,
}

/// Runs a poller for each agent that waits for events.
async fn supervise(store: &Store, handle: &Handle, tools: &Arc<Mutex<Arc<Tools>>>, down: &CancellationToken) {
    let mut running: BTreeMap<AgentId, RunningPoller> = BTreeMap::new();
    let mut newest = store.newest();
    loop {
        newest.borrow_and_update();
        let asked = Instant::now();
        let Some(wanted) = handle.ask(|engine, _| engine.awaited_events()).await else { return };
        let is_wanted = |agent: &AgentId, one: &RunningPoller| {
            !one.task.is_finished() && wanted.iter().any(|wants| wants.agent == *agent && wants.by == one.by)
        };
        let stopped: Vec<(AgentId, RunningPoller)> =
            running.extract_if(.., |agent, one| !is_wanted(agent, one)).collect();
        for (agent, one) in stopped {
            one.end.cancel();
            if let Err(error) = one.task.await {
                tracing::error!(%agent, %error, "asking for events broke off, and is begun again");
            }
            handle.set_source(&agent, None);
        }
        for AwaitedEvents { agent, by, room, is_stopped } in wanted {
            let capacity = Capacity { room, is_stopped };
            if let Some(one) = running.get(&agent) {
                one.capacity.send_if_modified(|known| std::mem::replace(known, capacity) != capacity);
                continue;
            }
            let (sender, receiver) = watch::channel(capacity);
            let end = down.child_token();
            let poller = Poller {
                store: store.clone(),
                handle: handle.clone(),
                tools: tools.clone(),
                agent: agent.clone(),
                by: by.clone(),
                capacity: receiver,
                end: end.clone(),
                held: None,
                failures: 0,
                warned_at: None,
                warned_unfit: false,
            };
            let task = tokio::spawn(poller.run());
            running.insert(agent, RunningPoller { by, capacity: sender, end, task });
        }
        tokio::select! {
            changed = newest.changed() => match changed {
                Ok(()) => tokio::time::sleep_until(asked + QUERY_INTERVAL).await,
                Err(_) => return,
            },
            () = tokio::time::sleep(MAX_QUERY_INTERVAL) => {}
        }
    }
}

/// Polls the events of one agent.
struct Poller {
    store: Store,
    handle: Handle,
    tools: Arc<Mutex<Arc<Tools>>>,
    agent: AgentId,
    by: Arc<McpTrigger>,
    capacity: watch::Receiver<Capacity>,
    end: CancellationToken,
    /// Keeps the server running between two polls.
    held: Option<KeptServer>,
    /// Number of consecutive failures.
    failures: u32,
    /// Time of the last warning about skipped events.
    warned_at: Option<Instant>,
    warned_unfit: bool,
}

/// The cursor of a server. `None`: never polled.
type Cursor = Option<Option<String>>;

impl Poller {
    async fn run(mut self) {
        let end = self.end.clone();
        let Some(Some(mut cursor)) = end.run_until_cancelled(self.load_cursor()).await else { return };
        let mut due = Instant::now();
        let mut in_a_row = 0;
        loop {
            // the server of a stopped agent is not reported
            if self.capacity.borrow().is_stopped {
                self.handle.set_source(&self.agent, None);
            }
            let Some(Some(room)) = end.run_until_cancelled(self.wait_until_due(due)).await else { return };
            let most = room.min(PAGE_EVENTS);
            let Some(asked) = end.run_until_cancelled(self.ask(&cursor, most)).await else { return };
            let (polled, skipped) = match asked {
                Ok(asked) => asked,
                Err(why) => {
                    due = Instant::now() + self.failed(&why);
                    in_a_row = 0;
                    continue;
                }
            };
            self.succeeded();
            if polled.unfit > 0 && !std::mem::replace(&mut self.warned_unfit, true) {
                let (unfit, server, event) = (polled.unfit, &self.by.server, &self.by.event);
                tracing::warn!(agent = %self.agent, %server, unfit, "not all that the server gave are events of type {event}");
            }
            let has_moved = cursor.as_ref() != Some(&polled.cursor);
            let goes_on_at_once = polled.has_more && has_moved && in_a_row < MAX_CONSECUTIVE_PAGES;
            let every = Duration::try_from(self.by.every).unwrap_or(POLL_TIMEOUT);
            let pause =
                polled.next.and_then(|next| Duration::try_from(next).ok()).unwrap_or_default().max(every);
            let (next, events) = (polled.cursor, polled.events);
            self.held = Some(polled.held).filter(|_| pause <= KEEP_RUNNING_WITHIN);
            if !self.submit(events, has_moved.then(|| next.clone()), skipped).await {
                return;
            }
            cursor = Some(next);
            (due, in_a_row) = match goes_on_at_once {
                true => (Instant::now(), in_a_row + 1),
                false => (Instant::now() + pause, 0),
            };
        }
    }

    /// Returns the recorded cursor. `None`: the database is closed.
    async fn load_cursor(&self) -> Option<Cursor> {
        let (agent, source) = (self.agent.clone(), self.by.key());
        let known = self.read(move |reader| reader.event_cursor(&agent, &source)).await?;
        Some(known.map(|EventCursor(cursor)| cursor))
    }

    /// Reads from the database, retrying on errors. `None`: it is closed.
    async fn read<T: Send + 'static>(
        &self,
        question: impl Fn(&Reader) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Option<T> {
        loop {
            match self.store.read(question.clone()).await {
                Ok(answer) => return Some(answer),
                Err(StoreError::Closed) => return None,
                Err(error) => {
                    tracing::debug!(agent = %self.agent, %error, "which events have been could not be read; trying again");
                    tokio::time::sleep(QUERY_INTERVAL).await;
                }
            }
        }
    }

    /// Waits until the server is to be polled, and returns how many events the agent can accept.
    /// `None`: it no longer waits for any.
    async fn wait_until_due(&mut self, due: Instant) -> Option<usize> {
        tokio::time::sleep_until(due).await;
        let takes = self.capacity.wait_for(|capacity| !capacity.is_stopped && capacity.room > 0).await;
        Some(takes.ok()?.room)
    }

    /// Polls for events after the cursor. If the server refuses the cursor, it is given up with a
    /// warning: the server continues from now, and events in between are lost.
    async fn ask(&self, cursor: &Cursor, most: usize) -> Result<(Polled, Option<String>), NoEvents> {
        let tools = self.tools.lock().expect("no holder panics").clone();
        let before = cursor.as_ref().and_then(Option::as_deref);
        let polled = tools.servers().poll_events(&self.by, before, most, POLL_TIMEOUT).await;
        match (polled, before) {
            (Err(NoEvents::Refused(why)), Some(_)) => {
                // the arguments may be what is refused: then this poll fails, too
                let anew = tools.servers().poll_events(&self.by, None, most, POLL_TIMEOUT).await;
                let anew = anew.map_err(|_| NoEvents::Refused(why.clone()))?;
                Ok((
                    anew,
                    Some(format!("it no longer takes the place where it was, and goes on from now: {why}")),
                ))
            }
            (Ok(polled), Some(_)) if polled.truncated => {
                Ok((polled, Some("it no longer had all that came after the place where it was".to_owned())))
            }
            (polled, _) => polled.map(|polled| (polled, None)),
        }
    }

    /// Records a failure, and returns how long to pause.
    fn failed(&mut self, why: &NoEvents) -> Duration {
        self.held = None;
        self.failures = self.failures.saturating_add(1);
        let is_for_a_person = !matches!(why, NoEvents::Failed(_));
        if is_for_a_person || self.failures >= FAILURES_UNTIL_PROBLEM {
            let text = format!("its events can't be asked for: {}", why.text());
            if self.handle.set_source(&self.agent, Some(text.clone())) {
                tracing::warn!(agent = %self.agent, "{text}");
            }
        }
        let every = Duration::try_from(self.by.every).unwrap_or(POLL_TIMEOUT);
        let doubled = every.saturating_mul(2_u32.saturating_pow(self.failures.min(16) - 1));
        doubled.min(MAX_PAUSE.max(every))
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        if self.handle.set_source(&self.agent, None) {
            tracing::info!(agent = %self.agent, "its events can be asked for again");
        }
    }

    /// Has events recorded with their outcomes, and the cursor with the last of them. Returns false
    /// if the poller is to end.
    async fn submit(
        &mut self,
        events: Vec<McpEventReceived>,
        cursor: Cursor,
        skipped: Option<String>,
    ) -> bool {
        let mut skipped = skipped.filter(|why| {
            let is_new = self.warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL);
            if is_new {
                self.warned_at = Some(Instant::now());
                tracing::warn!(agent = %self.agent, server = %self.by.server, event = %self.by.event, "events were left out: {why}");
            }
            is_new
        });
        let mut rest = VecDeque::from(events);
        loop {
            let (room, is_stopped) = {
                let capacity = self.capacity.borrow();
                (capacity.room, capacity.is_stopped)
            };
            if (room == 0 || is_stopped) && !rest.is_empty() {
                let end = self.end.clone();
                // neither these events nor the cursor are recorded yet
                let Some(Some(_)) = end.run_until_cancelled(self.wait_until_due(Instant::now())).await else {
                    return false;
                };
                continue;
            }
            let chunk: Vec<McpEventReceived> = rest.drain(..rest.len().min(MAX_EVENTS_PER_BATCH)).collect();
            let Some(chunk) = self.without_known(chunk).await else { return false };
            let is_last = rest.is_empty();
            if chunk.is_empty() && !(is_last && (cursor.is_some() || skipped.is_some())) {
                if is_last {
                    return true;
                }
                continue;
            }
            let (answer, answered) = oneshot::channel();
            let polled = EventsPolled {
                events: chunk.clone(),
                cursor: if is_last { cursor.clone() } else { None },
                skipped: skipped.clone(),
            };
            let message =
                Message::EventsPolled { agent: self.agent.clone(), by: self.by.clone(), polled, answer };
            if self.handle.inbox.send(message).await.is_err() {
                return false;
            }
            let Ok(taken) = answered.await else { return false };
            if taken > 0 || chunk.is_empty() {
                skipped = None;
            }
            if taken >= chunk.len() {
                if is_last {
                    return true;
                }
                continue;
            }
            let mut left: VecDeque<McpEventReceived> = chunk.into_iter().skip(taken).collect();
            left.append(&mut rest);
            rest = left;
            // until the capacity is known
            let end = self.end.clone();
            if end.run_until_cancelled(tokio::time::sleep(QUERY_INTERVAL)).await.is_none() {
                return false;
            }
        }
    }

    /// Removes events that are already recorded. `None`: the database is closed.
    async fn without_known(&self, events: Vec<McpEventReceived>) -> Option<Vec<McpEventReceived>> {
        if events.is_empty() {
            return Some(events);
        }
        let ids: Arc<[String]> = events.iter().map(|event| event.id.clone()).collect();
        let (agent, by) = (self.agent.clone(), self.by.clone());
        let known =
            self.read(move |reader| reader.known_events(&agent, (&by.server, &by.event), &ids)).await?;
        Some(events.into_iter().filter(|event| !known.contains(&event.id)).collect())
    }
}
