//! The leader's side of the mailboxes: hands reports to the loop, in their order, and says which nodes there are. A node that
//! is gone is told of only when all that it had reported is decided: the database lets it report nothing more then.
use crate::daemon::inbox::Message;
use crate::store::{NodeLink, StoreError, Workers};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// So often it is looked where nothing rings.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads the mailbox until the daemon goes down.
pub(in crate::daemon) async fn run(
    link: Arc<NodeLink>,
    inbox: mpsc::Sender<Message>,
    down: CancellationToken,
) {
    let mut bell = link.bell();
    let mut known = Workers::default();
    loop {
        match look(&link, &inbox, &mut known).await {
            Ok(Loop::Lives) => {}
            Ok(Loop::Ended) => return,
            Err(error) => tracing::debug!(%error, "reports of nodes could not be read"),
        }
        tokio::select! {
            () = down.cancelled() => return,
            _ = bell.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

enum Loop {
    Lives,
    Ended,
}

async fn look(
    link: &Arc<NodeLink>,
    inbox: &mpsc::Sender<Message>,
    known: &mut Workers,
) -> Result<Loop, StoreError> {
    // first who is there, then what they said: who is over by now says nothing after that
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
        // read again before they are removed, they would be decided twice
        if inbox.send(Message::Reported { reports, done }).await.is_err() || taken.await.is_err() {
            return Ok(Loop::Ended);
        }
    }
    if workers != *known {
        known.clone_from(&workers);
        if inbox.send(Message::Nodes(workers)).await.is_err() {
            return Ok(Loop::Ended);
        }
    }
    Ok(Loop::Lives)
}
