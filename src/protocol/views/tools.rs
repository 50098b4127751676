//! Views of tools, incidents, notes and pending approvals.
use crate::domain::described;
use crate::domain::{AgentId, Effect, RunId, Severity};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

described! {
    /// A tool.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct ToolView {
        /// Name of the tool.
        pub name: String,
        /// Of which built-in tool it is an instance, if it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub kind: Option<String>,
        /// What a call may do: `read`, `idempotent` or `effect`.
        pub effect: String,
        /// What it does, in one sentence.
        pub description: String,
        /// JSON Schema of its arguments.
        pub schema: Value,
        /// False: it is a tool of an MCP server that describes it in a way that can't be used.
        pub available: bool,
    }

    /// An MCP server.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct McpView {
        /// Name of its `[mcp.…]` table.
        pub server: String,
        /// Why it does not answer, if it does not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub error: Option<String>,
        /// How long it took to answer, in milliseconds, its start included.
        pub took_ms: u64,
        /// What of its configuration has no effect on what it offers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub notes: Vec<String>,
        /// Its tools, sorted by name.
        pub tools: Vec<McpToolView>,
        /// The types of its events, sorted by name. Null: it has no events, or was not asked for them, since it does not say that it
        /// has some and no agent waits for one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub events: Option<Vec<McpEventView>>,
    }

    /// A type of events of an MCP server.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct McpEventView {
        /// As the server names it: `issue.opened`.
        pub name: String,
        /// What it is called in `hashes` of `trust_mcp`.
        pub label: String,
        /// What the server says of it.
        pub description: String,
        /// True if an agent waits for it. What nobody waits for needs no trust.
        pub awaited: bool,
        /// Compared with what was trusted: `new` (nobody has trusted it yet), `same` or `changed`.
        pub pin: String,
        /// Hash of its description and schemas.
        pub hash: String,
        /// If it changed: what of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub changed: Vec<DifferenceView>,
        /// Why it starts no agent, if it can't.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub why_not: Option<String>,
        /// JSON Schema of its arguments.
        pub schema: Value,
    }

    /// A tool of an MCP server.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct McpToolView {
        /// Name of the tool: `server/tool`.
        pub name: String,
        /// What a call may do: `read`, `idempotent` or `effect`.
        pub effect: String,
        /// What the server says of it.
        pub description: String,
        /// True if agents may use it: the configuration lets them, and a person trusts it as it is.
        pub usable: bool,
        /// True if the configuration lets agents use it.
        #[serde(default)]
        pub allowed: bool,
        /// Compared with what was trusted: `new` (nobody has trusted it yet), `same` or `changed`.
        pub pin: String,
        /// Hash of its description and schema.
        pub hash: String,
        /// If it changed: what of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub changed: Vec<DifferenceView>,
        /// Why no agent may use it, if none may.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub why_not: Option<String>,
        /// JSON Schema of its arguments.
        pub schema: Value,
    }

    /// A part of a tool that is not what was trusted. Hidden characters are shown as escapes.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct DifferenceView {
        /// `description`, `schema`, `hints`, or `rest`: what is too long to be compared.
        pub part: String,
        /// What was trusted, from a little before the difference. Left out: only its hash is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub old: Option<String>,
        /// What the server says now, from there.
        pub new: String,
    }

    /// What was trusted.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct TrustView {
        /// Name of the `[mcp.…]` table.
        pub server: String,
        /// Tools that were new or had changed, and are trusted now.
        pub tools: Vec<String>,
        /// What had changed of each of them.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub changed: BTreeMap<String, Vec<DifferenceView>>,
    }

    /// What a tool gave.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct ToolResultView {
        /// What it gave.
        pub result: Value,
        /// How long it took, in milliseconds.
        pub duration_ms: i64,
    }

    /// A tool call that waits for a person.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct ApprovalView {
        /// Its id; `decide_approval` takes it.
        pub id: String,
        /// The agent whose run waits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agent_id: Option<AgentId>,
        /// The run that waits.
        pub run_id: RunId,
        /// Since when it waits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub requested_at: Option<Timestamp>,
        /// The tool that is to be called.
        pub tool: String,
        /// The arguments that it is to be called with.
        pub args: Value,
        /// What the call may do; null: the tool is not there at the moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub effect: Option<Effect>,
        /// The run has read data from outside before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub untrusted: bool,
        /// The tools by which it has read data from outside, each once.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub read_before: Vec<String>,
        /// Until when it waits; then it is denied, or its run ends. Null: for as long as it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub waits_until: Option<Timestamp>,
        /// When it was decided; null: it waits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub decided_at: Option<Timestamp>,
        /// Whether it may be made; null: it waits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub approved: Option<bool>,
        /// Who decided, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub decided_by: Option<String>,
        /// What was said to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
    }

    /// An incident.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct IncidentView {
        /// Name of the agent.
        pub agent_id: AgentId,
        /// Stable name of the problem, unique within the agent: `disk:/`.
        pub key: String,
        /// How bad it is.
        pub severity: Severity,
        /// What is wrong, in one line.
        pub title: String,
        /// Whether it is `open` or `resolved`.
        pub state: String,
        /// When it was first seen.
        pub since: Timestamp,
        /// When it had been seen for long enough to be opened.
        pub opened_at: Option<Timestamp>,
        /// When it was last seen.
        pub seen_at: Timestamp,
        /// How often it was seen.
        pub count: u64,
        /// When it ended.
        pub resolved_at: Option<Timestamp>,
        /// When a person took note.
        pub acked_at: Option<Timestamp>,
        /// True: it was reported by a run that had read data from outside. Left out else.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub untrusted: bool,
        /// What an agent that it started found out.
        #[serde(default)]
        pub finding: Option<FindingView>,
    }

    /// What an agent found out about an incident.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct FindingView {
        /// The agent that found it out.
        pub agent_id: AgentId,
        /// In which run it did.
        pub run_id: RunId,
        /// When it did.
        pub at: Timestamp,
        /// What it found out, in its own words.
        pub text: String,
    }

    /// A note that an agent keeps.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct MemoryView {
        /// Key of the note.
        pub key: String,
        /// What it says.
        pub value: String,
        /// When it was written.
        pub at: Timestamp,
        /// True: by a run that had read data from outside. Left out else.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub untrusted: bool,
    }
}
