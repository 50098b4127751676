//! Orphans: what programs leave behind becomes a child of this process instead of the system's first
//! one. So it can be found by its parent, and must be waited for here; and it is ended once it belongs to nothing that
//! lives any more. What a run leaves behind is ended at its end (`stop`); here is what helpers leave (checks, notifiers,
//! tools, servers), and what could not be told from the doing of another program then.
use super::proc::seen::Seen;
use super::proc::{self};
use crate::child;
use crate::child::trampoline::process::pid_of;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitOptions, set_child_subreaper, waitid, waitpid};
use std::collections::HashMap;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// An ended child is an orphan if nobody here has said that it is theirs, and nobody has waited for
/// it, for so long.
const UNWANTED_FOR: Duration = Duration::from_millis(100);
/// How often orphans are looked at that live.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(5);

/// See [`super::adopt_orphans`].
pub(super) fn adopt() -> std::io::Result<()> {
    proc::adopts_from_now_on();
    // Any process stands for "yes".
    set_child_subreaper(Some(rustix::process::getpid()))?;
    // Before anything can be adopted and end.
    let mut changes = signal(SignalKind::child())?;
    tokio::spawn(async move {
        let mut strays = HashMap::new();
        loop {
            // an orphan comes when its parent ends; that of a longer life than its parent's is looked at again
            let some = !strays.is_empty() || proc::may_have_orphans();
            tokio::select! {
                changed = changes.recv() => if changed.is_none() { return },
                () = tokio::time::sleep(LOOK_AGAIN), if some => {}
            }
            // the children that are waited for are gone after that
            tokio::time::sleep(UNWANTED_FOR).await;
            while any_has_ended() && bury().await {}
            end_strays(&mut strays);
        }
    });
    Ok(())
}

/// Asks those to end that belong to nothing that lives; later kills them. `known`: who was asked, and when.
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

/// Waits for the orphans among the ended children. Were there any?
async fn bury() -> bool {
    let unwanted = || {
        let mut ended = proc::ended_children();
        ended.retain(|(pid, _)| !child::is_owned(*pid));
        ended
    };
    let before = unwanted();
    if before.is_empty() {
        return false;
    }
    tokio::time::sleep(UNWANTED_FOR).await;
    for orphan in unwanted().into_iter().filter(|ended| before.contains(ended)) {
        let _ = waitpid(pid_of(orphan.0), WaitOptions::NOHANG);
    }
    true
}

/// One call to the system, so that the end of an ordinary program costs no more.
fn any_has_ended() -> bool {
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::All, how), Ok(Some(_)))
}
