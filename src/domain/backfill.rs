//! Backfills: past slots of an agent that run one after the other at a person's request.
use super::ids::AgentId;
use super::params::ParamValues;
use jiff::Timestamp;
use std::sync::Arc;

/// Identifies a run within a backfill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastSlot {
    pub backfill: Arc<str>,
    /// The slot of the run. Its ledger record is not changed.
    pub slot: Timestamp,
}

/// A backfill and its progress.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillRecord {
    /// Its id: that of the request, if it had one.
    pub id: Arc<str>,
    pub agent: AgentId,
    /// All its slots, oldest first.
    pub slots: Arc<[Timestamp]>,
    /// Explicit parameters of each run; the rest have their defaults.
    pub params: ParamValues,
    /// Upper bound for the cost of all runs together, in US dollars.
    pub max_usd: Option<f64>,
    /// Number of its slots for which a run was claimed.
    pub claimed: usize,
    /// Cost of its ended runs, in US dollars.
    pub usd: f64,
}

impl BackfillRecord {
    /// Maximum number of slots of a backfill.
    pub const MOST_SLOTS: usize = 5000;

    /// Returns the slot to run next.
    pub fn next(&self) -> Option<Timestamp> {
        self.slots.get(self.claimed).copied()
    }

    /// Returns the remaining dollars, if there is a limit.
    pub fn usd_left(&self) -> Option<f64> {
        self.max_usd.map(|max| (max - self.usd).max(0.0))
    }
}
