//! The steps of the protocol, by name: points where a test may kill or stop the process.

/// Marks a step of the protocol. In builds with self-checks (`build.rs`), `BGAGENT_ARCHIVE_DIE_AT=NAME:N`
/// kills the process the Nth time that the step NAME (or any, as `*`) is reached, as `kill -9` does, and
/// `BGAGENT_ARCHIVE_STOP_AT` stops it until it is continued: for tests of what is left behind, and of what
/// others do meanwhile.
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
            // Signal delivery to all threads takes a moment.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[cfg(not(checked))]
pub(super) fn point(_: &str) {}
