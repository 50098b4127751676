//! Events of MCP servers that start agents (`on = { mcp = … }`): asks their servers, and brings to the engine what is new.
//!
//! Each agent has a poller of its own, so that a server which hangs keeps nobody else waiting. What a server says goes to the
//! engine, which records each event with what came of it, and with the last of them where the server goes on: one transaction.
//! A crash before it leaves all of them to be asked for again, and one after it none; what has been is known by its id
//! (`Reader::known_events`). What the engine has no room for waits here, and the server is not asked meanwhile.
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

/// Between two questions which events are waited for, and before what could not be read is read again.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Agents may start or stop without any event: so often it is looked at the latest.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events that are asked for at once. A server may give more.
const PAGE: usize = 100;
/// Events of one agent that are handed over together.
const MOST_AT_ONCE: usize = 1000;
/// Pages that follow each other without a pause; a server may say without end that it has more.
const MOST_IN_A_ROW: u32 = 20;
/// The longest pause after failures. How often a server that dies is started is bounded by its own limits.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so many failures in a row it is a problem. One alone passes.
const FAILURES: u32 = 2;
/// A server that is asked at least so often is kept running in between.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// That a server has left out events is told no more often.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// Brings events of MCP servers to the engine until the daemon goes down.
pub(super) async fn run(
    store: Store,
    handle: Handle,
    tools: Arc<Mutex<Arc<Tools>>>,
    down: CancellationToken,
) {
    tokio::select! {
        () = down.cancelled() => {}
        () = look_after(&store, &handle, &tools, &down) => {}
    }
}

/// What an agent can take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    room: usize,
    is_stopped: bool,
}

/// A poller that runs.
struct Running {
    by: Arc<McpTrigger>,
    standing: watch::Sender<Standing>,
    /// Ends it, but not while it hands something over: whether that was taken is heard in any case.
    end: CancellationToken,
    task: JoinHandle<()>,
}

