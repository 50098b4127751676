//! The leader's side of the mailboxes: passes reports to the loop in order, and the set of live
//! nodes. A node is reported as lost only after all its reports are decided: from then on the
//! database accepts no more of them.
use crate::daemon::inbox::Message;
use crate::store::{NodeLink, StoreError, Workers};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Polling interval, where no notification arrives.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Reads the mailbox until the daemon shuts down.
pub(in crate::daemon) async fn run(
    link: Arc<NodeLink>,
    inbox: mpsc::Sender<Message>,
    down: CancellationToken,
) {
    let mut bell = link.bell();
    let mut known = Workers::default();
    loop {
        match look(&link, &inbox, &mut known).await {
            Ok(LoopState::Lives) => {}
            Ok(LoopState::Ended) => return,
            Err(error) => tracing::debug!(%error, "reports of nodes could not be read"),
        }
        tokio::select! {
            () = down.cancelled() => return,
            _ = bell.changed() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

enum LoopState {
    Lives,
    Ended,
}

async fn look(
    link: &Arc<NodeLink>,
    inbox: &mpsc::Sender<Message>,
    known: &mut Workers,
) -> Result<LoopState, StoreError> {
    // read the nodes before their reports: a node that is lost by now reports nothing after that
    let workers = link.workers().await?;
    let is_anybody = !workers.live.is_empty() || !workers.over.is_empty();
    let mut more = is_anybody;
    while more {
        let (reports, are_more) = link.reports().await?;
        more = are_more;
        if reports.is_empty() {
            break;
        }
        let (done, taken) = oneshot::channel();
        // wait for the removal: reports read twice would be decided twice
        if inbox.send(Message::Reported { reports, done }).await.is_err() || taken.await.is_err() {
            return Ok(LoopState::Ended);
        }
    }
    if workers != *known {
        known.clone_from(&workers);
        if inbox.send(Message::Nodes(workers)).await.is_err() {
            return Ok(LoopState::Ended);
        }
    }
    Ok(LoopState::Lives)
}
