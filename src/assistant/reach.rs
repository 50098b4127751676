//! How a session reaches the fleet, and the errors of calls.
use crate::client::{ClientError, Connection};
use crate::protocol::Method;
use std::path::PathBuf;

/// The error of a call: one sentence, and a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallTrouble {
    /// What went wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl CallTrouble {
    /// Creates an error with a hint.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: Some(hint.into()) }
    }
}

/// A respondent for several calls.
pub trait CallDesk {
    /// Calls a method.
    ///
    /// # Errors
    /// The connection failed, or the answer is an error.
    fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, ClientError>;
}

/// The paths of the configuration and the state, and whether an agent started this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetPaths {
    pub config: PathBuf,
    /// The state folder.
    pub state_dir: PathBuf,
    /// This process descends from an agent's program.
    pub is_of_agent: bool,
}

/// Access to the fleet, established anew for each call.
pub trait Reach: Send + Sync + 'static {
    /// The respondent of read-only calls.
    type CallDesk: CallDesk;

    /// Returns the respondent of read-only calls, and a sentence if it is not the daemon.
    ///
    /// # Errors
    /// There is none.
    fn desk(&self) -> Result<(Self::CallDesk, Option<String>), CallTrouble>;

    /// Connects to the daemon.
    ///
    /// # Errors
    /// It can't be reached.
    fn daemon(&self) -> Result<Connection, CallTrouble>;

    /// Converts an error of a call.
    fn trouble(&self, error: ClientError) -> CallTrouble;

    /// Returns the paths.
    ///
    /// # Errors
    /// There are no such paths.
    fn place(&self) -> Result<FleetPaths, CallTrouble>;

    /// Returns the command for a person to type, with the options of this fleet: `bgagent --config … accept 1a2b3c4d`.
    fn command(&self, words: &[&str]) -> String;
}
