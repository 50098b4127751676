//! Views of agents and their slots.
use super::daemon::LimitView;
use super::runs::{OpenBackfillView, RunView};
use super::tools::IncidentView;
use crate::domain::described;
use crate::domain::{Activity, AgentId, Desired, Health, RunError, RunId, RunStatus, Verdict, Walled};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

described! {
    /// What became of a command on one agent (with `all`: on each, in `agents`).
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Changed {
        /// Name of the agent; absent with `all`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agent_id: Option<AgentId>,
        /// What was wanted of it before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub previous: Option<Desired>,
        /// What is wanted of it now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub state: Option<Desired>,
        /// False if nothing had to be changed.
        pub changed: bool,
        /// Number of the newest event when it was done.
        pub seq: u64,
        /// A remark for people: "already active".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub note: Option<String>,
        /// With `all`: what became of each agent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub agents: Vec<ChangedOne>,
    }

    /// What became of a command on one of all agents.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct ChangedOne {
        /// Name of the agent.
        pub agent_id: AgentId,
        /// What was wanted of it before.
        pub previous: Desired,
        /// What is wanted of it now.
        pub state: Desired,
        /// False if nothing had to be changed.
        pub changed: bool,
        /// Why nothing was done, if it was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub error: Option<String>,
        /// A remark for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub note: Option<String>,
    }

    /// One agent in `list`.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct AgentView {
        /// Name of the agent.
        pub agent_id: AgentId,
        /// What it is for, as the configuration says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub description: Option<String>,
        /// Why it may read what strangers write and what is private, and send out what it likes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub accept_risk: Option<String>,
        /// The programs that its runs can start: its own, and those of the tools and servers that it names.
        #[serde(default, skip_serializing_if = "Walled::is_empty")]
        pub sandbox: Walled,
        /// What is wanted of it.
        pub state: Desired,
        /// What it is doing.
        pub activity: Activity,
        /// How it fares.
        pub health: Health,
        /// When it is due, in words: `every 5m`.
        pub schedule: String,
        /// When it is due next, jitter included.
        pub next_run: Option<Timestamp>,
        /// Why it is paused or stopped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
        /// When it resumes by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub resume_at: Option<Timestamp>,
        /// The newest run that ended.
        pub last_run: Option<LastRunView>,
        /// Ids of runs in flight or waiting.
        pub runs_in_flight: Vec<RunId>,
        /// Runs that have begun.
        pub run_count: u64,
        /// Runs that completed.
        pub success_count: u64,
        /// Runs that failed.
        pub error_count: u64,
        /// Failed runs since the last success.
        pub consecutive_errors: u32,
        /// Slots that did not start a run.
        pub skipped_count: u64,
        /// US dollars since midnight in the daemon's zone.
        #[serde(serialize_with = "crate::domain::rounded")]
        pub cost_today_usd: f64,
        /// Its budget or the fleet's is used up: until then its slots are refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub budget_used_up_until: Option<Timestamp>,
        /// What it waits for can't come from outside, and why: a folder that is not there, an MCP server that is down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub source_problem: Option<String>,
        /// The clock was ahead and set back: since then nothing starts until `silent_until`, as the slots up to then ran
        /// already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub silent_since: Option<Timestamp>,
        /// Until when nothing starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub silent_until: Option<Timestamp>,
        /// Its past slots that are running one after the other.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub backfill: Option<OpenBackfillView>,
        /// Labels that a node must have to run it (`where`); none: it runs where the leader runs.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub node_labels: BTreeMap<String, String>,
        /// A run of it waits, since no node has those labels: why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub waits_for_node: Option<String>,
        /// Until when its circuit is open; slots until then are refused.
        #[serde(default)]
        pub circuit_until: Option<Timestamp>,
        /// How many incidents of it are open.
        #[serde(default, skip_serializing_if = "IncidentCounts::is_empty")]
        pub open_incidents: IncidentCounts,
        /// Recent runs, oldest first: in `list_agents` as many as were asked for.
        #[serde(default)]
        pub recent: Vec<RecentRun>,
    }

    /// Open incidents of an agent.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct IncidentCounts {
        /// Critical ones that nobody has acknowledged.
        pub critical: u64,
        /// Warnings that nobody has acknowledged.
        pub warning: u64,
        /// Those that a person has acknowledged.
        pub acknowledged: u64,
    }

    /// The newest run that ended.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct LastRunView {
        /// Id of the run; null: it found all well and left no record.
        pub run_id: Option<RunId>,
        /// How it ended.
        pub status: RunStatus,
        /// When its first attempt began.
        pub started_at: Option<Timestamp>,
        /// When it ended.
        pub finished_at: Timestamp,
        /// How long it took, in milliseconds, without time asleep.
        pub duration_ms: i64,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub error: Option<RunError>,
    }

    /// Everything of one agent.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct AgentDetail {
        /// As in `list`.
        #[serde(flatten)]
        pub agent: AgentView,
        /// What runs, in words: `command ./check.sh`, `tool probe`, `query (model main)`.
        pub runs: String,
        /// The next slots, in order.
        pub next_slots: Vec<Timestamp>,
        /// When it last succeeded.
        pub last_success: Option<Timestamp>,
        /// The newest run that failed.
        pub last_error: Option<LastRunView>,
        /// Median duration of recent completed runs, in milliseconds.
        pub p50_ms: Option<i64>,
        /// 95th percentile of the same.
        pub p95_ms: Option<i64>,
        /// Runs up to the newest slot that found all well, and so left no record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub all_well: Option<AllWellView>,
        /// Runs in flight or waiting.
        pub in_flight: Vec<RunView>,
        /// Slots of the last 24 hours by verdict.
        pub slots_24h: BTreeMap<Verdict, u64>,
        /// The rest of its settings, in words, by key: `overlap`, `catch_up`, `timeout`, `retry`, ….
        pub settings: BTreeMap<String, String>,
        /// Open incidents.
        pub incidents: Vec<IncidentView>,
        /// Its limits, and what is left of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub limits: Vec<LimitView>,
        /// Where it is defined: `agents.toml:12`.
        pub defined_at: String,
        /// Hash of its configuration, 16 hexadecimal digits.
        pub config_hash: String,
        /// What a person should know: a clock that is behind, a feature that is missing.
        pub notes: Vec<String>,
    }

    /// Consecutive runs that found all well.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct AllWellView {
        /// Slot of the first of them.
        pub since: Timestamp,
        /// Slot of the last of them.
        pub until: Timestamp,
        /// How many they are.
        pub count: u64,
    }

    /// One run in a strip.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct RecentRun {
        /// Id of the run.
        pub run_id: RunId,
        /// How it ended, or where it stands.
        pub status: RunStatus,
        /// How long it took, in milliseconds.
        pub duration_ms: i64,
    }

    /// A slot that will be left out.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct SkipView {
        /// Name of the agent.
        pub agent_id: AgentId,
        /// The slot that will be left out.
        pub slot: Timestamp,
        /// False if it already was to be left out.
        pub changed: bool,
    }

    /// A coming slot.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct SlotView {
        /// Name of the agent.
        pub agent_id: AgentId,
        /// When it is due by its schedule.
        pub slot: Timestamp,
        /// The same with its jitter.
        pub due: Timestamp,
        /// What is wanted of the agent: a paused one will not run.
        pub state: Desired,
        /// A remark: "will be skipped", "02:30 does not exist on this day".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub note: Option<String>,
    }

    /// What became of a slot.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Explanation {
        /// Name of the agent.
        pub agent_id: AgentId,
        /// What became of it, in one sentence for people.
        pub sentence: String,
        /// The slot, if there is one.
        pub slot: Option<Timestamp>,
        /// Its verdict, if it has one.
        pub verdict: Option<Verdict>,
        /// Why, in words.
        pub cause: Option<String>,
        /// Id of the run, if there was one.
        pub run_id: Option<RunId>,
        /// First slot of the record in the ledger; consecutive slots with one verdict and cause share a record.
        pub first: Option<Timestamp>,
        /// Last slot of the record.
        pub last: Option<Timestamp>,
        /// Slots in the record.
        pub count: Option<u64>,
    }
}

described! {
    /// A record of the ledger: consecutive slots with the same verdict and cause.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct SlotRecordView {
        /// Name of the agent.
        pub agent_id: AgentId,
        /// Its first slot.
        pub first: Timestamp,
        /// Its last slot.
        pub last: Timestamp,
        /// How many slots it has.
        pub count: u64,
        /// What became of them.
        pub verdict: Verdict,
        /// Why, in words; empty: the verdict says it all.
        pub cause: String,
        /// The run that was started.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub run_id: Option<RunId>,
        /// Where that run stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub status: Option<RunStatus>,
        /// When its first attempt began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub started_at: Option<Timestamp>,
        /// When it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub finished_at: Option<Timestamp>,
        /// How long it took, in milliseconds, without time asleep.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub duration_ms: Option<i64>,
        /// True: its slots ran, found all well and left no record of their runs.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub all_well: bool,
    }
}

impl IncidentCounts {
    /// Returns whether no incident is open.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
