//! Programs: how each is started, kept, and ended with all that it started.
//!
//! Every program that this process starts has a keeper ([`trampoline`], [`KeptProgram`]), and a control group where there are any ([`groups`]). A short-lived helper (a check, a
//! notifier, a password store) is [`run`] within bounds of time and output. Who stays longer is its caller's to look after: the body of
//! a run is the runner's, a tool server `tools`'.
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

/// The variable by which a program that belongs to a run is found after a crash. A helper that is
/// called for a run gets it in [`Program::env`].
pub const RUN_ID: &str = "BGAGENT_RUN_ID";

/// The variable with the trace that a program's own spans belong to (W3C Trace Context).
pub const TRACEPARENT: &str = "TRACEPARENT";

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

/// Is this process the doing of an agent: has it the mark of a run in its environment, or does it descend from `daemon`, or from
/// anything else that is called like this program or its gate?
///
/// It is asked where something needs a person. As with [`rights_of_peer`], who had another service start it is not known by this.
pub fn is_of_agent(daemon: Option<u32>) -> bool {
    let is_marked = [RUN_ID, HELPER_OF].iter().any(|mark| std::env::var_os(mark).is_some());
    is_marked || peers::descends_from_us(daemon)
}

/// Others of the same user can't read what this process knows: it is not dumpable (`PR_SET_DUMPABLE`, prctl(2)), which closes
/// its memory and environment, and neither it nor what it starts leaves a core (core(5)). First of all.
pub fn keep_memory_closed() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Descriptors of whoever started this process don't reach what it starts. First of all: those that it opens itself
/// never do.
pub fn keep_descriptors() {
    /// After standard input, output and error.
    const FIRST: i32 = 3;
    close_fds::set_fds_cloexec(FIRST, &[]);
}

#[cfg(test)]
mod tests;