/// Has a poller run for each agent that waits for events.
async fn look_after(
    store: &Store,
    handle: &Handle,
    tools: &Arc<Mutex<Arc<Tools>>>,
    down: &CancellationToken,
) {
    let mut running: BTreeMap<AgentId, Running> = BTreeMap::new();
    let mut newest = store.newest();
    loop {
        newest.borrow_and_update();
        let asked = Instant::now();
        let Some(wanted) = handle.ask(|engine, _| engine.awaited_events()).await else { return };
        let is_wanted = |agent: &AgentId, one: &Running| {
            !one.task.is_finished() && wanted.iter().any(|wants| wants.agent == *agent && wants.by == one.by)
        };
        let gone: Vec<(AgentId, Running)> =
            running.extract_if(.., |agent, one| !is_wanted(agent, one)).collect();
        for (agent, one) in gone {
            one.end.cancel();
            if let Err(error) = one.task.await {
                tracing::error!(%agent, %error, "asking for events broke off, and is begun again");
            }
            handle.set_source(&agent, None);
        }
        for AwaitedEvents { agent, by, room, is_stopped } in wanted {
            let standing = Standing { room, is_stopped };
            if let Some(one) = running.get(&agent) {
                one.standing.send_if_modified(|known| std::mem::replace(known, standing) != standing);
                continue;
            }
            let (told, heard) = watch::channel(standing);
            let end = down.child_token();
            let poller = Poller {
                store: store.clone(),
                handle: handle.clone(),
                tools: tools.clone(),
                agent: agent.clone(),
                by: by.clone(),
                standing: heard,
                end: end.clone(),
                held: None,
                failures: 0,
                said: None,
                told_unfit: false,
            };
            let task = tokio::spawn(poller.run());
            running.insert(agent, Running { by, standing: told, end, task });
        }
        tokio::select! {
            changed = newest.changed() => match changed {
                Ok(()) => tokio::time::sleep_until(asked + ASK_EVERY).await,
                Err(_) => return,
            },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Asks for the events of one agent.
struct Poller {
    store: Store,
    handle: Handle,
    tools: Arc<Mutex<Arc<Tools>>>,
    agent: AgentId,
    by: Arc<McpTrigger>,
    standing: watch::Receiver<Standing>,
    end: CancellationToken,
    /// Keeps the server running between two questions.
    held: Option<KeptServer>,
    /// How often in a row it did not go well.
    failures: u32,
    /// When it was last told that events were left out.
    said: Option<Instant>,
    told_unfit: bool,
}

/// Where a server goes on. `None`: it was never asked.
type Cursor = Option<Option<String>>;

impl Poller {
    async fn run(mut self) {
        let end = self.end.clone();
        let Some(Some(mut cursor)) = end.run_until_cancelled(self.remembered()).await else { return };
        let mut due = Instant::now();
        let mut in_a_row = 0;
        loop {
            // what is stopped says nothing of its server
            if self.standing.borrow().is_stopped {
                self.handle.set_source(&self.agent, None);
            }
            let Some(Some(room)) = end.run_until_cancelled(self.is_due(due)).await else { return };
            let most = room.min(PAGE);
            let Some(asked) = end.run_until_cancelled(self.ask(&cursor, most)).await else { return };
            let (polled, skipped) = match asked {
                Ok(asked) => asked,
                Err(why) => {
                    due = Instant::now() + self.failed(&why);
                    in_a_row = 0;
                    continue;
                }
            };
            self.went_well();
            if polled.unfit > 0 && !std::mem::replace(&mut self.told_unfit, true) {
                let (unfit, server, event) = (polled.unfit, &self.by.server, &self.by.event);
                tracing::warn!(agent = %self.agent, %server, unfit, "not all that the server gave are events of type {event}");
            }
            let has_moved = cursor.as_ref() != Some(&polled.cursor);
            let goes_on_at_once = polled.has_more && has_moved && in_a_row < MOST_IN_A_ROW;
            let every = Duration::try_from(self.by.every).unwrap_or(PATIENCE);
            let pause =
                polled.next.and_then(|next| Duration::try_from(next).ok()).unwrap_or_default().max(every);
            let (next, events) = (polled.cursor, polled.events);
            self.held = Some(polled.held).filter(|_| pause <= KEPT_FOR);
            if !self.hand_over(events, has_moved.then(|| next.clone()), skipped).await {
                return;
            }
            cursor = Some(next);
            (due, in_a_row) = match goes_on_at_once {
                true => (Instant::now(), in_a_row + 1),
                false => (Instant::now() + pause, 0),
            };
        }
    }

    /// Where the server went on in an earlier life. `None`: the database is closed.
    async fn remembered(&self) -> Option<Cursor> {
        let (agent, source) = (self.agent.clone(), self.by.key());
        let known = self.read(move |reader| reader.event_cursor(&agent, &source)).await?;
        Some(known.map(|EventCursor(cursor)| cursor))
    }

    /// Reads from the database, for which it may wait. `None`: it is closed.
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
                    tokio::time::sleep(ASK_EVERY).await;
                }
            }
        }
    }

    /// Waits until the server is to be asked; how many events the agent can take then. `None`: it waits for none any more.
    async fn is_due(&mut self, due: Instant) -> Option<usize> {
        tokio::time::sleep_until(due).await;
        let takes = self.standing.wait_for(|standing| !standing.is_stopped && standing.room > 0).await;
        Some(takes.ok()?.room)
    }

    /// Asks for what comes after the cursor. One that is no longer taken is given up, and that is told: the server goes on from
    /// now, and nobody knows what was in between.
    async fn ask(&self, cursor: &Cursor, most: usize) -> Result<(Polled, Option<String>), NoEvents> {
        let tools = self.tools.lock().expect("no holder panics").clone();
        let before = cursor.as_ref().and_then(Option::as_deref);
        let polled = tools.servers().poll_events(&self.by, before, most, PATIENCE).await;
        match (polled, before) {
            (Err(NoEvents::Refused(why)), Some(_)) => {
                // it may also be the arguments that are refused: then this is, too
                let anew = tools.servers().poll_events(&self.by, None, most, PATIENCE).await;
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

    /// How long it rests.
    fn failed(&mut self, why: &NoEvents) -> Duration {
        self.held = None;
        self.failures = self.failures.saturating_add(1);
        let is_for_a_person = !matches!(why, NoEvents::Failed(_));
        if is_for_a_person || self.failures >= FAILURES {
            let text = format!("its events can't be asked for: {}", why.text());
            if self.handle.set_source(&self.agent, Some(text.clone())) {
                tracing::warn!(agent = %self.agent, "{text}");
            }
        }
        let every = Duration::try_from(self.by.every).unwrap_or(PATIENCE);
        let doubled = every.saturating_mul(2_u32.saturating_pow(self.failures.min(16) - 1));
        doubled.min(LONGEST_PAUSE.max(every))
    }

    fn went_well(&mut self) {
        self.failures = 0;
        if self.handle.set_source(&self.agent, None) {
            tracing::info!(agent = %self.agent, "its events can be asked for again");
        }
    }

    /// Has events recorded with what comes of them, and with the last of them where the server goes on. False: it is over.
    async fn hand_over(
        &mut self,
        events: Vec<McpEventReceived>,
        cursor: Cursor,
        skipped: Option<String>,
    ) -> bool {
        let mut skipped = skipped.filter(|why| {
            let is_new = self.said.is_none_or(|at| at.elapsed() >= SAID_AGAIN);
            if is_new {
                self.said = Some(Instant::now());
                tracing::warn!(agent = %self.agent, server = %self.by.server, event = %self.by.event, "events were left out: {why}");
            }
            is_new
        });
        let mut rest = VecDeque::from(events);
        loop {
            let (room, is_stopped) = {
                let standing = self.standing.borrow();
                (standing.room, standing.is_stopped)
            };
            if (room == 0 || is_stopped) && !rest.is_empty() {
                let end = self.end.clone();
                // none of these is recorded yet, nor where the server goes on
                let Some(Some(_)) = end.run_until_cancelled(self.is_due(Instant::now())).await else {
                    return false;
                };
                continue;
            }
            let chunk: Vec<McpEventReceived> = rest.drain(..rest.len().min(MOST_AT_ONCE)).collect();
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
            // until it is known how much room there is
            let end = self.end.clone();
            if end.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await.is_none() {
                return false;
            }
        }
    }

    /// Those of these events that have not been. `None`: the database is closed.
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
