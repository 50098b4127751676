//! Nodes that share records on a server, as recorded in the database.
use crate::domain::{AgentId, RunId};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A node among those that share records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    pub name: String,
    /// Its machine and its state folder.
    pub place: String,
    pub version: String,
    /// The newest version of the protocol that it supports.
    pub protocol: u32,
    pub labels: BTreeMap<String, String>,
    /// Whether it may take the lead.
    pub may_lead: bool,
    /// Whether it leads now.
    pub leads: bool,
    /// Whether it has been seen within the last 25 s.
    pub is_there: bool,
    /// Runs in flight on it, oldest first.
    pub runs: Vec<(RunId, AgentId)>,
    /// Hash of its configuration.
    pub config: String,
    /// The revision of the fleet's configuration that it has; 0: its own file.
    pub revision: u64,
    /// When it was started, by its own clock.
    pub started_at: Timestamp,
    /// When it was last seen, by the clock of the database.
    pub seen: Timestamp,
    /// How far its clock is ahead of that of the database, in milliseconds.
    pub clock_offset_ms: i64,
    /// Latency of the database from there, in milliseconds.
    pub lag_ms: i64,
}

/// The lead among the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetLead {
    /// Grows with each daemon that takes the lead.
    pub epoch: u64,
    /// The leader: its machine and its state folder. `None` if there is none.
    pub leader: Option<String>,
    pub node: Option<String>,
    /// Since when it leads, or since when no node does, by the clock of the database. `None`: none ever did.
    pub since: Option<Timestamp>,
    /// The clock of the database.
    pub now: Timestamp,
    /// Seconds until the lease of the leader expires, unless it renews it.
    pub left_secs: u64,
}
