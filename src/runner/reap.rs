//! Ends what a dead daemon left behind.
use super::proc::{self, Seen};
use crate::domain::{Process, RunId};
use rustix::process::Signal;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long we wait for what was killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at who lives.
const LOOK: Duration = Duration::from_millis(20);

/// See [`super::reap_leftovers`].
pub(super) async fn leftovers(runs: &[(RunId, Vec<Process>)], grace: Duration) -> usize {
    let ids: HashSet<RunId> = runs.iter().map(|(run, _)| *run).collect();
    let boot = proc::boot_hash();
    let leaders: HashSet<(u32, u64)> = runs
        .iter()
        .flat_map(|(_, processes)| processes)
        .filter(|process| process.boot == boot)
        .map(|process| (process.pid, process.start))
        .collect();
    let mut found: HashSet<(u32, u64)> = HashSet::new();
    let began = Instant::now();
    let mut told = false;
    loop {
        let living = proc::living().await;
        let ours = ours(&living, &ids, &leaders);
        if ours.is_empty() || began.elapsed() > grace + PATIENCE {
            return found.len();
        }
        found.extend(ours.iter().map(|seen| (seen.pid, seen.start)));
        let signal = if began.elapsed() < grace { Signal::TERM } else { Signal::KILL };
        if signal == Signal::KILL || !told {
            for seen in &ours {
                let _ = proc::signal(seen, signal);
                if signal == Signal::TERM {
                    let _ = proc::signal(seen, Signal::CONT);
                }
            }
        }
        told = true;
        tokio::time::sleep(LOOK).await;
    }
}

/// Those that carry the id of a run, those that were recorded and are the same still, and those in
/// the groups that these lead. A number alone proves nothing.
fn ours(living: &[Seen], ids: &HashSet<RunId>, leaders: &HashSet<(u32, u64)>) -> Vec<Seen> {
    let me = std::process::id();
    let leading: HashSet<u32> =
        living.iter().filter(|seen| leaders.contains(&(seen.pid, seen.start))).map(|seen| seen.pid).collect();
    living
        .iter()
        .copied()
        .filter(|seen| seen.pid != me)
        .filter(|seen| {
            seen.run.is_some_and(|run| ids.contains(&run))
                || leaders.contains(&(seen.pid, seen.start))
                || leading.contains(&seen.group)
                || leading.contains(&seen.session)
        })
        .collect()
}
