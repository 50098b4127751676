//! Performs the actions of the engine once they are durable. Decides nothing.
use crate::child;
use crate::daemon::counting::Counting;
use crate::daemon::inbox::{Message, RunPing};
use crate::domain::{AgentId, Body, Entry, Fact, Fleet, LastResult, RedisSpec, RunId, Trigger, traceparent};
use crate::engine::Start;
use crate::llm::Models;
use crate::mcp::{Pin, PinChange, PinEvent, PinNews, Pins, Servers};
use crate::proxy::{self, Denial};
use crate::redis_memory::RedisMemory;
use crate::runner::{self, Brief, Report, Shared, StopOrder};
use crate::store::Store;
use crate::tools::Tools;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Maximum number of cached last results; the others are read from the database.
const MAX_CACHED_RESULTS: usize = 4096;

/// How long the end of a program by a foreign signal is held back, in case the daemon is being shut
/// down too: service managers signal all processes of a service at once. If the shutdown arrives in
/// time, the run has not failed.
const FOREIGN_SIGNAL_DELAY: Duration = Duration::from_millis(300);

/// Cached result of each agent's last run; `None`: it is known to have none.
pub(super) type Results = Mutex<HashMap<AgentId, Option<LastResult>>>;

/// Starts and stops attempts, and tracks those in flight.
pub(super) struct Actor {
    store: Store,
    shared: Shared,
    stops: HashMap<RunId, watch::Sender<StopOrder>>,
    results: Arc<Results>,
    tools: Arc<Mutex<Arc<Tools>>>,
    /// The configuration in force.
    fleets: watch::Sender<Arc<Fleet>>,
    /// The stream to which events are exported.
    redis: watch::Sender<Option<Arc<RedisSpec>>>,
    pings: mpsc::Sender<RunPing>,
    /// Counts committed facts for telemetry.
    pub(super) counting: Counting,
    /// Cancelled once output no longer waits for the store.
    given_up: CancellationToken,
}

/// Returns the agents' memory in Redis, if it is configured.
fn memory(store: &Store, fleet: &Fleet) -> Option<RedisMemory> {
    fleet.memory.clone().map(|spec| RedisMemory::new(store.clone(), spec))
}

impl Actor {
    /// Sends reports of runners to `inbox` and pings to `pings`; output goes straight to the store.
    pub(super) fn new(
        store: Store,
        fleet: &Arc<Fleet>,
        pins: Vec<Pin>,
        inbox: mpsc::Sender<Message>,
        pings: mpsc::Sender<RunPing>,
    ) -> Self {
        let (reports, reported) = mpsc::channel(1024);
        let given_up = CancellationToken::new();
        tokio::spawn(forward(store.clone(), reported, inbox, given_up.clone()));
        let (pins, changes) = Pins::load(pins);
        tokio::spawn(record_pins(store.clone(), changes));
        tokio::spawn(record_denials(store.clone(), proxy::denials()));
        let tools = Arc::new(Tools::with_servers(fleet, Servers::new(fleet, None, pins)));
        Self {
            store: store.clone(),
            shared: Shared {
                fleet: fleet.clone(),
                tools: tools.clone(),
                models: Arc::new(Models::new(fleet, None)),
                store: Some(store.clone()),
                memory: memory(&store, fleet),
                reports,
            },
            stops: HashMap::new(),
            results: Arc::default(),
            tools: Arc::new(Mutex::new(tools)),
            fleets: watch::channel(fleet.clone()).0,
            redis: watch::channel(fleet.redis.clone()).0,
            pings,
            counting: Counting::of(fleet),
            given_up,
        }
    }

    /// Returns the configuration in force.
    pub(super) fn fleets(&self) -> watch::Receiver<Arc<Fleet>> {
        self.fleets.subscribe()
    }

    /// Returns the stream to which events are exported; it changes with the configuration.
    pub(super) fn redis(&self) -> watch::Receiver<Option<Arc<RedisSpec>>> {
        self.redis.subscribe()
    }

    /// Drops output that waits for the store; used when the daemon shuts down while the store can't write.
    pub(super) fn give_up_output(&self) {
        self.given_up.cancel();
    }

    /// Returns the tools in force, for manual calls.
    pub(super) fn tools(&self) -> Arc<Mutex<Arc<Tools>>> {
        self.tools.clone()
    }

