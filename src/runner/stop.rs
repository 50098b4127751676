//! Ends what a run has started: TERM, grace, KILL, until nothing of it lives any more.
use super::StopOrder;
use super::proc::{self, Seen};
use super::spawn::Running;
use crate::domain::RunId;
use rustix::process::Signal;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);
/// How long we wait for what was killed; what is still there then can't be killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at who lives.
const LOOK: Duration = Duration::from_millis(20);

/// Ends a process with its whole group, and everything else that carries the run's id. Returns
/// warnings about what would not end.
pub(super) async fn end(
    running: &mut Running,
    run: RunId,
    order: StopOrder,
    orders: &mut watch::Receiver<StopOrder>,
) -> Vec<String> {
    let leader = running.process.pid;
    let left = || async move {
        let living = proc::living().await;
        living
            .iter()
            .copied()
            .filter(|seen| seen.belongs_to(leader) || seen.run == Some(run))
            .collect::<Vec<_>>()
    };
    if order < StopOrder::Kill {
        running.signal(Signal::TERM);
        running.signal(Signal::CONT);
        for seen in left().await.iter().filter(|seen| !seen.belongs_to(leader)) {
            let _ = proc::signal(seen, Signal::TERM);
        }
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && *orders.borrow() < StopOrder::Kill {
            if left().await.is_empty() {
                return Vec::new();
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    kill_all(|| running.signal(Signal::KILL), left).await
}

/// Kills everything that carries the run's id. For an attempt that lost track of its processes.
pub(super) async fn sweep(run: RunId) -> Vec<String> {
    let left = || async move {
        let living = proc::living().await;
        living.iter().copied().filter(|seen| seen.run == Some(run)).collect::<Vec<_>>()
    };
    kill_all(|| {}, left).await
}

async fn kill_all<F: Future<Output = Vec<Seen>>>(
    mut group: impl FnMut(),
    left: impl Fn() -> F,
) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        group();
        let living = left().await;
        if living.is_empty() {
            return Vec::new();
        }
        for seen in &living {
            let _ = proc::signal(seen, Signal::KILL);
        }
        if Instant::now() >= deadline {
            let pids: Vec<String> = living.iter().map(|seen| seen.pid.to_string()).collect();
            return vec![format!("processes that would not end: {}", pids.join(", "))];
        }
        tokio::time::sleep(LOOK).await;
    }
}
