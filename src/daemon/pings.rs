//! Has another monitor hear that the daemon lives (`[daemon] ping`) and how the runs of agents go (`ping` of an agent): it
//! says so when it hears nothing. A daemon that can't write, or whose loop is stuck, sends nothing.
//!
//! A ping that does not get there is tried again twice, and then left out: the next one comes. Those of runs come from the
//! engine, with all that it decides; after a restart, the runs of the last minute are pinged for again, under the same `rid`.
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

/// One request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before each further try.
const AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];
/// Pings that wait, of one agent and of all that have just ended.
pub(super) const WAITING: usize = 256;
/// Events of the last minute before this life that are looked at.
const PAGE: usize = 1024;
/// Runs that ended so long before a start are pinged for again.
const BEFORE: SignedDuration = SignedDuration::from_mins(1);
/// How often it is looked whether the configuration asks for other pings.
const LOOK: Duration = Duration::from_secs(5);

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

/// Says how the runs of agents go: first of those that ended within the last minute before this life, then of those that the
/// engine tells of, until it ends.
pub(super) async fn agents(
    store: Store,
    handle: Handle,
    began_after: Seq,
    mut runs: mpsc::Receiver<RunPing>,
) {
    let mut lines: HashMap<AgentId, mpsc::Sender<RunPing>> = HashMap::new();
    for ping in before(&store, &handle, began_after).await {
        pass_on(&mut lines, ping);
    }
    while let Some(ping) = runs.recv().await {
        pass_on(&mut lines, ping);
    }
}

fn pass_on(lines: &mut HashMap<AgentId, mpsc::Sender<RunPing>>, ping: RunPing) {
    let agent = ping.agent.clone();
    let line = lines.entry(agent.clone()).or_insert_with(|| {
        let (line, waiting) = mpsc::channel(WAITING);
        tokio::spawn(send_all(agent.clone(), waiting));
        line
    });
    if line.try_send(ping).is_err() {
        tracing::warn!(%agent, "a ping was left out: too many wait");
    }
}

/// What monitors may not have heard of the life before this one.
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
    let since = clock::now().wall.saturating_sub(BEFORE).unwrap_or(jiff::Timestamp::MIN);
    let read = move |reader: &Reader| {
        let page = reader.events_after(reader.cursor_at(since)?, &filter, PAGE)?;
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
async fn send_all(agent: AgentId, mut waiting: mpsc::Receiver<RunPing>) {
    while let Some(RunPing { spec, signal, run, .. }) = waiting.recv().await {
        let mut sent = ping(&spec.url, signal, Some(run), PATIENCE).await;
        for pause in AGAIN {
            if sent.as_ref().err().is_none_or(|error| !error.worth_retrying) {
                break;
            }
            tokio::time::sleep(pause).await;
            sent = ping(&spec.url, signal, Some(run), PATIENCE).await;
        }
        if let Err(error) = sent {
            tracing::warn!(%agent, %error, "a ping did not get there");
        }
    }
}