    /// Applies a configuration: attempts that start from now on use its tools.
    pub(super) fn configure(&mut self, fleet: &Arc<Fleet>) {
        self.shared.fleet = fleet.clone();
        self.shared.memory = memory(&self.store, fleet);
        self.fleets.send_replace(fleet.clone());
        self.redis.send_if_modified(|spec| {
            let is_other = *spec != fleet.redis;
            spec.clone_from(&fleet.redis);
            is_other
        });
        self.counting.configure(fleet);
        self.shared.models = Arc::new(Models::new(fleet, Some(&self.shared.models)));
        let servers = self.shared.tools.servers();
        let servers = Servers::new(fleet, Some(servers), servers.pins().clone());
        let tools = Arc::new(Tools::with_servers(fleet, servers));
        self.shared.tools = tools.clone();
        *self.tools.lock().expect("no holder panics") = tools;
    }

    /// Starts an attempt. `fence`: a token higher than that of any attempt decided earlier.
    pub(super) fn start(&mut self, start: Start, fence: u64) {
        let (stop, stopped) = watch::channel(StopOrder::None);
        self.stops.insert(start.run, stop);
        let shared = self.shared.clone();
        let store = self.store.clone();
        let results = self.results.clone();
        let traceparent = self.traceparent(start.run, start.attempt);
        tokio::spawn(async move {
            let last_result = match start.agent.body {
                Body::Tool(_) => None,
                Body::Query(_) | Body::Command(_) | Body::Runner(_) => {
                    last_result(&store, &results, &start.agent.id).await
                }
            };
            // the log has assigned a number to the event in the meantime
            let event = if start.trigger == Trigger::Event {
                let numbered = store.read(move |reader| reader.event_of(start.run)).await;
                numbered.ok().flatten().or_else(|| start.event.map(|event| event.logged()))
            } else {
                None
            };
            let brief = Brief {
                run: start.run,
                agent: start.agent,
                attempt: start.attempt,
                trigger: start.trigger,
                slot: start.slot,
                query: start.query,
                params: start.params,
                mode: start.mode,
                event,
                last_result,
                time_left: start.time_left,
                looks_first: start.looks_first,
                gate_only: start.gate_only,
                fence,
                traceparent,
            };
            runner::attempt(brief, shared, stopped).await;
        });
    }

    /// Returns the trace context of an attempt, if traces are exported.
    pub(super) fn traceparent(&self, run: RunId, attempt: u32) -> Option<Arc<str>> {
        let traced = self.shared.fleet.telemetry.as_ref().is_some_and(|spec| spec.otlp.is_some());
        traced.then(|| traceparent(run, attempt).into())
    }

    /// Queues a ping for a monitor, without blocking; it is dropped if the queue is full.
    pub(super) fn ping(&self, ping: RunPing) {
        if let Err(error) = self.pings.try_send(ping) {
            let agent = &error.into_inner().agent;
            tracing::warn!(%agent, "a ping was left out: too many wait");
        }
    }

    /// Orders an attempt to end. An order only ever escalates.
    pub(super) fn cancel(&mut self, run: RunId, kill: bool) {
        if let Some(stop) = self.stops.get(&run) {
            let order = if kill { StopOrder::Kill } else { StopOrder::Terminate };
            stop.send_if_modified(|current| {
                let grows = order > *current;
                if grows {
                    *current = order;
                }
                grows
            });
        }
    }

    /// Orders all attempts to end.
    pub(super) fn cancel_all(&mut self, kill: bool) {
        for run in self.stops.keys().copied().collect::<Vec<_>>() {
            self.cancel(run, kill);
        }
    }

    /// Returns the runs whose attempts are in flight.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = RunId> {
        self.stops.keys().copied()
    }

    /// Returns whether no attempt is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.stops.is_empty()
    }

    /// Removes an attempt that has ended.
    pub(super) fn ended(&mut self, run: RunId) {
        self.stops.remove(&run);
    }

    /// Removes the folders of agent programs of ended runs, in the background, since a program may
    /// have left many files.
    pub(super) fn remove_folders_of(&self, runs: Vec<RunId>) {
        if runs.is_empty() {
            return;
        }
        tokio::task::spawn_blocking(move || {
            runs.into_iter().for_each(child::run_folders::remove_run_folder);
        });
    }

    /// Updates the cached results of agents.
    pub(super) fn completed(&self, completed: Vec<(AgentId, Option<LastResult>)>) {
        if completed.is_empty() {
            return;
        }
        let mut results = self.results.lock().expect("no holder panics");
        if results.len() > MAX_CACHED_RESULTS {
            results.clear();
        }
        results.extend(completed);
    }
}

