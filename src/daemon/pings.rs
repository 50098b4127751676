//! Has another monitor hear that the daemon lives (`[daemon] ping`) and how the runs of agents go (`ping` of an agent): it
//! says so when it hears nothing. A daemon that can't write, or whose loop is stuck, sends nothing.
//!
//! A ping that does not get there is tried again twice, and then left out: the next one comes. After a restart, the runs of
//! the last minute are pinged for again, under the same `rid`.
use super::clock;
use super::inbox::Handle;
use crate::domain::{AgentId, EventType, LoggedEvent, Payload, PingSpec, RunId, Seq};
use crate::notify::{PingSignal, ping};
use crate::store::{EventFilter, Store};
use jiff::SignedDuration;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before each further try.
const AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];
/// Pings of one agent that wait.
const WAITING: usize = 64;
/// Events that are looked at together.
const PAGE: usize = 256;
/// Runs that ended so long before a start are pinged for again.
const BEFORE: SignedDuration = SignedDuration::from_mins(1);
/// How often it is looked whether the configuration asks for other pings.
const LOOK: Duration = Duration::from_secs(5);

/// A ping of a run.
struct OfRun {
    spec: Arc<PingSpec>,
    signal: PingSignal,
    run: Option<RunId>,
}

/// Says that the daemon lives, as often as the configuration says, until it goes down.
pub(super) async fn daemon(handle: Handle, down: CancellationToken) {
    let mut failing = false;
    let mut last: Option<tokio::time::Instant> = None;
    loop {
        let spec = handle.ask(|engine, _| engine.fleet().daemon.ping.clone()).await;
        let healthy = handle.condition.lock().expect("no holder panics").storage.is_none();
        let Some(spec) = spec else { return };
        let mut wait = LOOK;
        if let Some(spec) = spec {
            let every = Duration::try_from(spec.every).unwrap_or(LOOK);
            let left = last.map_or(Duration::ZERO, |last| every.saturating_sub(last.elapsed()));
            if left.is_zero() && healthy {
                last = Some(tokio::time::Instant::now());
                let sent = ping(&spec.url, PingSignal::Success, None, PATIENCE).await;
                match (&sent, failing) {
                    (Err(error), false) => tracing::warn!(%error, "the ping of [daemon] did not get there"),
                    (Ok(()), true) => tracing::info!("the ping of [daemon] gets there again"),
                    _ => {}
                }
                failing = sent.is_err();
                wait = every.min(LOOK);
            } else {
                wait = left.clamp(Duration::from_millis(10), LOOK);
            }
        }
        tokio::select! {
            () = down.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Says how the runs of agents go, until the daemon goes down.
pub(super) async fn agents(store: Store, handle: Handle, down: CancellationToken) {
    let mut newest = store.newest();
    let since = clock::now().wall.saturating_sub(BEFORE).unwrap_or(jiff::Timestamp::MIN);
    let mut cursor = store.read(move |reader| reader.cursor_at(since)).await.unwrap_or(*newest.borrow());
    let mut lines: HashMap<AgentId, mpsc::Sender<OfRun>> = HashMap::new();
    let kinds = [EventType::TaskStarted, EventType::TaskCompleted, EventType::TaskError];
    let filter = EventFilter {
        types: kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
        ..EventFilter::default()
    };
    loop {
        newest.borrow_and_update();
        if let Some(next) = look(&store, &handle, &mut lines, cursor, &filter).await {
            cursor = next;
        }
        tokio::select! {
            () = down.cancelled() => return,
            changed = newest.changed() => if changed.is_err() { return },
        }
    }
}

/// Looks at what happened after this event; up to where it has looked.
async fn look(
    store: &Store,
    handle: &Handle,
    lines: &mut HashMap<AgentId, mpsc::Sender<OfRun>>,
    mut cursor: Seq,
    filter: &EventFilter,
) -> Option<Seq> {
    let specs = handle.ask(|engine, _| {
        let with_ping = |agent: &Arc<crate::domain::AgentSpec>| Some((agent.id.clone(), agent.ping.clone()?));
        engine.fleet().agents.iter().filter_map(with_ping).collect::<HashMap<_, _>>()
    });
    let specs = specs.await?;
    if specs.is_empty() {
        return Some(*store.newest().borrow());
    }
    loop {
        let asked = filter.clone();
        let page = store.read(move |reader| reader.events_after(cursor, &asked, PAGE)).await.ok()?;
        for event in &page.events {
            let Some((agent, spec)) = event.agent_id.as_ref().and_then(|id| specs.get_key_value(id)) else {
                continue;
            };
            let Some(signal) = signal_of(event) else { continue };
            let line = lines.entry(agent.clone()).or_insert_with(|| {
                let (line, waiting) = mpsc::channel(WAITING);
                tokio::spawn(send_all(agent.clone(), waiting));
                line
            });
            if line.try_send(OfRun { spec: spec.clone(), signal, run: event.run_id }).is_err() {
                tracing::warn!(%agent, "a ping was left out: too many wait");
            }
        }
        cursor = page.cursor;
        if page.events.len() < PAGE {
            return Some(cursor);
        }
    }
}

/// What a monitor hears of this event.
fn signal_of(event: &LoggedEvent) -> Option<PingSignal> {
    match event.event()?.payload {
        Payload::TaskStarted(started) => (started.attempt == 1).then_some(PingSignal::Start),
        Payload::TaskCompleted(_) => Some(PingSignal::Success),
        Payload::TaskError(ended) => (!ended.will_retry).then_some(PingSignal::Fail),
        _ => None,
    }
}

/// One after the other: a start is heard before its end.
async fn send_all(agent: AgentId, mut waiting: mpsc::Receiver<OfRun>) {
    while let Some(OfRun { spec, signal, run }) = waiting.recv().await {
        let mut sent = ping(&spec.url, signal, run, PATIENCE).await;
        for pause in AGAIN {
            if sent.as_ref().err().is_none_or(|error| !error.worth_retrying) {
                break;
            }
            tokio::time::sleep(pause).await;
            sent = ping(&spec.url, signal, run, PATIENCE).await;
        }
        if let Err(error) = sent {
            tracing::warn!(%agent, %error, "a ping did not get there");
        }
    }
}
