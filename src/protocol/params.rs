//! Parameters of each method. Unknown fields are ignored (section 10).
use crate::domain::{Described, ParamValues, Shape, TellOn, described, words};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use super::envelope::call_line;
use super::method::Method;

/// How usage is grouped: one word, or several in an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UsageGroups {
    /// By one dimension.
    One(String),
    /// By a period, and then by agent or model.
    Several(Vec<String>),
}

impl UsageGroups {
    /// Returns the words.
    pub fn words(&self) -> Vec<&str> {
        match self {
            Self::One(word) => vec![word],
            Self::Several(words) => words.iter().map(String::as_str).collect(),
        }
    }
}

impl Described for UsageGroups {
    fn shape() -> Shape {
        Shape::Plain("string, or array of strings")
    }
}

/// Returns the line (with its terminator) that calls method `M`.
pub fn call<M: Method>(id: u64, params: &M::Params) -> String {
    call_line(id, M::NAME, params)
}

described! {
    /// Parameters of a method that takes none.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct NoParams {}

    /// Which versions the client speaks.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct HelloParams {
        /// All versions that the client speaks.
        pub protocols: Vec<u32>,
        /// Name and release of the client, for the log.
        #[serde(default)]
        pub client: String,
    }

    /// A configuration for the fleet: one of `text`, `again` and `withdraw`.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct ApplyParams {
        /// Its text, TOML, of up to 512 KiB.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub text: Option<String>,
        /// Where the text comes from, for people: a path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub origin: Option<String>,
        /// This revision again, as a new one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub again: Option<u64>,
        /// None: from now on the file of whichever node leads is in force.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub withdraw: bool,
        /// Refuse it if the newest revision is another one than this; 0: if there is any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub after: Option<u64>,
        /// Change nothing, and tell what would change.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub dry_run: bool,
    }

    /// Which revisions.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct ListConfigsParams {
        /// This one, with its text; 0: the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub revision: Option<u64>,
        /// At the most so many; default: 20.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u64>,
    }

    /// An agent.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct AgentParams {
        /// Name of the agent.
        pub agent_id: String,
    }

    /// The agent whose next slot is left out.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct SkipParams {
        /// Name of the agent.
        pub agent_id: String,
        /// Makes it safe to call again: the same id gets the same answer for a day.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub request_id: Option<String>,
    }

    /// An agent, or all of them.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct TargetParams {
        /// Name of the agent. Either this or `all`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agent_id: Option<String>,
        /// All agents.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub all: bool,
        /// Why, for the record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
        /// Makes it safe to call again: the same id gets the same answer for a day.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub request_id: Option<String>,
    }

    /// How to pause.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct PauseParams {
        /// Name of the agent. Either this or `all`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agent_id: Option<String>,
        /// All agents.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub all: bool,
        /// Why, for the record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
        /// When it resumes by itself, by the wall clock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub until: Option<Timestamp>,
        /// After how many milliseconds it resumes by itself, whatever the wall clock is set to meanwhile; instead of
        /// `until`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub for_ms: Option<u64>,
        /// Makes it safe to call again: the same id gets the same answer for a day.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub request_id: Option<String>,
    }

    /// How to stop.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct StopParams {
        /// Name of the agent. Either this or `all`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agent_id: Option<String>,
        /// All agents.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub all: bool,
        /// Why, for the record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
        /// Let a run in flight finish.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub drain: bool,
        /// Kill a run in flight at once, instead of asking it to end first. Not together with `drain`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub now: bool,
        /// Makes it safe to call again: the same id gets the same answer for a day.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub request_id: Option<String>,
    }

    /// Which agents to list.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct ListParams {
        /// Names of agents, or globs. None: all agents.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub agents: Vec<String>,
        /// With so many of its newest runs each, in `recent`; at most 60. Left out unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub recent: Option<u64>,
    }

    /// Which records of the ledger to list, by agent and slot.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct ListSlotsParams {
        /// Names of agents, or globs. None: all agents.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub agents: Vec<String>,
        /// Slots at or after this instant. A day ago unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub from: Option<Timestamp>,
        /// Slots at or before this instant. Now unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub to: Option<Timestamp>,
        /// At most so many records. 1,000 unless it is given; at most 10,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u64>,
        /// Go on after this record: the last one of the answer before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub after: Option<SlotPosition>,
        /// For pictures: records of one agent with the same verdict, and whose runs have the same status, become one if
        /// they begin within this many seconds of each other; it names the newest of these runs. Agents are given whole,
        /// even beyond `limit`, and `after` continues with the next one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub merge_secs: Option<u64>,
        /// The newest records instead of the oldest, newest first. Not together with `after` or `merge_secs`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub newest_first: bool,
    }

    /// Where a record stands in the ledger.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct SlotPosition {
        /// Name of its agent.
        pub agent_id: String,
        /// Its first slot.
        pub first: Timestamp,
    }

    /// Which events to stream.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct StreamParams {
        /// Names of agents, or globs. None: all, and events of no agent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub agents: Vec<String>,
        /// Types of events, or globs. None: all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub types: Vec<String>,
        /// Only events of this run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub run_id: Option<String>,
        /// From this number on, itself included. 0 or 1: from the beginning.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub from: Option<u64>,
        /// From this instant on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub since: Option<Timestamp>,
        /// The newest so many that match; with `from` or `since`, of those. Without `from`, `since` and this: only
        /// what comes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub last: Option<u64>,
        /// `from` follows the last event that was seen. If the database has fewer events by now, it was set back: then
        /// it begins with those since the daemon's start.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub resume: bool,
        /// Up to this instant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub until: Option<Timestamp>,
        /// Go on with what comes. True unless it is given.
        #[serde(default = "yes")]
        pub follow: bool,
    }
}

