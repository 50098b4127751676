//! The targets of escape attempts.
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// The targets of escape attempts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stage {
    /// A writable folder.
    pub(super) inside: PathBuf,
    /// A folder that may not even be read.
    pub(super) outside: PathBuf,
    /// The home folder of the owner.
    pub(super) home: PathBuf,
    /// A process of the owner.
    pub(super) victim: u32,
    /// A port outside that something listens on.
    pub(super) port: u16,
    /// The sandbox has a network of its own.
    pub(super) has_network: bool,
}

impl Stage {
    pub(super) fn secret(&self) -> PathBuf {
        self.outside.join("secret")
    }

    pub(super) fn abstract_name(&self) -> String {
        format!("bgagent-doctor-{}", self.victim)
    }

    /// Returns the argument of the program that is to outlive its starter; it is unique.
    pub(super) fn lasting(&self, at: usize) -> u64 {
        70_000_000 + u64::from(self.victim) * 10 + at as u64
    }

    /// Returns the process for system calls.
    pub(super) fn victim(&self) -> io::Result<Pid> {
        let number = i32::try_from(self.victim).ok().and_then(Pid::from_raw);
        number.ok_or_else(|| Errno::SRCH.into())
    }
}
