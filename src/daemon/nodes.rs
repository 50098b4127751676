//! Registers a daemon that leads as a node, and renews the registration as long as it lives.
use crate::domain::Fleet;
use crate::store::{NODE_RENEWAL_INTERVAL, NodeJoined, NodeLink};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long leaving may delay the shutdown.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Renews the node, with the configuration in force, until the daemon shuts down.
pub(super) async fn keep(
    link: Arc<NodeLink>,
    mut fleets: watch::Receiver<Arc<Fleet>>,
    down: CancellationToken,
) {
    let mut is_joined = true;
    let mut trouble = String::new();
    loop {
        told(&link, &fleets.borrow_and_update());
        let said = match is_joined {
            true => link.renew().await.map(|lead| is_joined = lead.is_some()),
            false => link.join().await.map(|joined| match joined {
                NodeJoined::Yes => is_joined = true,
                NodeJoined::NoTables => {}
                NodeJoined::Taken { name, by, .. } => {
                    let what = format!("another daemon has the name {name} of this node: {by}");
                    if trouble != what {
                        tracing::error!("{what}; give each its own, with `node` of [daemon]");
                    }
                    trouble = what;
                }
            }),
        };
        if let Err(error) = said {
            tracing::debug!(%error, "the node could not be renewed");
        }
        tokio::select! {
            () = down.cancelled() => break,
            Ok(()) = fleets.changed() => {}
            () = tokio::time::sleep(NODE_RENEWAL_INTERVAL), if is_joined || !trouble.is_empty() => {}
            () = tokio::time::sleep(Duration::from_secs(1)), if !is_joined && trouble.is_empty() => {}
        }
    }
    leave(&link).await;
}

/// Others are told what is in force here.
pub(super) fn told(link: &NodeLink, fleet: &Fleet) {
    let revision = fleet.revision_in_force().map_or(0, |applied| applied.revision);
    link.configured(fleet.told_hash().to_string(), revision, fleet.daemon.max_parallel_runs as u64);
}

/// The node is none any more.
pub(super) async fn leave(link: &Arc<NodeLink>) {
    match tokio::time::timeout(LEAVE_TIMEOUT, link.leave()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the node could not be taken off the list"),
        Err(_) => tracing::debug!("the node could not be taken off the list: the server does not answer"),
    }
}