fn yes() -> bool {
    true
}

described! {
    /// A subscription.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct UnsubscribeParams {
        /// Its number, as `stream_agent_events` gave it.
        pub subscription: u64,
    }

    /// A manual run.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct RunParams {
        /// Name of the agent.
        pub agent_id: String,
        /// Instead of the configured query; a command gets it as `BGAGENT_QUERY`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub query: Option<String>,
        /// Its parameters by name, as values or as texts that are read by their types. Those that are not given have their
        /// defaults; an error says which ones are required.
        #[serde(default, skip_serializing_if = "ParamValues::is_empty")]
        pub params: ParamValues,
        /// Call only tools that read; record what others would have done.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub rehearse: bool,
        /// Play this run again: its tools answer as they did then. Its id, or the end of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub replay_of: Option<String>,
        /// With `replay_of`: another `[models.…]` table.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub model: Option<String>,
        /// Makes it safe to call again: the same id gets the same answer for a day.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub request_id: Option<String>,
    }

    /// Past slots of an agent that are to run.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct BackfillParams {
        /// Name of the agent.
        pub agent_id: String,
        /// From this instant on, itself included.
        pub from: Timestamp,
        /// Up to this instant, itself included.
        pub to: Timestamp,
        /// Parameters of each run, as in `run_agent`.
        #[serde(default, skip_serializing_if = "ParamValues::is_empty")]
        pub params: ParamValues,
        /// The most that all runs together may cost, in US dollars: what is left of it bounds each run, and the next one is
        /// not started if it might exceed that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub max_usd: Option<f64>,
        /// Also the slots that have run, or whose run in a backfill completed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub again: bool,
        /// Nothing is done: the answer says what would run, and what it may cost.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub plan: bool,
        /// Id of the backfill. Asked for again with the same id, each slot still runs once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub request_id: Option<String>,
    }

    /// A run to cancel.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct CancelParams {
        /// Id of the run, or the end of it.
        pub run_id: String,
        /// Kill it at once, instead of asking it to end first.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub now: bool,
        /// Makes it safe to call again: the same id gets the same answer for a day.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub request_id: Option<String>,
    }

    /// A run, and how much of it.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct GetRunParams {
        /// Id of the run, or the end of it (at least 4 digits).
        pub run_id: String,
        /// Without its events and its output: those are read by `stream_agent_events` and `get_run_output`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub brief: bool,
        /// Entries of its journal after this one (`n`). From the beginning unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub steps_after: Option<u64>,
        /// At most so many entries of its journal. All unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub steps_limit: Option<u64>,
    }

    /// Which runs to list, newest first.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct ListRunsParams {
        /// Only runs of this agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agent_id: Option<String>,
        /// Only runs of these agents: names, or globs. Instead of `agent_id`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub agents: Vec<String>,
        /// Only runs with this status: a word of [`crate::domain::RunStatus`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub status: Option<String>,
        /// Only runs with one of these statuses. Instead of `status`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub statuses: Vec<String>,
        /// Only runs that were started by one of these: words of [`crate::domain::Trigger`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub triggers: Vec<String>,
        /// Only runs that were claimed before this one: the `run_id` of the last one of the answer before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub before: Option<String>,
        /// Only runs that were claimed at or after this instant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub since: Option<Timestamp>,
        /// Only runs that were claimed at or before this instant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub until: Option<Timestamp>,
        /// Results and errors cut to their first 200 characters.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub brief: bool,
        /// At most so many. 20 unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u64>,
    }

    /// Which output to read.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct OutputParams {
        /// Id of the run, or the end of it. Either this or `agent_id`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub run_id: Option<String>,
        /// The newest run of this agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agent_id: Option<String>,
        /// What follows this position: `position` of the answer before. From the beginning unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub after: Option<u64>,
    }

    /// Which slots to list.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct NextParams {
        /// Names of agents, or globs. None: all agents.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub agents: Vec<String>,
        /// How far to look, in seconds. A day unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub for_secs: Option<u64>,
        /// At most so many. 20 unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u64>,
    }

    /// Which slot to explain.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct ExplainParams {
        /// Name of the agent.
        pub agent_id: String,
        /// The slot at or before this instant. Now unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub at: Option<Timestamp>,
        /// The zone of the times in the answer: `Europe/Berlin`, or in the form of POSIX. The daemon's unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub timezone: Option<String>,
    }

    /// How to sum up usage.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct UsageParams {
        /// Only of this many days, today included. All that is kept unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub days: Option<u32>,
        /// Sum up by `agent`, `model`, `day` or `hour`; or by a time and whose it was: `["hour", "agent"]`. By `agent` unless
        /// it is given. By hour, what a run used counts in the hour in which it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<UsageGroups>,
    }

    /// How to end the daemon.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct ShutdownParams {
        /// End runs in flight at once, instead of letting them finish.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub now: bool,
    }

    /// A tool call by hand.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct CallToolParams {
        /// Name of the tool.
        pub tool: String,
        /// Its arguments, an object as the `schema` of the tool says.
        #[serde(default)]
        pub args: Value,
    }

    /// A question about an archive, or the order to put rows of it back.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct ArchiveParams {
        /// A tool of type `archive_rows`, or an agent that runs one.
        pub archive: String,
        /// What is asked.
        pub action: ArchiveAction,
        /// Restore: rows not older than this.
        #[serde(default)]
        pub from: Option<Timestamp>,
        /// Restore: rows older than this.
        #[serde(default)]
        pub to: Option<Timestamp>,
        /// Restore: the row with this key, a value for each of its columns.
        #[serde(default)]
        pub key: Vec<String>,
        /// Restore: only say what would be put back.
        #[serde(default)]
        pub dry_run: bool,
    }
}

