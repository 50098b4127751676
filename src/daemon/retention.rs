//! Keeps the database small: old things go in small pieces, between commits.
use super::clock;
use super::event_loop::Handle;
use crate::store::Store;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often we look for what is too old.
const EVERY: Duration = Duration::from_secs(600);
/// The first look is not at once: a start has better things to do.
const AT_FIRST: Duration = Duration::from_secs(20);
/// Between two pieces, so that commits of runs are never behind more than one.
const BREATHE: Duration = Duration::from_millis(20);

/// Prunes until the daemon goes down.
pub(super) async fn run(store: Store, handle: Handle, down: CancellationToken) {
    let mut wait = AT_FIRST;
    loop {
        tokio::select! {
            () = down.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let Some(keep) = handle.ask(|engine, _| engine.fleet().daemon.retention).await else { return };
        wait = match store.prune(keep, clock::now().wall).await {
            Ok(true) => BREATHE,
            Ok(false) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "what is too old could not be removed");
                EVERY
            }
        };
    }
}
