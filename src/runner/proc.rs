//! What the system knows of processes: who lives, since when, in which group, for which run.
#[cfg(target_os = "linux")]
mod linux;
// Tested here as well, since few can run the tests where it is used.
#[cfg(any(test, not(target_os = "linux")))]
#[cfg_attr(target_os = "linux", expect(dead_code, reason = "the tests don't use all of it"))]
mod portable;

use crate::domain::{Process, RunId};
use rustix::process::{Pid, Signal};
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;
use tokio::time::Instant;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as system;
#[cfg(target_os = "linux")]
pub(super) use system::{adopted, ended_children, ignored_signals};
pub(super) use system::{adopted_stopped, may_have_orphans, name_of, signal};

/// A process that lives (zombies don't).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its number.
    pub(super) pid: u32,
    /// See [`Process::start`].
    pub(super) start: u64,
    /// Its parent.
    pub(super) parent: u32,
    /// Its process group.
    pub(super) group: u32,
    /// Its session.
    pub(super) session: u32,
    /// The run id in the environment that it was started with; of a helper, the id of its daemon.
    pub(super) run: Option<RunId>,
}

impl Seen {
    /// Tells it from a later process with the same number.
    pub(super) fn key(&self) -> (u32, u64) {
        (self.pid, self.start)
    }

    /// Is it an orphan that was adopted, and that nobody who lives can have started? `ended`: a child that does not
    /// count any more. An orphan that carries no mark belongs to one of the children that are as old as itself.
    pub(super) fn is_stray(&self, ended: Option<u32>) -> bool {
        let since = ADOPTS_SINCE.get().copied().flatten();
        self.parent == std::process::id()
            && since.is_some_and(|since| self.start >= since)
            && !crate::child::any_as_old(self.start, ended)
            && crate::child::is_nobodys(self.pid)
    }

    /// Is it in the group or session that `leader` leads or led?
    pub(super) fn belongs_to(&self, leader: u32) -> bool {
        self.group == leader || self.session == leader
    }
}

/// The start of this process, if each orphan that it gets is one of its own doing. `None`: it had children before it
/// started any, or it is the first of its system and gets everybody's.
static ADOPTS_SINCE: OnceLock<Option<u64>> = OnceLock::new();

/// From now on orphans come here. Before anything is started.
#[cfg(target_os = "linux")]
pub(super) fn adopts_from_now_on() {
    let me = std::process::id();
    let alone = me != 1 && !system::may_have_orphans();
    let _ = ADOPTS_SINCE.set(system::start_of(me).filter(|_| alone));
}

/// Names of processes for people, at most a handful: `sleep (process 4711)`.
pub(super) fn in_words(all: &[Seen]) -> String {
    const MOST: usize = 5;
    let mut names: Vec<String> =
        all.iter().take(MOST).map(|seen| format!("{} (process {})", name_of(seen.pid), seen.pid)).collect();
    if all.len() > MOST {
        names.push(format!("and {} more", all.len() - MOST));
    }
    names.join(", ")
}

/// The process with this number, as it is written down; it must not have been waited for yet.
pub(super) fn identify(pid: u32) -> Process {
    Process { pid, start: system::start_of(pid).unwrap_or(0), boot: boot_hash() }
}

/// All processes, from a scan that began after this call. Callers that come together share one.
pub(super) async fn living() -> Arc<Vec<Seen>> {
    static LATEST: Mutex<Option<(Instant, Arc<Vec<Seen>>)>> = Mutex::const_new(None);
    let asked = Instant::now();
    let mut latest = LATEST.lock().await;
    if let Some((began, seen)) = &*latest
        && *began >= asked
    {
        return Arc::clone(seen);
    }
    let began = Instant::now();
    let seen = Arc::new(tokio::task::spawn_blocking(|| system::scan(|_| {})).await.unwrap_or_default());
    *latest = Some((began, Arc::clone(&seen)));
    seen
}

/// All processes, from a scan of its own that stops whom `wanted` names in the moment that it sees
/// them: one that forks and exits in a loop is gone when a scan is at its end.
pub(super) async fn living_stopped(wanted: impl Fn(&Seen) -> bool + Send + 'static) -> Vec<Seen> {
    let stop = move |seen: &Seen| {
        if wanted(seen) {
            let _ = signal(seen, Signal::STOP);
        }
    };
    tokio::task::spawn_blocking(move || system::scan(stop)).await.unwrap_or_default()
}

/// A process number as the system calls want it.
pub(super) fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// Identity of this boot; 0 where the system does not tell.
pub(super) fn boot_hash() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| match system::boot_id() {
        Some(id) => {
            let digest = Sha256::digest(id.trim().as_bytes());
            digest[..8].iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte))
        }
        None => 0,
    })
}
