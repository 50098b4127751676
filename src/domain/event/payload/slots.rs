//! Payloads about slots, and events that agents wait for.
use crate::domain::described::described;
use crate::domain::event::kind::EventType;
use crate::domain::ids::{AgentId, RunId, Seq};
use crate::domain::run::RunStatus;
use crate::domain::slot::Verdict;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

described! {
    /// A slot got a verdict other than `ran`, or an event that the agent waits for started nothing.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct SlotSkipped {
        /// What became of it.
        pub verdict: Verdict,
        /// The slot, or the first of several in a row; null if there was none (a run by hand or by an event).
        pub slot: Option<Timestamp>,
        /// The last slot of the row; that one for a single one.
        pub last_slot: Option<Timestamp>,
        /// How many slots in a row.
        pub count: u64,
        /// Why, in words.
        pub cause: String,
        /// The event that started nothing, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub event: Option<EventRef>,
    }

    /// Which event, for those who have the log.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct EventRef {
        /// Its place in the log; 0 if it is not known.
        pub seq: Seq,
        /// What kind of event it is.
        #[serde(rename = "type")]
        pub kind: EventType,
        /// Whose it is, if it is about one agent.
        pub agent_id: Option<AgentId>,
        /// Of which run it is, if it is about one.
        pub run_id: Option<RunId>,
        /// What has arrived, if it is an arrival: the path of a file, the name of a webhook, or an event of an MCP server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub arrived: Option<String>,
    }

    /// Each of the agents that this one waits for has ended a run.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct AgentsJoined {
        /// The runs, by their agents.
        pub after: BTreeMap<AgentId, JoinedRun>,
    }

    /// A file that the agent waits for has arrived, and has not changed for the time that it is to settle.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct FileArrived {
        /// Where it lies.
        pub path: String,
        /// Its name in its folder.
        pub name: String,
        /// Its size in bytes.
        pub size: u64,
        /// When it was last changed.
        pub modified: Timestamp,
    }

    /// Something that the agent waits for was delivered to a webhook, and bore the right signature.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct WebhookReceived {
        /// Name of the `[webhooks.…]` table.
        pub webhook: String,
        /// The sender's id of the delivery.
        pub delivery: String,
        /// What kind of event it is at GitHub: `push`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub event: Option<String>,
        /// What was sent: JSON, or a text where it is none.
        pub body: Value,
    }

    /// An MCP server has an event that the agent waits for.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct McpEventReceived {
        /// Name of the `[mcp.…]` table.
        pub server: String,
        /// The type of the event, as the server names it: `issue.opened`.
        pub event: String,
        /// The server's id of the event; a hash of what it says, if the server gives none that can be used.
        pub id: String,
        /// When it happened, by the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub happened_at: Option<Timestamp>,
        /// What the server says of it.
        pub data: Value,
        /// Data that is too long is left out; so many bytes it had. Then it starts nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub left_out: Option<u64>,
    }

    /// An MCP server left out events that the agent may have waited for: nobody knows which.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct McpEventsSkipped {
        /// Name of the `[mcp.…]` table.
        pub server: String,
        /// The type of the events.
        pub event: String,
        /// Why, as far as it is known.
        pub why: String,
    }

    /// A run that an agent has waited for.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct JoinedRun {
        /// Which.
        pub run_id: RunId,
        /// How it ended.
        pub status: RunStatus,
        /// When that was recorded.
        pub finished_at: Timestamp,
        /// Its answer, if it completed.
        pub result: Option<String>,
        /// What went wrong, or who asked for its end, if it did not complete.
        pub error: Option<String>,
    }

    /// The clock was set back: verdicts of slots ahead of now that never ran are taken back.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct SlotsTakenBack {
        /// The first slot.
        pub from: Timestamp,
        /// The last slot.
        pub to: Timestamp,
        /// How many.
        pub count: u64,
    }
}
