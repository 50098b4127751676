//! Programs: how each is started, kept, and terminated with everything that it started.
//!
//! Every program that this process starts has a keeper ([`trampoline`], [`KeptProgram`]), and a control group if available
//! ([`groups`]). A short-lived helper (a check, a notifier, a password store) is [`run`] with limits on time and output.
//! Longer-lived programs are managed by their callers: the body of a run by the runner, a tool server by `tools`.
use crate::domain::RunId;
use std::sync::OnceLock;

pub mod confined;
mod executable;
mod gate;
pub mod groups;
mod helper;
mod inherit;
mod installation;
pub mod kept;
mod own;
mod peers;
mod remove;
pub mod run_folders;
mod start;
pub mod trampoline;

pub use confined::{Confinement, OwnedConfinement};
pub use executable::{Unfit, find};
pub use gate::gate_program;
pub use helper::{ChildError, Finished, Program, first_line, how_it_ended, run};
pub use inherit::{Environment, Inherit};
pub use kept::{Ended, KeptProgram};
pub use own::{Own, is_nobodys, is_owned, starting};
pub use peers::rights_of_peer;
pub use start::{START_PLACES, STARTS_AT_A_TIME, StartFailure, StartOrder, start};

/// The variable that identifies a program of a run after a crash. A helper that is called for a run gets it in
/// [`Program::env`].
pub const RUN_ID: &str = "BGAGENT_RUN_ID";

/// The variable with the trace context for a program's own spans (W3C Trace Context).
pub const TRACEPARENT: &str = "TRACEPARENT";

/// The variable that identifies a helper that outlives its call (an MCP server) after a crash of its daemon. It names the
/// daemon, not a run.
pub const HELPER_OF: &str = "BGAGENT_HELPER_OF";

static DAEMON: OnceLock<RunId> = OnceLock::new();

/// Makes [`mark`] name this daemon. Called once, before anything is started.
pub fn mark_helpers_of(daemon: RunId) {
    // Only tests have a second daemon in one process; its helpers carry the first one's mark.
    let _ = DAEMON.set(daemon);
}

/// Returns the variable for a helper that outlives its call; `None` outside of a daemon.
pub fn mark() -> Option<(&'static str, String)> {
    DAEMON.get().map(|daemon| (HELPER_OF, daemon.to_string()))
}

/// Returns whether this process was started by an agent: it has a run's mark in its environment, or descends from `daemon`, or
/// from anything else named like this program or its gate.
///
/// Used for operations that need a person. As with [`rights_of_peer`], a process that another service started for an agent is
/// not detected.
pub fn is_of_agent(daemon: Option<u32>) -> bool {
    let is_marked = [RUN_ID, HELPER_OF].iter().any(|mark| std::env::var_os(mark).is_some());
    is_marked || peers::descends_from_us(daemon)
}

/// Makes this process non-dumpable (`PR_SET_DUMPABLE`, prctl(2)), so that other processes of the same user can't read its
/// memory and environment; neither it nor what it starts leaves a core (core(5)). Called first.
pub fn keep_memory_closed() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Keeps descriptors inherited by this process from its child processes. Called first: descriptors that it opens itself are
/// never inherited.
pub fn keep_descriptors() {
    /// After standard input, output and error.
    const FIRST: i32 = 3;
    close_fds::set_fds_cloexec(FIRST, &[]);
}

#[cfg(test)]
mod tests;
