//! Exports traces of runs while that is configured.
use super::counting::FleetReceiver;
use super::services::Services;
use crate::domain::{Seq, TelemetrySpec};
use crate::telemetry::{Collector, TraceExporter};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a shutdown waits for the last spans. Unsent ones are lost.
pub(super) const SPANS_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The telemetry settings, if traces are exported.
type TraceSettings = Option<Arc<TelemetrySpec>>;

/// Exports traces until the daemon shuts down.
pub(super) async fn run(services: Arc<Services>, mut fleet: FleetReceiver, down: CancellationToken) {
    // include runs of the previous daemon that are given up at the start
    let mut after = Some(services.began_after);
    loop {
        let settings = settings_of(&mut fleet);
        let mut news = fleet.clone();
        tokio::select! {
            () = send(&services, &settings, (after.take(), &fleet), &down) => return,
            () = settings_changed(&mut news, &settings) => {}
        }
    }
}

fn settings_of(fleet: &mut FleetReceiver) -> TraceSettings {
    fleet.borrow_and_update().telemetry.clone().filter(|spec| spec.otlp.is_some())
}

/// Waits for changed settings; never returns once the loop that holds the configuration has ended.
async fn settings_changed(fleet: &mut FleetReceiver, settings: &TraceSettings) {
    loop {
        if fleet.changed().await.is_err() {
            return std::future::pending().await;
        }
        if settings_of(fleet) != *settings {
            return;
        }
    }
}

/// Exports until the daemon shuts down.
async fn send(
    services: &Services,
    settings: &TraceSettings,
    (after, fleet): (Option<Seq>, &FleetReceiver),
    down: &CancellationToken,
) {
    let Some((spec, endpoint)) = settings.as_ref().and_then(|spec| Some((spec, spec.otlp.as_deref()?)))
    else {
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
            let _ = tokio::time::timeout(SPANS_SHUTDOWN_TIMEOUT, all).await;
        }
        Err(why) => {
            tracing::error!(endpoint, "no traces are sent: {why}");
            down.cancelled().await;
        }
    }
}
