//! What the system knows about processes: which are alive, since when, in which group, for which run.
#[cfg(target_os = "linux")]
mod linux;
// Also compiled for tests here, since few can run the tests on its own platform.
#[cfg(any(test, not(target_os = "linux")))]
#[cfg_attr(target_os = "linux", expect(dead_code, reason = "the tests don't use all of it"))]
mod portable;
pub(super) mod seen;

use crate::domain::Process;
use rustix::process::Signal;
#[cfg(target_os = "linux")]
use seen::ADOPTS_SINCE;
use seen::Seen;
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

/// Declares that orphans are adopted from now on. Called before anything is started.
#[cfg(target_os = "linux")]
pub(super) fn adopts_from_now_on() {
    let me = std::process::id();
    let alone = me != 1 && !system::may_have_orphans();
    let _ = ADOPTS_SINCE.set(system::start_of(me).filter(|_| alone));
}

/// Formats processes for messages, at most a handful: `sleep (process 4711)`.
pub(super) fn in_words(all: &[Seen]) -> String {
    const MAX_NAMED: usize = 5;
    let mut names: Vec<String> = all
        .iter()
        .take(MAX_NAMED)
        .map(|seen| format!("{} (process {})", name_of(seen.pid), seen.pid))
        .collect();
    if all.len() > MAX_NAMED {
        names.push(format!("and {} more", all.len() - MAX_NAMED));
    }
    names.join(", ")
}

/// Identifies the process with this PID for the record; it must not have been reaped yet.
pub(super) fn identify(pid: u32) -> Process {
    Process { pid, start: system::start_of(pid).unwrap_or(0), boot: boot_hash() }
}

/// Returns all live processes, from a scan that began after this call. Concurrent callers share one scan.
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

/// Returns all live processes, from a separate scan that sends STOP to those that `wanted` selects as soon as it sees them: a
/// process that forks and exits in a loop is gone by the end of a scan.
pub(super) async fn living_stopped(wanted: impl Fn(&Seen) -> bool + Send + 'static) -> Vec<Seen> {
    let stop = move |seen: &Seen| {
        if wanted(seen) {
            let _ = signal(seen, Signal::STOP);
        }
    };
    tokio::task::spawn_blocking(move || system::scan(stop)).await.unwrap_or_default()
}

/// Returns the identity of this boot; 0 where the system does not provide one.
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
