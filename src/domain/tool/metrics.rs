//! Arguments of the `system_metrics` tool, and its settings: arguments that callers can't change.
use super::json;
use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricsArgs {
    /// How many of the busiest processes are listed.
    #[serde(deserialize_with = "json::whole", skip_serializing_if = "Option::is_none")]
    pub top: Option<u64>,
    /// Whether disks are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disks: Option<bool>,
}

impl MetricsArgs {
    /// `top` where nothing is said.
    pub const TOP: u64 = 5;
    /// Largest `top`.
    pub const LARGEST_TOP: u64 = 50;
    /// `disks` where nothing is said.
    pub const DISKS: bool = true;

    /// These, and `others` for what they leave out.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self { top: self.top.or(others.top), disks: self.disks.or(others.disks) }
    }
}
