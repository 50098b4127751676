//! Programs: how each is started, kept, and ended with all that it started.
//!
//! Every program that this process starts has a keeper ([`trampoline`], [`Kept`]). A short-lived helper (a check, a
//! notifier, a password store) is [`run`] within bounds of time and output. Who stays longer is its caller's to look after: the body of
//! a run is the runner's, a tool server `tools`'.
use crate::domain::RunId;
use std::io;
use std::sync::OnceLock;
use tokio::process::{Child, Command};

mod executable;
mod gate;
mod helper;
mod inherit;
pub mod kept;
mod own;
pub mod trampoline;

pub use executable::{Unfit, find};
pub use gate::gate_program;
pub use helper::{ChildError, Finished, Program, first_line, how_it_ended, run};
pub use kept::{Ended, Kept, Start};
pub use inherit::{Environment, Inherit};
pub use own::{Own, is_nobodys, is_owned, starting};

/// The variable by which a program that belongs to a run is found after a crash. A helper that is
/// called for a run gets it in [`Program::env`].
pub const RUN_ID: &str = "BGAGENT_RUN_ID";

/// The variable by which a helper that outlives its call (an MCP server) is found after a crash of the
/// daemon that it belongs to. It names the daemon, not a run.
pub const HELPER_OF: &str = "BGAGENT_HELPER_OF";

static DAEMON: OnceLock<RunId> = OnceLock::new();

/// From now on [`mark`] names this daemon. Once, before anything is started.
pub fn mark_helpers_of(daemon: RunId) {
    // A second daemon in the same process is one of tests; its helpers carry the first one's mark.
    let _ = DAEMON.set(daemon);
}

/// What a helper that outlives its call gets in its environment; nothing outside of a daemon.
pub fn mark() -> Option<(&'static str, String)> {
    DAEMON.get().map(|daemon| (HELPER_OF, daemon.to_string()))
}

/// Starts a program, which is ours to wait for from its first moment on.
///
/// # Errors
/// What the system says.
pub fn spawn_owned(command: &mut Command) -> io::Result<(Child, Option<Own>)> {
    let _starting = starting();
    let child = command.spawn()?;
    let own = child.id().map(Own::of);
    Ok((child, own))
}

#[cfg(test)]
mod tests;
