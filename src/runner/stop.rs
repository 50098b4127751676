//! Terminates what a run has started: TERM, grace, KILL, until nothing of it is left.
use super::proc::seen::Seen;
use super::proc::{self};
use super::report::StopOrder;
use super::spawn::Running;
use crate::domain::{RunId, counted};
use rustix::process::Signal;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

const GRACE: Duration = Duration::from_secs(5);
/// Time limit for sending TERM to all, including the scans.
const TERM_TIMEOUT: Duration = Duration::from_secs(8);
/// Timeout for killed processes to disappear; what is still there then can't be killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between two scans.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// After the end of a program, its processes that exit within this time were not left behind.
const EXIT_SETTLE_TIME: Duration = Duration::from_millis(100);
/// Only this many consecutive empty scans prove that no process is left: a single scan can miss a process that forks and exits
/// in a loop.
const EMPTY_SCAN_COUNT: u32 = 5;

/// Selects the processes that are to be terminated.
#[derive(Debug, Default)]
pub(super) struct Quarry {
    /// Those that carry the id of one of these runs,
    pub(super) runs: HashSet<RunId>,
    /// or are below this keeper, which is not reaped yet, or in its session. The keeper itself is excluded: it exits when told
    /// to.
    pub(super) keeper: Option<u32>,
    /// or are one of these recorded processes (PID and start), or in a group led by one of them,
    pub(super) recorded: HashSet<(u32, u64)>,
    /// or are orphans that this process has adopted: each program has a keeper that adopts what it leaves, so these have lost
    /// it.
    pub(super) strays: bool,
}

impl Quarry {
    /// Returns whether a process is selected by its own attributes. A PID alone proves nothing.
    fn selects(&self, seen: &Seen) -> bool {
        seen.pid != std::process::id()
            && Some(seen.pid) != self.keeper
            && (seen.run.is_some_and(|run| self.runs.contains(&run))
                || self.keeper.is_some_and(|keeper| seen.belongs_to(keeper))
                || self.recorded.contains(&(seen.pid, seen.start))
                || (self.strays && seen.is_stray()))
    }

    /// Returns all selected processes among the live ones, including the descendants of others that are.
    pub(super) fn among(&self, living: &[Seen], known: &HashSet<(u32, u64)>) -> Vec<Seen> {
        let me = std::process::id();
        let leading: HashSet<u32> = living
            .iter()
            .filter(|seen| self.recorded.contains(&(seen.pid, seen.start)))
            .map(|seen| seen.pid)
            .collect();
        let belongs = |seen: &&Seen| {
            self.selects(seen)
                || leading.contains(&seen.group)
                || leading.contains(&seen.session)
                || known.contains(&seen.key())
        };
        let kept = |seen: &&Seen| Some(seen.parent) == self.keeper;
        let mut found: Vec<Seen> = living
            .iter()
            .filter(|seen| belongs(seen) || kept(seen))
            .filter(|seen| seen.pid != me && Some(seen.pid) != self.keeper)
            .copied()
            .collect();
        if found.is_empty() {
            return found;
        }
        let mut children: HashMap<u32, Vec<Seen>> = HashMap::new();
        for seen in living {
            children.entry(seen.parent).or_default().push(*seen);
        }
        let mut numbers: HashSet<u32> = found.iter().map(|seen| seen.pid).collect();
        let mut at = 0;
        while let Some(parent) = found.get(at).map(|seen| seen.pid) {
            let born = children.remove(&parent).unwrap_or_default();
            found.extend(born.into_iter().filter(|seen| seen.pid != me && numbers.insert(seen.pid)));
            at += 1;
        }
        found
    }
}

/// Terminates a process with its whole group, everything else that carries the run's id, and their descendants. Returns
/// warnings about what would not exit.
pub(super) async fn end(
    running: &mut Running,
    run: RunId,
    order: StopOrder,
    orders: &mut watch::Receiver<StopOrder>,
) -> Vec<String> {
    let keeper = running.process.pid;
    let quarry = quarry_of(run, keeper);
    let mut known = HashSet::new();
    if order < StopOrder::Kill {
        let asking = terminate_all(running, &quarry, &mut known, orders);
        // where new processes start all the time, the scans would not end
        let _ = tokio::time::timeout(TERM_TIMEOUT, asking).await;
    }
    if running.is_in_group() {
        // a program that starts processes in a loop can't be chased
        running.kill();
    }
    kill_all(quarry, known, || running.kill()).await.warnings
}

