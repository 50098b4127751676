//! `bgagent shutdown`: ends the daemon and waits until its process has exited.
use super::prelude::*;
use crate::cli::args::ShutdownArgs;
use crate::client::{Connection, holder, is_alive};
use crate::protocol::{Shutdown, ShutdownParams};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// Timeout for the whole shutdown. The daemon's grace period is 30 s by default.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(60);
/// Time that a daemon may take from closing its connections to the end of its process.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

pub(in crate::cli) fn run(app: &mut App, args: &ShutdownArgs) -> Result<Outcome, Failure> {
    let mut connection = app.connect()?;
    let pid = connection.hello().pid;
    connection.call::<Shutdown>(&ShutdownParams { now: args.now })?;
    let state = app.paths()?.state_dir.clone();
    if !is_gone(&mut connection, pid, &state) {
        return Err(Failure::TimedOut {
            what: format!("the daemon (pid {pid}) is still there after {} s", SHUTDOWN_TIMEOUT.as_secs()),
            hint: "runs in flight may take their time; `bgagent shutdown --now` does not let them finish"
                .into(),
        });
    }
    app.answer(&json!({"pid": pid, "stopped": true}), |_, _| format!("daemon stopped (pid {pid})\n"))?;
    Ok(Outcome::Done)
}

/// Waits until the daemon has closed its connections, and then until its process has exited.
fn is_gone(connection: &mut Connection, pid: u32, state: &Path) -> bool {
    let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
    if !connection.wait_for_end(SHUTDOWN_TIMEOUT) {
        return false;
    }
    let listens = || std::os::unix::net::UnixStream::connect(connection.socket()).is_ok();
    // from within a PID namespace its process is invisible, but its lock is not
    let holds = || holder(state).is_some_and(|holder| holder.pid == Some(pid));
    let mut unreachable_since = None;
    while is_alive(pid) || holds() {
        if Instant::now() >= deadline {
            return false;
        }
        // a pid that still exists long afterwards was reused, or belongs to another container
        match listens() {
            true => unreachable_since = None,
            false if unreachable_since.get_or_insert_with(Instant::now).elapsed() >= EXIT_TIMEOUT => break,
            false => {}
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}
