//! The steps of the protocol, by name: where a test may end or stop the process.

/// A step of the protocol. In builds that check themselves (`build.rs`), `BGAGENT_ARCHIVE_DIE_AT=NAME:N` ends the process at the Nth time
/// that the step NAME (or any, as `*`) is reached, as `kill -9` does, and `BGAGENT_ARCHIVE_STOP_AT` stops it
/// until somebody lets it go on: for tests of what is left behind, and of what others do meanwhile.
#[cfg(checked)]
pub(super) fn point(name: &str) {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;
    static PASSED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
    let orders = [("BGAGENT_ARCHIVE_DIE_AT", Signal::KILL), ("BGAGENT_ARCHIVE_STOP_AT", Signal::STOP)];
    for ((variable, signal), passed) in orders.into_iter().zip(&PASSED) {
        let Ok(wanted) = std::env::var(variable) else { continue };
        let Some((at, count)) = wanted.split_once(':') else { continue };
        if (at == "*" || at == name)
            && passed.fetch_add(1, Ordering::SeqCst) + 1 == count.parse().unwrap_or(0)
        {
            let _ = kill_process(getpid(), signal);
            // a signal takes its time to reach every thread
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[cfg(not(checked))]
pub(super) fn point(_: &str) {}
