//! The daemon's record of itself.
use serde::Deserialize;
use std::path::PathBuf;

/// The daemon's record of itself in `<state>/daemon.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listener {
    /// The socket that it listens on.
    pub socket: PathBuf,
    pub pid: u32,
    #[serde(default)]
    pub version: String,
    /// Newest protocol version that it supports.
    #[serde(default)]
    pub protocol: Option<u32>,
    /// The node that leads, while this one is a standby.
    #[serde(default)]
    pub standby_of: Option<String>,
}

/// The holder of a state folder's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its pid, as recorded in the lock file.
    pub pid: Option<u32>,
}
