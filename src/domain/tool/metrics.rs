//! Arguments of the `system_metrics` tool, and its settings: arguments that callers can't change.
use super::arguments::{CallSchema, arguments};
use super::json;
use serde::{Deserialize, Serialize};

arguments! {
    /// What is measured.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct MetricsArgs {
        /// How many of the busiest processes are listed.
        #[serde(deserialize_with = "json::whole", skip_serializing_if = "Option::is_none")]
        #[schema(at_most(Self::LARGEST_TOP).default_is(Self::TOP))]
        pub top: Option<u64>,
        /// Whether disks are listed.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(default_is(Self::DISKS))]
        pub disks: Option<bool>,
    }
}

impl MetricsArgs {
    /// Default of `top`.
    pub const TOP: u64 = 5;
    /// Maximum of `top`.
    pub const LARGEST_TOP: u64 = 50;
    /// Default of `disks`.
    pub const DISKS: bool = true;

    /// Returns the arguments of a call, without those that the settings fix.
    pub fn schema(fixed: &Self) -> CallSchema {
        let mut schema = CallSchema::of::<Self>();
        for (name, is_fixed) in [("top", fixed.top.is_some()), ("disks", fixed.disks.is_some())] {
            if is_fixed {
                schema = schema.without(name);
            }
        }
        schema
    }

    /// Returns these arguments, with missing ones taken from `others`.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self { top: self.top.or(others.top), disks: self.disks.or(others.disks) }
    }
}
