//! Checks of the `probe` tool, as they are written: what is not said stays unsaid, and its default is beside it.
use super::json;
use super::words::{DiskMetric, HttpMethod, ProbeType};
use crate::domain::sandbox::Sandbox;
use crate::domain::secret_ref::TextOrSecret;
use jiff::SignedDuration;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What all calls of an instance check. It also stands in the arguments of a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProbeSettings {
    /// The checks.
    pub checks: Vec<ProbeCheck>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeCheck {
    /// Key of its finding; `None`: made of what is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// From this value on it is a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn: Option<f64>,
    /// From this value on it is critical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crit: Option<f64>,
    /// A problem ends when the value falls to this; `None`: when it is below `warn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clear: Option<f64>,
    /// How long it must be bad before that is an incident; `None`: no time.
    #[serde(
        rename = "for",
        serialize_with = "json::opt_secs::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub hold_for: Option<SignedDuration>,
    /// Longest time of the check.
    #[serde(serialize_with = "json::opt_secs::serialize", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<SignedDuration>,
    /// What is checked.
    #[serde(flatten)]
    pub target: ProbeTarget,
}

impl ProbeCheck {
    /// `timeout` where nothing is said.
    pub const TIMEOUT: SignedDuration = SignedDuration::from_secs(10);
}

/// What is checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ProbeTarget {
    /// The file system that a folder is on.
    Disk {
        /// The folder.
        #[serde(serialize_with = "json::shown")]
        path: PathBuf,
        /// What is measured, in percent.
        #[serde(skip_serializing_if = "Option::is_none")]
        metric: Option<DiskMetric>,
        /// Whether something must be mounted there; `None`: as it was before.
        #[serde(skip_serializing_if = "Option::is_none")]
        mounted: Option<bool>,
    },
    /// Memory in use, in percent.
    Memory,
    /// Load of a minute, per core.
    Load,
    /// An HTTP address; its value is milliseconds.
    Http(Box<WebCheck>),
    /// A TCP port; its value is milliseconds.
    Tcp {
        /// Name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// How many processes there are.
    Process {
        /// Name of the program or of its script; with a blank or slash in it: a part of the command line.
        #[serde(rename = "process")]
        name: String,
        /// At least so many.
        #[serde(skip_serializing_if = "Option::is_none")]
        min: Option<u64>,
    },
    /// A unit of systemd.
    Systemd {
        /// Its name.
        unit: String,
        /// Of the user's own manager.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<bool>,
    },
    /// A program: exit status 0 is good, 1 a warning, all else critical.
    Command {
        /// Program and arguments.
        #[serde(rename = "command")]
        argv: Vec<String>,
        /// The walls around it.
        #[serde(skip_serializing_if = "Option::is_none")]
        sandbox: Option<Arc<Sandbox>>,
    },
}

/// What is asked over HTTP, and what the answer must be.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WebCheck {
    /// The address.
    pub url: String,
    /// How it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// Sent along.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, TextOrSecret>,
    /// Statuses that are right; `None`: 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Vec<u16>>,
    /// A text that the answer must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A text that the answer must not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_contains: Option<String>,
    /// Days for which its certificate must still be good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_days: Option<u64>,
}

impl WebCheck {
    /// `method` where nothing is said.
    pub const METHOD: HttpMethod = HttpMethod::Get;
}

impl ProbeTarget {
    /// `metric` where nothing is said.
    pub const METRIC: DiskMetric = DiskMetric::Used;
    /// `min` where nothing is said.
    pub const MIN: u64 = 1;

    /// Its type.
    pub fn kind(&self) -> ProbeType {
        match self {
            Self::Disk { .. } => ProbeType::Disk,
            Self::Memory => ProbeType::Memory,
            Self::Load => ProbeType::Load,
            Self::Http(_) => ProbeType::Http,
            Self::Tcp { .. } => ProbeType::Tcp,
            Self::Process { .. } => ProbeType::Process,
            Self::Systemd { .. } => ProbeType::Systemd,
            Self::Command { .. } => ProbeType::Command,
        }
    }
}

impl ProbeType {
    /// What a check of this type takes beside what all take.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Disk => &["path", "metric", "mounted"],
            Self::Http => &["url", "method", "headers", "status", "contains", "not_contains", "tls_days"],
            Self::Tcp => &["host", "port"],
            Self::Process => &["process", "min"],
            Self::Systemd => &["unit", "user"],
            Self::Command => &["command", "sandbox"],
            Self::Memory | Self::Load => &[],
        }
    }

    /// Whether it gives a number that can be compared with thresholds.
    pub fn has_value(self) -> bool {
        !matches!(self, Self::Systemd | Self::Command)
    }

    /// `warn` and `crit` where nothing is said; `None`: then nothing is compared.
    pub fn thresholds(self) -> Option<(f64, f64)> {
        match self {
            Self::Disk => Some((80.0, 90.0)),
            Self::Memory => Some((85.0, 95.0)),
            Self::Load => Some((2.0, 4.0)),
            _ => None,
        }
    }
}
