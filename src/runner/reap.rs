//! Terminates what a crashed daemon left behind.
use super::proc;
use super::stop::{self, LOOK, Quarry};
use crate::domain::{Process, RunId};
use rustix::process::Signal;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// See [`super::reap_leftovers`].
pub(super) async fn leftovers(runs: &[(RunId, Vec<Process>)], grace: Duration) -> usize {
    let boot = proc::boot_hash();
    let quarry = Quarry {
        runs: runs.iter().map(|(run, _)| *run).collect(),
        keeper: None,
        recorded: runs
            .iter()
            .flat_map(|(_, processes)| processes)
            .filter(|process| process.boot == boot)
            .map(|process| (process.pid, process.start))
            .collect(),
        strays: false,
    };
    let mut found: HashSet<(u32, u64)> = HashSet::new();
    let began = Instant::now();
    while began.elapsed() < grace {
        let ours = quarry.among(&proc::living().await, &found);
        if ours.is_empty() {
            break;
        }
        for seen in &ours {
            if found.insert(seen.key()) {
                let _ = proc::signal(seen, Signal::TERM);
                let _ = proc::signal(seen, Signal::CONT);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    let killed = stop::kill_all(quarry, found, || {}).await;
    for warning in killed.warnings {
        tracing::warn!("{warning}");
    }
    killed.found.len()
}
