//! Walls around a program, as the configuration names them.
use super::ids::{AgentId, RunId};
use super::net_target::NetTarget;
use super::words::words;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

words! {
    /// What a program of an agent may ask of the daemon.
    Control {
        /// Nothing.
        None = "none",
        /// How things stand.
        Read = "read",
        /// That, and to start runs.
        Run = "run",
        /// What its owner may.
        Full = "full",
    }
}

impl Control {
    /// Does it hold at least this much?
    pub fn holds(self, needed: Self) -> bool {
        self as u8 >= needed as u8
    }
}

/// What a program within walls can reach, beside the system's programs, libraries, certificates and time zones, and a
/// private folder for temporary files that goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sandbox {
    /// What it may read, with all beneath.
    pub read: Vec<PathBuf>,
    /// What it may read, write, make and remove.
    pub write: Vec<PathBuf>,
    /// What it may execute; `None`: the system's programs.
    pub exec: Option<Vec<PathBuf>>,
    /// Where it may connect to. With none there is no network for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<NetTarget>,
    /// Sockets that it may connect to, by path.
    pub unix: Vec<PathBuf>,
    /// How much it may take.
    pub limits: SandboxLimits,
}

/// Whose program it is: for what is said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramOwner {
    /// The table of the configuration that it stands in: `mcp.github`.
    pub table: String,
    /// The agent that it runs for, where that is one.
    pub agent: Option<AgentId>,
    pub run: Option<RunId>,
}

/// How much a program within walls may take. `None`: what its starter may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxLimits {
    /// Processes and threads at a time, of all that it started.
    pub processes: Option<u64>,
    /// Bytes of memory, of all that it started.
    pub memory: Option<u64>,
    /// Files that one process has open.
    pub open_files: Option<u64>,
    /// Bytes of a file that it writes.
    pub file_size: Option<u64>,
    /// Time on a processor, of one process; whole seconds.
    pub cpu: Option<SignedDuration>,
}

/// What is said of the walls of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SandboxSetting {
    /// Nothing: that depends on who steers it.
    #[default]
    Unset,
    /// There are none.
    Off,
    On(Arc<Sandbox>),
}

impl SandboxSetting {
    /// For a program that a person wrote into the configuration: none where nothing is said.
    pub fn if_asked(&self) -> Option<Arc<Sandbox>> {
        match self {
            Self::On(sandbox) => Some(sandbox.clone()),
            Self::Unset | Self::Off => None,
        }
    }

    /// For a program that a model or a stranger steers: walls where nothing is said.
    pub fn unless_off(&self) -> Option<Arc<Sandbox>> {
        match self {
            Self::On(sandbox) => Some(sandbox.clone()),
            Self::Unset => Some(Arc::default()),
            Self::Off => None,
        }
    }

    /// This, or what the other says where this says nothing.
    pub fn or(&self, other: &Self) -> Self {
        if *self == Self::Unset { other.clone() } else { self.clone() }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what holds where nothing is said.
    use super::*;

    #[test]
    fn who_steers_a_program_decides_where_nothing_is_said() {
        let on = SandboxSetting::On(Arc::default());
        assert_eq!((SandboxSetting::Unset.if_asked(), SandboxSetting::Off.if_asked()), (None, None));
        assert!(on.if_asked().is_some() && on.unless_off().is_some());
        assert!(SandboxSetting::Unset.unless_off().is_some() && SandboxSetting::Off.unless_off().is_none());
        assert_eq!(SandboxSetting::Unset.or(&on), on);
        assert_eq!(SandboxSetting::Off.or(&on), SandboxSetting::Off);
    }

    #[test]
    fn rights_on_the_socket_are_in_order() {
        assert!(Control::Full.holds(Control::Run) && Control::Run.holds(Control::Read));
        assert!(Control::Read.holds(Control::None) && !Control::None.holds(Control::Read));
    }
}
