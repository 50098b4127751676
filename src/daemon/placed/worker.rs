//! A node that runs what the leader places there. It works from when the daemon stands by until it goes down, also while it
//! leads: what it has in hand for an earlier leader goes the same way then.
use super::left::InHand;
use super::life::{LifeEnd, NodeLife};
use super::workplace::{Ground, WorkEnds};
use crate::child;
use crate::daemon::signals::{ProcessSignals, Signal};
use crate::daemon::systemd;
use crate::secret;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// Between two tries to begin.
const AGAIN: Duration = Duration::from_secs(1);
/// Longer than anything that is waited for while it goes down, beside the grace of its runs.
const LONGEST_END: Duration = Duration::from_secs(40);

/// Its work, under way.
pub(in crate::daemon) struct Worker {
    ends: WorkEnds,
    task: JoinHandle<()>,
}

impl Worker {
    /// Begins.
    pub(in crate::daemon) fn start(ground: Ground) -> Self {
        let ends = WorkEnds::default();
        let task = tokio::spawn(run(Arc::new(ground), ends.clone()));
        Self { ends, task }
    }

    /// Takes nothing new from now on.
    pub(in crate::daemon) fn drain(&self) {
        self.ends.drain.cancel();
    }

    /// Goes down: what it has in hand may finish within its grace, or until somebody is in a hurry.
    pub(in crate::daemon) async fn go_down(mut self, signals: &mut ProcessSignals) {
        self.drain();
        let _alive = AbortOnDropHandle::new(tokio::spawn(systemd::keep_alive()));
        loop {
            tokio::select! {
                _ = &mut self.task => return,
                signal = signals.next() => if matches!(signal, Signal::Stop { .. }) {
                    return self.end().await;
                },
            }
        }
    }

    /// Ends it, without waiting for what it has in hand to finish.
    pub(in crate::daemon) async fn end(self) {
        self.ends.drain.cancel();
        self.ends.now.cancel();
        let _ = tokio::time::timeout(LONGEST_END, self.task).await;
    }
}

async fn run(ground: Arc<Ground>, ends: WorkEnds) {
    let fleet = ground.configured().fleet;
    secret::learn(&fleet.secrets).await;
    child::mark_helpers_of(ground.me);
    let (state, config) = (ground.paths.state_dir.clone(), ground.paths.config.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        child::confined::keep_apart(&state, &config);
        child::confined::remove_private_folders(&state);
        child::gate_program();
    });
    if let Err(error) = prepared.await {
        return tracing::error!(%error, "this node can't run anything");
    }
    let notes = InHand::of(&ground.paths);
    while !ends.drain.is_cancelled() {
        let id = Uuid::new_v4().simple().to_string();
        let asked = crate::clock::boot();
        let begun = tokio::select! {
            begun = ground.link.begin_work(id.clone()) => begun,
            () = ends.drain.cancelled() => return,
        };
        if let Err(error) = begun {
            tracing::debug!(%error, "this node can't take up work yet");
            tokio::select! {
                () = ends.drain.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => continue,
            }
        }
        let life = NodeLife::new(ground.clone(), notes.clone(), id, asked);
        match life.work(&ends).await {
            LifeEnd::Down => return,
            LifeEnd::Lost => tracing::warn!(
                "this node was not heard of for so long that the leader has given its runs up: it begins anew"
            ),
        }
    }
}
