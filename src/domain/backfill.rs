//! Backfills: past slots of an agent that run one after the other, because a person asked for it.
use super::ids::AgentId;
use super::params::ParamValues;
use jiff::Timestamp;
use std::sync::Arc;

/// The place of a run in a backfill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastSlot {
    /// Id of the backfill.
    pub backfill: Arc<str>,
    /// The slot that the run is for. What the ledger says of it stays as it is.
    pub slot: Timestamp,
}

/// Past slots that run one after the other, and how far they have come.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillRecord {
    /// Its id: that of the request that asked for it, if that had one.
    pub id: Arc<str>,
    pub agent: AgentId,
    /// All of them, oldest first.
    pub slots: Arc<[Timestamp]>,
    /// Parameters that were given for each run; the rest have their defaults.
    pub params: ParamValues,
    /// All runs together cost no more, in US dollars.
    pub max_usd: Option<f64>,
    /// For so many of its slots a run was claimed.
    pub claimed: usize,
    /// What its runs that ended have cost, in US dollars.
    pub usd: f64,
}

impl BackfillRecord {
    /// So many slots one backfill can have.
    pub const MOST_SLOTS: usize = 5000;

    /// The slot that is to run next.
    pub fn next(&self) -> Option<Timestamp> {
        self.slots.get(self.claimed).copied()
    }

    /// What is left of its dollars, if they are bounded.
    pub fn usd_left(&self) -> Option<f64> {
        self.max_usd.map(|max| (max - self.usd).max(0.0))
    }
}
