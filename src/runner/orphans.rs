//! Orphans: what programs leave behind becomes a child of this process instead of the system's first
//! one. So it can be found by its parent, and must be waited for here.
use super::proc;
use crate::child;
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, set_child_subreaper, waitid, waitpid};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// An ended child is an orphan if nobody here has said that it is theirs, and nobody has waited for
/// it, for so long.
const UNWANTED_FOR: Duration = Duration::from_millis(100);

/// See [`super::adopt_orphans`].
pub(super) fn adopt() -> std::io::Result<()> {
    // Any process stands for "yes".
    set_child_subreaper(Some(rustix::process::getpid()))?;
    // Before anything can be adopted and end.
    let mut changes = signal(SignalKind::child())?;
    tokio::spawn(async move {
        while changes.recv().await.is_some() {
            // the children that are waited for are gone after that
            tokio::time::sleep(UNWANTED_FOR).await;
            while any_has_ended() && bury().await {}
        }
    });
    Ok(())
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
        let _ = waitpid(proc::pid_of(orphan.0), WaitOptions::NOHANG);
    }
    true
}

/// One call to the system, so that the end of an ordinary program costs no more.
fn any_has_ended() -> bool {
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::All, how), Ok(Some(_)))
}