/// Sends TERM to all, and waits until they have exited. `known`: processes that were seen to belong to it.
async fn terminate_all(
    running: &Running,
    quarry: &Quarry,
    known: &mut HashSet<(u32, u64)>,
    orders: &watch::Receiver<StopOrder>,
) {
    // Scan first: after a parent has exited, its children can't be found by it any more.
    let all = quarry.among(&proc::living().await, known);
    known.extend(all.iter().map(Seen::key));
    running.ask();
    let kept = Quarry { keeper: quarry.keeper, ..Quarry::default() };
    let kept: HashSet<u32> =
        kept.among(&proc::living().await, &HashSet::new()).iter().map(|seen| seen.pid).collect();
    for seen in all.iter().filter(|seen| !kept.contains(&seen.pid)) {
        let _ = proc::signal(seen, Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && *orders.borrow() < StopOrder::Kill {
        let left = quarry.among(&proc::living().await, known);
        if left.is_empty() {
            break;
        }
        known.extend(left.iter().map(Seen::key));
        tokio::time::sleep(LOOK).await;
    }
}

fn quarry_of(run: RunId, keeper: u32) -> Quarry {
    Quarry { runs: HashSet::from([run]), keeper: Some(keeper), strays: true, ..Quarry::default() }
}

/// Terminates what a program that exited by itself has left in the background. Returns warnings about it.
pub(super) async fn end_left_behind(
    running: &mut Running,
    run: RunId,
    orders: &mut watch::Receiver<StopOrder>,
) -> Vec<String> {
    let quarry = quarry_of(run, running.process.pid);
    let nobody = HashSet::new();
    let looks = async {
        if quarry.among(&proc::living().await, &nobody).is_empty() {
            return Vec::new();
        }
        // processes that are about to exit, like the rest of a pipeline, were not left behind
        tokio::time::sleep(EXIT_SETTLE_TIME).await;
        quarry.among(&proc::living().await, &nobody)
    };
    let mut said = match tokio::time::timeout(TERM_TIMEOUT, looks).await {
        Ok(left) if left.is_empty() => return Vec::new(),
        Ok(left) => vec![format!(
            "{} left in the background, and ended with the one that had started {}: {}",
            counted(left.len(), "program"),
            if left.len() == 1 { "it" } else { "them" },
            proc::in_words(&left)
        )],
        Err(_) => {
            vec!["programs left in the background that start others all the time, and ended".to_owned()]
        }
    };
    let order = (*orders.borrow()).max(StopOrder::Terminate);
    said.extend(end(running, run, order, orders).await);
    said
}

/// Terminates all adopted orphans that belong to no running program. Called when the daemon shuts down.
#[cfg(target_os = "linux")]
pub(super) async fn end_strays() {
    let quarry = Quarry { strays: true, ..Quarry::default() };
    let left = quarry.among(&proc::living().await, &HashSet::new());
    if left.is_empty() {
        return;
    }
    tracing::warn!("ended what programs had left in the background: {}", proc::in_words(&left));
    for warning in kill_all(quarry, HashSet::new(), || {}).await.warnings {
        tracing::warn!("{warning}");
    }
}

/// Kills everything that carries the run's id. For an attempt that lost track of its processes.
pub(super) async fn sweep(run: RunId) -> Vec<String> {
    let quarry = Quarry { runs: HashSet::from([run]), ..Quarry::default() };
    kill_all(quarry, HashSet::new(), || {}).await.warnings
}

/// The result of killing.
pub(super) struct Killed {
    /// PID and start time of all that were found.
    pub(super) found: HashSet<(u32, u64)>,
    /// About processes that would not exit.
    pub(super) warnings: Vec<String>,
}

/// Kills until none is left. First all are stopped, until a scan finds no new one: stopped processes can't fork, and none can
/// react to the death of another. `found`: those known to belong to it; `group` kills the leader's group.
pub(super) async fn kill_all(
    quarry: Quarry,
    mut found: HashSet<(u32, u64)>,
    mut group: impl FnMut(),
) -> Killed {
    let quarry = Arc::new(quarry);
    let deadline = Instant::now() + KILL_TIMEOUT;
    let mut stopped = HashSet::new();
    let mut empty = 0;
    let mut hunting = false;
    loop {
        let mut left = if hunting {
            let marked = quarry.clone();
            let living = proc::living_stopped(move |seen| marked.selects(seen)).await;
            quarry.among(&living, &found)
        } else {
            quarry.among(&proc::living().await, &found)
        };
        if left.is_empty() {
            let marked = quarry.clone();
            left = proc::adopted_stopped(move |seen| marked.selects(seen)).await;
        }
        hunting = !left.is_empty();
        if !hunting {
            group();
            empty += 1;
            if empty == EMPTY_SCAN_COUNT {
                return Killed { found, warnings: Vec::new() };
            }
            continue;
        }
        empty = 0;
        let over = Instant::now() >= deadline;
        let mut anybody_new = false;
        for seen in &left {
            found.insert(seen.key());
            if stopped.insert(seen.key()) {
                anybody_new = true;
                let _ = proc::signal(seen, Signal::STOP);
            }
        }
        if anybody_new && !over {
            continue;
        }
        group();
        for seen in &left {
            let _ = proc::signal(seen, Signal::KILL);
        }
        if over {
            let pids: Vec<String> = left.iter().map(|seen| seen.pid.to_string()).collect();
            return Killed {
                found,
                warnings: vec![format!("processes that would not end: {}", pids.join(", "))],
            };
        }
        tokio::time::sleep(LOOK).await;
    }
}