words! {
    /// What is asked of an archive.
    ArchiveAction {
        /// What is in it.
        List = "list",
        /// Is it whole?
        Verify = "verify",
        /// Put rows back.
        Restore = "restore",
    }
}

described! {
    /// A decision about a tool call that waits.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct DecideParams {
        /// Id of the approval.
        pub id: String,
        /// True: the call may be made. False: it is denied, and the model is told so.
        pub approve: bool,
        /// Why; the model is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
    }

    /// Which incidents to list.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct ListIncidentsParams {
        /// Also those that have ended.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub all: bool,
        /// Only those that were last seen at or after this instant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub since: Option<Timestamp>,
        /// At most so many, the newest. 1,000 unless it is given; at most 10,000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limit: Option<u64>,
    }

    /// Which calls that need a person to list.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct ListApprovalsParams {
        /// Also those that were decided, the newest 100 of them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub all: bool,
    }

    /// Which incident a person took note of.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct AckParams {
        /// Key of the incident.
        pub key: String,
        /// Its agent; needed if several have an incident with this key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agent_id: Option<String>,
    }

    /// Which notification target to try.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct TestNotificationParams {
        /// Name of a `[notify.…]` table.
        pub target: String,
        /// What kind of message. `failed` unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub kind: Option<TellOn>,
    }

    /// Which MCP servers to list.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct ListMcpParams {
        /// Only this server. All unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub server: Option<String>,
    }

    /// Which MCP server to trust.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct TrustMcpParams {
        /// Name of an `[mcp.…]` table.
        pub server: String,
        /// What a person was shown: names of tools (`server/tool`) with their `hash` in `list_mcp`. Only these are
        /// trusted, and none if one is not as it was shown. All that were listed last unless it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub hashes: Option<BTreeMap<String, String>>,
    }
}
