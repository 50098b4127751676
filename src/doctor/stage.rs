//! What escapes are tried on.
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// What is there for escapes to be tried on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stage {
    /// A folder that may be written.
    pub(super) inside: PathBuf,
    /// One that may not even be read.
    pub(super) outside: PathBuf,
    /// The home folder of the owner.
    pub(super) home: PathBuf,
    /// A process of the owner.
    pub(super) victim: u32,
    /// A port that is listened on, outside.
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

    /// Argument of the program that is to outlive its starter: nobody else has it.
    pub(super) fn lasting(&self, at: usize) -> u64 {
        70_000_000 + u64::from(self.victim) * 10 + at as u64
    }

    /// The process, as the system calls want it.
    pub(super) fn victim(&self) -> io::Result<Pid> {
        let number = i32::try_from(self.victim).ok().and_then(Pid::from_raw);
        number.ok_or_else(|| Errno::SRCH.into())
    }
}
