//! What a daemon writes down about itself.
use serde::Deserialize;
use std::path::PathBuf;

/// What a daemon writes about itself into `<state>/daemon.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listener {
    /// Where it listens.
    pub socket: PathBuf,
    pub pid: u32,
    #[serde(default)]
    pub version: String,
    /// Newest protocol that it speaks.
    #[serde(default)]
    pub protocol: Option<u32>,
    /// The daemon that leads, while this one stands by and listens nowhere.
    #[serde(default)]
    pub standby_of: Option<String>,
}

/// Who holds the lock of a state folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its process, as it wrote it down.
    pub pid: Option<u32>,
}
