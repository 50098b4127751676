//! Pings an external monitor to show that the daemon is alive (`[daemon] ping`) and how the runs of
//! agents go (`ping` of an agent); the monitor raises an alarm when pings stop. A daemon that can't
//! write, or whose loop is stuck, sends none.
//!
//! A failed ping is retried twice and then dropped: another one follows. Pings of runs are decided
//! by the engine; after a restart, those of the last minute are repeated under the same `rid`.
use super::clock;
use super::inbox::{Handle, RunPing};
use crate::domain::{AgentId, EventType, LoggedEvent, Payload, PingSignal, Seq};
use crate::notify::ping;
use crate::store::{EventFilter, FoundRun, Reader, Store};
use jiff::SignedDuration;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Timeout of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Delays before each retry.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];
/// Maximum number of queued pings, per agent and in total.
pub(super) const WAITING: usize = 256;
/// Maximum number of earlier events read at a start.
const MAX_EARLIER_EVENTS: usize = 1024;
/// How far back pings are repeated at a start.
const LOOK_BACK: SignedDuration = SignedDuration::from_mins(1);
/// How often the configuration is checked for changed pings.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Pings the daemon's monitor at the configured interval until the daemon shuts down.
pub(super) async fn daemon(handle: Handle, down: CancellationToken) {
    let mut failing = false;
    let mut last: Option<tokio::time::Instant> = None;
    loop {
        let spec = handle.ask(|engine, _| engine.fleet().daemon.ping.clone()).await;
        let healthy = handle.condition.lock().expect("no holder panics").storage.is_none();
        let Some(spec) = spec else { return };
        let mut wait = CHECK_INTERVAL;
        if let Some(spec) = spec {
            let every = Duration::try_from(spec.every).unwrap_or(CHECK_INTERVAL);
            let left = last.map_or(Duration::ZERO, |last| every.saturating_sub(last.elapsed()));
            if left.is_zero() && healthy {
                last = Some(tokio::time::Instant::now());
                let sent = ping(&spec.url, PingSignal::Success, None, REQUEST_TIMEOUT).await;
                match (&sent, failing) {
                    (Err(error), false) => tracing::warn!(%error, "the ping of [daemon] did not get there"),
                    (Ok(()), true) => tracing::info!("the ping of [daemon] gets there again"),
                    _ => {}
                }
                failing = sent.is_err();
                wait = every.min(CHECK_INTERVAL);
            } else {
                wait = left.clamp(Duration::from_millis(10), CHECK_INTERVAL);
            }
        }
        tokio::select! {
            () = down.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Pings the monitors of agents: first about the runs of the last minute before this life, then
/// about what the engine reports, until it ends.
pub(super) async fn agents(
    store: Store,
    handle: Handle,
    began_after: Seq,
    mut runs: mpsc::Receiver<RunPing>,
) {
    let mut queues: HashMap<AgentId, mpsc::Sender<RunPing>> = HashMap::new();
    for ping in before(&store, &handle, began_after).await {
        pass_on(&mut queues, ping);
    }
    while let Some(ping) = runs.recv().await {
        pass_on(&mut queues, ping);
    }
}

fn pass_on(queues: &mut HashMap<AgentId, mpsc::Sender<RunPing>>, ping: RunPing) {
    let agent = ping.agent.clone();
    let queue = queues.entry(agent.clone()).or_insert_with(|| {
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(send_all(agent.clone(), waiting));
        queue
    });
    if queue.try_send(ping).is_err() {
        tracing::warn!(%agent, "a ping was left out: too many wait");
    }
}

/// Returns pings of the previous life that monitors may not have received.
async fn before(store: &Store, handle: &Handle, until: Seq) -> Vec<RunPing> {
    let specs = handle.ask(|engine, _| {
        let with_ping = |agent: &Arc<crate::domain::AgentSpec>| Some((agent.id.clone(), agent.ping.clone()?));
        engine.fleet().agents.iter().filter_map(with_ping).collect::<HashMap<_, _>>()
    });
    let Some(specs) = specs.await.filter(|specs| !specs.is_empty()) else { return Vec::new() };
    let kinds = [EventType::TaskStarted, EventType::TaskCompleted, EventType::TaskError];
    let filter = EventFilter {
        types: kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
        ..EventFilter::default()
    };
    let since = clock::now().wall.saturating_sub(LOOK_BACK).unwrap_or(jiff::Timestamp::MIN);
    let read = move |reader: &Reader| {
        let page = reader.events_after(reader.cursor_at(since)?, &filter, MAX_EARLIER_EVENTS)?;
        let mut pings = Vec::new();
        for event in page.events.iter().filter(|event| event.seq <= until) {
            let (Some(agent), Some(run)) = (&event.agent_id, event.run_id) else { continue };
            let (Some(spec), Some(signal)) = (specs.get(agent), signal_of(event)) else { continue };
            let found = reader.find_run(&run.to_string())?;
            if matches!(found, FoundRun::One(row) if row.claim.mode.is_normal()) {
                pings.push(RunPing { agent: agent.clone(), spec: spec.clone(), signal, run });
            }
        }
        Ok(pings)
    };
    match store.read(read).await {
        Ok(pings) => pings,
        Err(error) => {
            tracing::warn!(%error, "whether monitors have heard of the last runs could not be read");
            Vec::new()
        }
    }
}

/// Returns the signal for an event.
fn signal_of(event: &LoggedEvent) -> Option<PingSignal> {
    match event.event()?.payload {
        Payload::TaskStarted(started) => (started.attempt == 1).then_some(PingSignal::Start),
        Payload::TaskCompleted(_) => Some(PingSignal::Success),
        Payload::TaskError(ended) => (!ended.will_retry).then_some(PingSignal::Fail),
        _ => None,
    }
}

/// Sends the pings of an agent in order, so that a start arrives before its end.
async fn send_all(agent: AgentId, mut waiting: mpsc::Receiver<RunPing>) {
    while let Some(RunPing { spec, signal, run, .. }) = waiting.recv().await {
        let mut sent = ping(&spec.url, signal, Some(run), REQUEST_TIMEOUT).await;
        for pause in RETRY_DELAYS {
            if sent.as_ref().err().is_none_or(|error| !error.worth_retrying) {
                break;
            }
            tokio::time::sleep(pause).await;
            sent = ping(&spec.url, signal, Some(run), REQUEST_TIMEOUT).await;
        }
        if let Err(error) = sent {
            tracing::warn!(%agent, %error, "a ping did not get there");
        }
    }
}
