//! Has traces of runs sent as long as the configuration says so.
use super::counting::FleetNews;
use super::services::Services;
use crate::domain::{Seq, TelemetrySpec};
use crate::telemetry::{Collector, TraceExporter};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// When the daemon goes down, the last spans get this long. What is not sent by then is lost.
pub(super) const LAST_SPANS: Duration = Duration::from_secs(2);

/// What the configuration says of traces, if they are sent.
type Way = Option<Arc<TelemetrySpec>>;

/// Sends traces until the daemon goes down.
pub(super) async fn run(services: Arc<Services>, mut fleet: FleetNews, down: CancellationToken) {
    // also of runs that its predecessor has left and that are given up at the start
    let mut after = Some(services.began_after);
    loop {
        let way = way_of(&mut fleet);
        let mut news = fleet.clone();
        tokio::select! {
            () = send(&services, &way, (after.take(), &fleet), &down) => return,
            () = moved(&mut news, &way) => {}
        }
    }
}

fn way_of(fleet: &mut FleetNews) -> Way {
    fleet.borrow_and_update().telemetry.clone().filter(|spec| spec.otlp.is_some())
}

/// Waits for another way. Without the loop that has the configuration there is none.
async fn moved(fleet: &mut FleetNews, way: &Way) {
    loop {
        if fleet.changed().await.is_err() {
            return std::future::pending().await;
        }
        if way_of(fleet) != *way {
            return;
        }
    }
}

/// Ends when the daemon goes down.
async fn send(
    services: &Services,
    way: &Way,
    (after, fleet): (Option<Seq>, &FleetNews),
    down: &CancellationToken,
) {
    let Some((spec, endpoint)) = way.as_ref().and_then(|spec| Some((spec, spec.otlp.as_deref()?))) else {
        services.traces.ends();
        return down.cancelled().await;
    };
    let (store, database) = (services.store.clone(), services.database.clone());
    let to = Collector { endpoint, headers: spec.headers.clone() };
    match TraceExporter::new(store, to, spec.content, database, services.traces.clone()) {
        Ok(exporter) => {
            let all = exporter.run(after, fleet.clone(), down.clone());
            tokio::pin!(all);
            tokio::select! {
                () = &mut all => return,
                () = down.cancelled() => {}
            }
            let _ = tokio::time::timeout(LAST_SPANS, all).await;
        }
        Err(why) => {
            tracing::error!(endpoint, "no traces are sent: {why}");
            down.cancelled().await;
        }
    }
}
