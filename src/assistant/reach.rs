//! How a session reaches the fleet, and why a call was not carried out.
use crate::client::{ClientError, Connection};
use crate::protocol::Method;
use std::path::PathBuf;

/// Why a call was not carried out: one sentence, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallTrouble {
    /// What went wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl CallTrouble {
    /// With a hint.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: Some(hint.into()) }
    }
}

/// Whoever answers one question after the other.
pub trait CallDesk {
    /// Asks.
    ///
    /// # Errors
    /// The connection, or the answer says no.
    fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, ClientError>;
}

/// Where the configuration and the state are, and whose doing this process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetPlace {
    pub config: PathBuf,
    /// The state folder.
    pub state_dir: PathBuf,
    /// This process descends from an agent's program.
    pub is_of_agent: bool,
}

/// How the fleet is reached, anew for each call.
pub trait Reach: Send + Sync + 'static {
    /// Who answers questions.
    type CallDesk: CallDesk;

    /// Whoever answers questions that change nothing; and a sentence where that is not the daemon.
    ///
    /// # Errors
    /// Nobody does.
    fn desk(&self) -> Result<(Self::CallDesk, Option<String>), CallTrouble>;

    /// The daemon.
    ///
    /// # Errors
    /// It can't be reached.
    fn daemon(&self) -> Result<Connection, CallTrouble>;

    /// What went wrong, in words.
    fn trouble(&self, error: ClientError) -> CallTrouble;

    /// Where everything lies.
    ///
    /// # Errors
    /// There is no place for it.
    fn place(&self) -> Result<FleetPlace, CallTrouble>;

    /// What a person types to run this command here: `bgagent --config … accept 1a2b3c4d`.
    fn command(&self, words: &[&str]) -> String;
}
