//! Serves metrics at the configured address.
use super::counting::{FleetReceiver, SharedTally};
use super::services::Services;
use crate::telemetry::{self, FleetSnapshot, MetricsStanding};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Delay before a failed bind is retried.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Timeout of the engine and the store for one scrape.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(8);

/// Listens until the daemon shuts down.
pub(super) async fn run(
    services: Arc<Services>,
    tally: SharedTally,
    mut fleet: FleetReceiver,
    down: CancellationToken,
) {
    loop {
        let address = address_of(&mut fleet);
        tokio::select! {
            () = listen(&services, &tally, address.as_deref()) => {}
            goes_on = address_changed(&mut fleet, address.as_deref()) => if !goes_on { return },
            () = down.cancelled() => return,
        }
    }
}

fn address_of(fleet: &mut FleetReceiver) -> Option<String> {
    fleet.borrow_and_update().telemetry.as_ref().and_then(|spec| spec.prometheus.clone())
}

/// Waits for another address; returns false when the loop that holds the configuration has ended.
async fn address_changed(fleet: &mut FleetReceiver, address: Option<&str>) -> bool {
    loop {
        if fleet.changed().await.is_err() {
            return false;
        }
        if address_of(fleet).as_deref() != address {
            return true;
        }
    }
}

/// Listens at an address, retrying when it can't be bound.
async fn listen(services: &Arc<Services>, tally: &SharedTally, address: Option<&str>) {
    let listening = &services.listening;
    let Some(address) = address else {
        listening.is(None);
        return std::future::pending().await;
    };
    loop {
        let bound = TcpListener::bind(address).await;
        match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((at, listener)) => {
                listening.is(Some(MetricsStanding { address: at.to_string(), problem: None }));
                tracing::info!(address = %at, "metrics can be read");
                let (services, tally) = (services.clone(), tally.clone());
                telemetry::serve(listener, move || metrics(services.clone(), tally.clone())).await;
            }
            Err(error) => {
                let problem = bind_problem(&error);
                let standing =
                    MetricsStanding { address: address.to_owned(), problem: Some(problem.clone()) };
                if listening.is(Some(standing)) {
                    tracing::warn!(address, "metrics can't be read: {problem}; it is tried again");
                }
            }
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

fn bind_problem(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there".into(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".into(),
        _ => error.to_string(),
    }
}

/// Renders all current metrics. The loop is asked once; rendering happens outside it.
async fn metrics(services: Arc<Services>, tally: SharedTally) -> Option<String> {
    let snapshot = tokio::time::timeout(SCRAPE_TIMEOUT, snapshot(&services, &tally)).await.ok()??;
    tokio::task::spawn_blocking(move || telemetry::text(snapshot)).await.ok()
}

async fn snapshot(services: &Services, tally: &SharedTally) -> Option<FleetSnapshot> {
    let asked = services.handle.ask(|engine, now| {
        (engine.gauges(now.wall), engine.fleet().notify.keys().cloned().collect::<Vec<_>>())
    });
    let (gauges, receivers) = asked.await?;
    let tally = tally.lock().expect("no holder panics").clone();
    let now = crate::clock::wall();
    let stored = services.store.read(move |reader| Ok((reader.stats(now)?, reader.outbox_targets(now)?)));
    let stored = stored.await.ok();
    let condition = services.handle.condition.lock().expect("no holder panics");
    Some(FleetSnapshot {
        version: env!("CARGO_PKG_VERSION"),
        started_at: services.started_at,
        config_at: condition.config_at.unwrap_or(services.started_at),
        can_write: condition.storage.is_none() && condition.files.is_none(),
        clients: services.clients.load(Ordering::Relaxed),
        gauges,
        tally,
        receivers,
        traces: services.traces.now(),
        stored,
    })
}
