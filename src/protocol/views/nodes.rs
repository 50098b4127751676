//! Views of the nodes that share records.
use crate::domain::{AgentId, RunId, described, words};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

words! {
    /// What a node is to the others.
    NodeRole {
        /// It decides, and runs what is not placed elsewhere.
        Leads = "leads",
        /// It runs what the leader places there, takes over when nobody leads, if it may, and forwards to the leader what only the
        /// leader can answer.
        StandsBy = "stands_by",
        /// It has not been heard from for 25 seconds.
        Away = "away",
    }
}

described! {
    /// A daemon among those that share their records.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct NodeView {
        /// Its name: `node` of `[daemon]`, or that of its machine.
        pub name: String,
        /// What it is to the others.
        pub role: NodeRole,
        /// It is the one that answers this.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub is_this: bool,
        /// Its machine and its state folder.
        pub place: String,
        /// Its release.
        pub version: String,
        /// The newest version of the protocol that it speaks.
        pub protocol: u32,
        /// What it has, by `labels` of `[daemon]`.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub labels: BTreeMap<String, String>,
        /// It may take the lead.
        pub may_lead: bool,
        /// Runs that it has in hand.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub runs: Vec<NodeRunView>,
        /// Hash of its configuration, 16 hexadecimal digits. Its name and its labels don't count.
        pub config_hash: String,
        /// The revision of the fleet's configuration that it has; absent: its own file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub config_revision: Option<u64>,
        /// Its configuration differs from that of the leader.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub other_config: bool,
        /// When it was started, by its own clock.
        pub started_at: Timestamp,
        /// When it was last heard from, by the clock of the database. If it is away: since when.
        pub last_seen: Timestamp,
        /// How far its clock is ahead of that of the database, in milliseconds.
        pub clock_offset_ms: i64,
        /// How long the database took to answer it then, in milliseconds.
        pub lag_ms: u64,
    }

    /// A run that a node has in hand.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct NodeRunView {
        /// Id of the run.
        pub run_id: RunId,
        /// Name of its agent.
        pub agent_id: AgentId,
    }

    /// Who leads the daemons that share their records.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct FleetLeadView {
        /// The node that leads; null: nobody does.
        pub leader: Option<String>,
        /// Its machine and its state folder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub place: Option<String>,
        /// Grows with each daemon that takes the lead.
        pub epoch: u64,
        /// Since when it leads, or since when nobody does, by the clock of the database; null: nobody ever did.
        pub since: Option<Timestamp>,
        /// All nodes, by name.
        pub nodes: Vec<NodeView>,
    }
}
