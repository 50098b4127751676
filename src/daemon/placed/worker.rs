//! Runs the attempts that the leader places at this node. A worker runs from when the daemon
//! becomes a standby until it shuts down, even while it leads: attempts of an earlier leader are
//! still reported the same way.
use super::left::RunNotes;
use super::life::{SessionEnd, WorkerSession};
use super::workplace::{WorkEnds, WorkerContext};
use crate::child;
use crate::daemon::signals::{ProcessSignals, Signal};
use crate::daemon::systemd;
use crate::secret;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// Delay between attempts to begin a session.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Exceeds every other timeout of the shutdown, except the grace period of runs.
const END_TIMEOUT: Duration = Duration::from_secs(40);

/// A running worker.
pub(in crate::daemon) struct Worker {
    ends: WorkEnds,
    task: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker.
    pub(in crate::daemon) fn start(context: WorkerContext) -> Self {
        let ends = WorkEnds::default();
        let task = tokio::spawn(run(Arc::new(context), ends.clone()));
        Self { ends, task }
    }

    /// Accepts no new attempts from now on.
    pub(in crate::daemon) fn drain(&self) {
        self.ends.drain.cancel();
    }

    /// Shuts down: attempts in flight may finish within their grace period, or until a further stop signal.
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

    /// Ends the worker, without waiting for attempts in flight to finish.
    pub(in crate::daemon) async fn end(self) {
        self.ends.drain.cancel();
        self.ends.now.cancel();
        let _ = tokio::time::timeout(END_TIMEOUT, self.task).await;
    }
}

async fn run(context: Arc<WorkerContext>, ends: WorkEnds) {
    let fleet = context.configured().fleet;
    secret::learn(&fleet.secrets).await;
    child::mark_helpers_of(context.me);
    let (state, config) = (context.paths.state_dir.clone(), context.paths.config.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        child::confined::keep_apart(&state, &config);
        child::confined::remove_private_folders(&state);
        child::gate_program();
    });
    if let Err(error) = prepared.await {
        return tracing::error!(%error, "this node can't run anything");
    }
    let notes = RunNotes::of(&context.paths);
    while !ends.drain.is_cancelled() {
        let id = Uuid::new_v4().simple().to_string();
        let asked = crate::clock::boot();
        let begun = tokio::select! {
            begun = context.link.begin_work(id.clone()) => begun,
            () = ends.drain.cancelled() => return,
        };
        if let Err(error) = begun {
            tracing::debug!(%error, "this node can't take up work yet");
            tokio::select! {
                () = ends.drain.cancelled() => return,
                () = tokio::time::sleep(RETRY_INTERVAL) => continue,
            }
        }
        let life = WorkerSession::new(context.clone(), notes.clone(), id, asked);
        match life.work(&ends).await {
            SessionEnd::Down => return,
            SessionEnd::Lost => tracing::warn!(
                "this node was not heard of for so long that the leader has given its runs up: it begins anew"
            ),
        }
    }
}
