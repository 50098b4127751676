//! The daemons that share their records on a server, as the database knows them.
use crate::domain::{AgentId, RunId};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What a daemon is among those that share its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    pub name: String,
    /// Its machine and its state folder.
    pub place: String,
    pub version: String,
    /// The newest version of the protocol that it speaks.
    pub protocol: u32,
    /// What it has.
    pub labels: BTreeMap<String, String>,
    /// It may take the lead.
    pub may_lead: bool,
    /// It leads now.
    pub leads: bool,
    /// It was heard of a moment ago.
    pub is_there: bool,
    /// Runs that it has in hand, the oldest first.
    pub runs: Vec<(RunId, AgentId)>,
    /// Hash of its configuration.
    pub config: String,
    /// When it was started, by its own clock.
    pub started_at: Timestamp,
    /// When it was last heard of, by the clock of the database.
    pub seen: Timestamp,
    /// How far its clock is ahead of that of the database, in milliseconds.
    pub clock_offset_ms: i64,
    /// How long the database took to answer it then, in milliseconds.
    pub lag_ms: i64,
}

/// Who leads the daemons that share their records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetLead {
    /// Grows with each daemon that takes the lead.
    pub epoch: u64,
    /// The one that leads: its machine and its state folder. `None`: nobody does.
    pub leader: Option<String>,
    pub node: Option<String>,
    /// Since when it leads, or since when nobody does, by the clock of the database. `None`: nobody ever did.
    pub since: Option<Timestamp>,
    /// The clock of the database.
    pub now: Timestamp,
    /// For how long the one that leads keeps the lead if it is not heard of, in seconds.
    pub left_secs: u64,
}
