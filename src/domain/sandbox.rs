//! Sandbox settings of a program, as configured.
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
    /// Returns whether it includes the needed level.
    pub fn holds(self, needed: Self) -> bool {
        self as u8 >= needed as u8
    }
}

/// What a sandboxed program can access, besides the system's programs, libraries, certificates and time zones, and
/// a private temporary folder that is deleted with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sandbox {
    /// Paths that it may read, with everything below.
    pub read: Vec<PathBuf>,
    /// Paths where it may read, write, create and delete.
    pub write: Vec<PathBuf>,
    /// Paths that it may execute; `None`: the system's programs.
    pub exec: Option<Vec<PathBuf>>,
    /// Network destinations. If empty, it has no network.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<NetTarget>,
    /// Unix sockets that it may connect to.
    pub unix: Vec<PathBuf>,
    /// Resource limits.
    pub limits: SandboxLimits,
}

/// The owner of a program, for events about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramOwner {
    /// Section of the configuration that defines it: `mcp.github`.
    pub table: String,
    /// The agent that it runs for, if any.
    pub agent: Option<AgentId>,
    pub run: Option<RunId>,
}

/// Resource limits of a sandboxed program. `None`: those of the process that starts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxLimits {
    /// Number of processes and threads, including descendants.
    pub processes: Option<u64>,
    /// Bytes of memory, including descendants.
    pub memory: Option<u64>,
    /// Number of open files per process.
    pub open_files: Option<u64>,
    /// Size of a written file, in bytes.
    pub file_size: Option<u64>,
    /// CPU time per process, in whole seconds.
    pub cpu: Option<SignedDuration>,
}

/// The configured sandbox of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SandboxSetting {
    /// Not configured: the default depends on who controls the program.
    #[default]
    Unset,
    /// Explicitly turned off.
    Off,
    On(Arc<Sandbox>),
}

impl SandboxSetting {
    /// Returns the sandbox of a program that a person configured: off by default.
    pub fn if_asked(&self) -> Option<Arc<Sandbox>> {
        match self {
            Self::On(sandbox) => Some(sandbox.clone()),
            Self::Unset | Self::Off => None,
        }
    }

    /// Returns the sandbox of a program that a model or a third party controls: on by default.
    pub fn unless_off(&self) -> Option<Arc<Sandbox>> {
        match self {
            Self::On(sandbox) => Some(sandbox.clone()),
            Self::Unset => Some(Arc::default()),
            Self::Off => None,
        }
    }

    /// Returns this setting, or the other one if this is not configured.
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
