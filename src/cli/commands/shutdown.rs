//! `bgagent shutdown`: ends the daemon and waits until it is gone.
use super::prelude::*;
use crate::cli::args::ShutdownArgs;
use crate::client::{Connection, holder, is_alive};
use crate::protocol::{Shutdown, ShutdownParams};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long it is waited for. The grace of a daemon is 30 s unless it is configured.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a daemon may take from hanging up to the end of its process.
const LAST_STEPS: Duration = Duration::from_secs(10);

pub(in crate::cli) fn run(app: &mut App, args: &ShutdownArgs) -> Result<Outcome, Failure> {
    let mut connection = app.connect()?;
    let pid = connection.hello().pid;
    connection.call::<Shutdown>(&ShutdownParams { now: args.now })?;
    let state = app.paths()?.state_dir.clone();
    if !is_gone(&mut connection, pid, &state) {
        return Err(Failure::TimedOut {
            what: format!("the daemon (pid {pid}) is still there after {} s", PATIENCE.as_secs()),
            hint: "runs in flight may take their time; `bgagent shutdown --now` does not let them finish"
                .into(),
        });
    }
    app.answer(&json!({"pid": pid, "stopped": true}), |_, _| format!("daemon stopped (pid {pid})\n"))?;
    Ok(Outcome::Done)
}

/// The daemon hangs up when it ends; then only its process is left to go.
fn is_gone(connection: &mut Connection, pid: u32, state: &Path) -> bool {
    let deadline = Instant::now() + PATIENCE;
    if !connection.wait_for_end(PATIENCE) {
        return false;
    }
    let listens = || std::os::unix::net::UnixStream::connect(connection.socket()).is_ok();
    // from within a PID namespace its process can't be seen, but its lock can
    let holds = || holder(state).is_some_and(|holder| holder.pid == Some(pid));
    let mut unheard = None;
    while is_alive(pid) || holds() {
        if Instant::now() >= deadline {
            return false;
        }
        // a number that is still there long after is of somebody else: it was used again, or is of another container
        match listens() {
            true => unheard = None,
            false if unheard.get_or_insert_with(Instant::now).elapsed() >= LAST_STEPS => break,
            false => {}
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}