async fn last_result(store: &Store, results: &Results, agent: &AgentId) -> Option<LastResult> {
    if let Some(known) = results.lock().expect("no holder panics").get(agent) {
        return known.clone();
    }
    let of = agent.clone();
    let result = match store.read(move |reader| reader.last_result(&of)).await {
        Ok(result) => result,
        Err(error) => {
            // not cached as absent: the next run reads it again
            tracing::warn!(%agent, %error, "its last result could not be read");
            return None;
        }
    };
    // a run that ended in the meantime has set a newer one
    results.lock().expect("no holder panics").entry(agent.clone()).or_insert(result).clone()
}

/// Handles reports of runners: output and journals are committed at once, the rest is passed to the
/// loop. While the store can't write, output waits: its runner sends no more, and buffers what
/// arrives up to `max_output`.
async fn forward(
    store: Store,
    mut reports: mpsc::Receiver<Report>,
    inbox: mpsc::Sender<Message>,
    given_up: CancellationToken,
) {
    while let Some(report) = reports.recv().await {
        let store = store.clone();
        match report {
            Report::Output { output, done } => {
                let (given_up, agent, run) = (given_up.clone(), output.agent.clone(), output.run);
                tokio::spawn(async move {
                    let entry = Entry { at: super::clock::now().wall, fact: Fact::OutputCaptured(output) };
                    let written = tokio::select! {
                        biased;
                        written = commit_with_retry(&store, vec![entry]) => written,
                        () = given_up.cancelled() => false,
                    };
                    // on failure `done` is dropped, and the runner counts the output as left out
                    if written {
                        let _ = done.send(());
                    } else {
                        tracing::warn!(%agent, %run, "a piece of its output was not recorded");
                    }
                });
            }
            Report::Journal { talks, done } => {
                tokio::spawn(async move {
                    let at = super::clock::now().wall;
                    let entries: Vec<Entry> = talks
                        .into_iter()
                        .map(|talk| Entry { at, fact: Fact::Talked(Box::new(talk)) })
                        .collect();
                    // on a permanent error `done` is dropped, and the conversation can't go on
                    if commit_with_retry(&store, entries).await {
                        let _ = done.send(());
                    }
                });
            }
            Report::Ended { ref outcome, .. } if outcome.ended_by_others => {
                let inbox = inbox.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(FOREIGN_SIGNAL_DELAY).await;
                    let _ = inbox.send(Message::Report(report)).await;
                });
            }
            report => {
                if inbox.send(Message::Report(report)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Records pins of MCP tools, so that they survive a restart.
async fn record_pins(store: Store, mut all: mpsc::UnboundedReceiver<PinNews>) {
    while let Some(PinNews { changes, keeping }) = all.recv().await {
        let at = super::clock::now().wall;
        let mut entries: Vec<Entry> =
            changes.into_iter().map(|change| Entry { at, fact: fact_of(change) }).collect();
        let (with, kept) = keeping.map_or((None, None), |keeping| (keeping.with, Some(keeping.kept)));
        entries.extend(with.map(|fact| Entry { at, fact }));
        if (entries.is_empty() || commit_with_retry(&store, entries).await)
            && let Some(kept) = kept
        {
            let _ = kept.send(());
        }
    }
}

fn fact_of(change: PinChange) -> Fact {
    let (trusted, seen) = match change.event {
        PinEvent::Pinned | PinEvent::Trusted => (change.new, None),
        PinEvent::Differs => (change.old.unwrap_or_default(), Some(change.new)),
    };
    let about = change.trusted.map(|about| about.written());
    Fact::McpPinned { server: change.server, tool: change.tool, trusted, seen, about }
}

/// How long a refusal of the same place is not reported again for the same table.
const DENIAL_REPEAT_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// Maximum number of remembered denials; further ones are not recorded until some have expired.
const MAX_REMEMBERED_DENIALS: usize = 10_000;

/// Records what sandboxes refuse, each place at most once a day per table.
async fn record_denials(store: Store, mut denials: mpsc::Receiver<Denial>) {
    let mut recorded_at = HashMap::new();
    while let Some(Denial { owner, program, place, reason }) = denials.recv().await {
        let now = Instant::now();
        if recorded_at.len() >= MAX_REMEMBERED_DENIALS {
            recorded_at.retain(|_, at: &mut Instant| now.duration_since(*at) < DENIAL_REPEAT_INTERVAL);
        }
        let key = (owner.table.clone(), place.clone());
        let is_old = recorded_at.get(&key).is_some_and(|at| now.duration_since(*at) < DENIAL_REPEAT_INTERVAL);
        if is_old || recorded_at.len() >= MAX_REMEMBERED_DENIALS {
            continue;
        }
        recorded_at.insert(key, now);
        let fact = Fact::SandboxDenied { owner, program, host: place, reason };
        commit_with_retry(&store, vec![Entry { at: super::clock::now().wall, fact }]).await;
    }
}

/// A step must be durable before the next one, and a piece of output before its run has ended: while the store
/// can't write, they wait.
pub(super) async fn commit_with_retry(store: &Store, entries: Vec<Entry>) -> bool {
    let mut pause = Duration::from_millis(200);
    let mut has_warned = false;
    loop {
        match store.commit(entries.clone()).await {
            Ok(_) => return true,
            Err(error) if error.is_passing() => {
                if !std::mem::replace(&mut has_warned, true) {
                    tracing::warn!(
                        "{} can't be recorded yet, and is tried again: {error}",
                        describe(&entries)
                    );
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
            Err(error) => {
                tracing::error!("{} was not recorded: {error}", describe(&entries));
                return false;
            }
        }
    }
}

/// Describes entries for the log.
fn describe(entries: &[Entry]) -> String {
    match entries.first().map(|entry| &entry.fact) {
        Some(Fact::Talked(talk)) => format!("a step of run {} of {}", talk.run, talk.agent),
        Some(Fact::OutputCaptured(output)) => {
            format!("a piece of output of run {} of {}", output.run, output.agent)
        }
        Some(Fact::McpPinned { server, tool, .. }) => format!("the description of {server}/{tool}"),
        Some(Fact::SandboxDenied { program, host, .. }) => format!("that {program} was refused {host}"),
        Some(Fact::WorkspaceRemoved { run, .. }) => format!("that work of run {run} is removed"),
        _ => "something".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_trusts_tools_is_answered_when_that_is_on_record_with_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bgagent.db");
        let (store, _) = Store::open(&path).unwrap();
        let (all, told) = mpsc::unbounded_channel();
        tokio::spawn(record_pins(store.clone(), told));
        let trusted = |tool: &str| PinChange {
            event: PinEvent::Trusted,
            server: "s".into(),
            tool: tool.into(),
            old: None,
            new: "7".into(),
            trusted: None,
            changed: Vec::new(),
        };
        let locked = rusqlite::Connection::open(&path).unwrap();
        locked.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (kept, mut is_kept) = tokio::sync::oneshot::channel();
        let with = Some(Fact::RequestAnswered { request_id: "r".into(), answer: "{}".into() });
        let keeping = Some(crate::mcp::Keeping { with, kept });
        all.send(PinNews { changes: vec![trusted("a"), trusted("b")], keeping }).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(is_kept.try_recv().is_err(), "nothing is written yet");
        locked.execute_batch("ROLLBACK").unwrap();
        is_kept.await.unwrap();
        let (pins, answer) = store
            .read(|reader| Ok((reader.pins()?, reader.answer_to("r", crate::clock::wall())?)))
            .await
            .unwrap();
        assert_eq!((pins.len(), answer.as_deref()), (2, Some("{}")));
    }

    #[tokio::test]
    async fn a_result_that_can_not_be_read_is_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bgagent.db");
        let (store, _) = Store::open(&path).unwrap();
        let aside = folder.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        let (results, agent) = (Mutex::default(), "a".parse().unwrap());
        assert_eq!(last_result(&store, &results, &agent).await, None);
        assert!(results.lock().unwrap().is_empty());
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(last_result(&store, &results, &agent).await, None);
        assert_eq!(results.lock().unwrap().get(&agent), Some(&None), "now it is known that there is none");
    }
}
