//! Orphans: what programs leave behind becomes a child of this process instead of init. So it can be found by its parent, must
//! be reaped here, and is terminated once it belongs to no running program. What a run leaves behind is ended when the run ends
//! (`stop`); this module handles what helpers leave (checks, notifiers, tools, servers), and what could not be distinguished
//! from another program's processes at that time.
use super::proc::seen::Seen;
use super::proc::{self};
use crate::child;
use crate::child::trampoline::process::pid_of;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitOptions, set_child_subreaper, waitid, waitpid};
use std::collections::HashMap;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// An exited child counts as an orphan if it was neither claimed nor reaped here for this long.
const UNCLAIMED_TIMEOUT: Duration = Duration::from_millis(100);
/// Interval at which live orphans are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(5);

/// See [`super::adopt_orphans`].
pub(super) fn adopt() -> std::io::Result<()> {
    proc::adopts_from_now_on();
    // Any process stands for "yes".
    set_child_subreaper(Some(rustix::process::getpid()))?;
    // Registered before any orphan can be adopted and exit.
    let mut changes = signal(SignalKind::child())?;
    tokio::spawn(async move {
        let mut strays = HashMap::new();
        loop {
            // an orphan arrives when its parent exits; those that were adopted alive are checked again later
            let some = !strays.is_empty() || proc::may_have_orphans();
            tokio::select! {
                changed = changes.recv() => if changed.is_none() { return },
                () = tokio::time::sleep(CHECK_INTERVAL), if some => {}
            }
            // children that are owned here have been reaped by then
            tokio::time::sleep(UNCLAIMED_TIMEOUT).await;
            while any_has_ended() && reap_orphans().await {}
            end_strays(&mut strays);
        }
    });
    Ok(())
}

/// Sends TERM to orphans that belong to no running program, and KILL later. `known`: who received TERM, and when.
fn end_strays(known: &mut HashMap<(u32, u64), Instant>) {
    let left: Vec<Seen> = proc::adopted().into_iter().filter(|seen| seen.is_stray()).collect();
    known.retain(|key, _| left.iter().any(|seen| seen.key() == *key));
    let fresh: Vec<Seen> = left.iter().filter(|seen| !known.contains_key(&seen.key())).copied().collect();
    if !fresh.is_empty() {
        tracing::warn!(
            "left in the background by a program that has ended, and ended now: {}",
            proc::in_words(&fresh)
        );
    }
    for seen in left {
        let asked = *known.entry(seen.key()).or_insert_with(Instant::now);
        let order = if asked.elapsed() < GRACE { Signal::TERM } else { Signal::KILL };
        let _ = proc::signal(&seen, order);
        let _ = proc::signal(&seen, Signal::CONT);
    }
}

/// Reaps the orphans among the exited children. Returns whether there were any.
async fn reap_orphans() -> bool {
    let unwanted = || {
        let mut ended = proc::ended_children();
        ended.retain(|(pid, _)| !child::is_owned(*pid));
        ended
    };
    let before = unwanted();
    if before.is_empty() {
        return false;
    }
    tokio::time::sleep(UNCLAIMED_TIMEOUT).await;
    for orphan in unwanted().into_iter().filter(|ended| before.contains(ended)) {
        let _ = waitpid(pid_of(orphan.0), WaitOptions::NOHANG);
    }
    true
}

/// Checks for an exited child with a single system call, so that the end of an ordinary program costs no more.
fn any_has_ended() -> bool {
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::All, how), Ok(Some(_)))
}
