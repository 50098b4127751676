//! What each method gives. Instants are RFC 3339 in UTC, durations are in milliseconds, money is in
//! US dollars. Fields are only ever added.
use crate::domain::{
    Activity, AgentId, Desired, Event, Health, RunError, RunId, RunStatus, Severity, Step, Stream, Trigger,
    Usage, Verdict,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The answer of a method that has nothing to say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NoView {}

/// What both sides agreed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HelloView {
    /// The version from now on.
    pub protocol: u32,
    /// All that the daemon speaks.
    pub protocols: Vec<u32>,
    /// Name and release of the daemon.
    pub server: String,
    /// Its process.
    pub pid: u32,
    /// Identity of its database: event numbers of two databases can't be compared.
    pub database: String,
}

/// The answer to a ping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PongView {
    /// The daemon's wall clock.
    pub now: Timestamp,
}

/// What became of a command on one agent (with `all`: on each, in `agents`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// Whose; empty with `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Desired>,
    /// Now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Desired>,
    /// False if it already was so.
    pub changed: bool,
    /// Of the newest event when it was done.
    pub seq: u64,
    /// A remark for people: "already active".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// With `all`: each agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<ChangedOne>,
}

/// What became of a command on one of all agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedOne {
    /// Whose.
    pub agent_id: AgentId,
    /// Before.
    pub previous: Desired,
    /// Now.
    pub state: Desired,
    /// False if it already was so.
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
    /// Its name.
    pub agent_id: AgentId,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is wanted of it.
    pub state: Desired,
    /// What it is doing.
    pub activity: Activity,
    /// How it fares.
    pub health: Health,
    /// When it is due, in words.
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
    /// Runs in flight or waiting.
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
    pub cost_today_usd: f64,
    /// Its budget or the fleet's is used up: until then its slots are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_used_up_until: Option<Timestamp>,
}

/// The newest run that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRunView {
    /// Which. `None`: it found all well and left no record.
    pub run_id: Option<RunId>,
    /// How.
    pub status: RunStatus,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How long it took.
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
    /// The next slots.
    pub next_slots: Vec<Timestamp>,
    /// When it last succeeded.
    pub last_success: Option<Timestamp>,
    /// Why it last failed, and when.
    pub last_error: Option<LastRunView>,
    /// Median duration of recent completed runs.
    pub p50_ms: Option<i64>,
    /// 95th percentile of the same.
    pub p95_ms: Option<i64>,
    /// Runs up to the newest slot that found all well, and so left no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_well: Option<AllWellView>,
    /// Recent runs, oldest first.
    pub recent: Vec<RecentRun>,
    /// Runs in flight or waiting.
    pub in_flight: Vec<RunView>,
    /// Slots of the last 24 hours by verdict.
    pub slots_24h: BTreeMap<Verdict, u64>,
    /// Until when its circuit is open.
    pub circuit_until: Option<Timestamp>,
    /// The rest of its settings, in words, by key: `overlap`, `catch_up`, `timeout`, `retry`, ….
    pub settings: BTreeMap<String, String>,
    /// Open incidents.
    pub incidents: Vec<IncidentView>,
    /// Its limits of the day, and what is left of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitView>,
    /// Where it is defined: `agents.toml:12`.
    pub defined_at: String,
    /// Of its configuration.
    pub config_hash: String,
    /// What a person should know: a clock that is behind, a feature that is missing.
    pub notes: Vec<String>,
}

/// Runs in a row that found all well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AllWellView {
    /// Slot of the first.
    pub since: Timestamp,
    /// Slot of the last.
    pub until: Timestamp,
    /// How many.
    pub count: u64,
}

/// One run in a strip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecentRun {
    /// Which.
    pub run_id: RunId,
    /// How it ended, or where it stands.
    pub status: RunStatus,
    /// How long it took.
    pub duration_ms: i64,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// Which.
    pub run_id: RunId,
    /// Whose.
    pub agent_id: AgentId,
    /// The slot that it is for.
    pub slot: Option<Timestamp>,
    /// Why.
    pub trigger: Trigger,
    /// Where it stands.
    pub status: RunStatus,
    /// Attempts begun.
    pub attempt: u32,
    /// When it was claimed.
    pub queued_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When the next attempt begins, or the run itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// How long it took, without time asleep.
    pub duration_ms: Option<i64>,
    /// Its answer.
    pub result: Option<String>,
    /// Why it failed.
    pub error: Option<RunError>,
    /// Exit code of a command that exited.
    pub exit_code: Option<i32>,
    /// What it used.
    pub usage: Usage,
    /// The `[models.…]` table that it asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `rehearsal` or `replay`, if it was not for real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Of the configuration that it ran with.
    pub config_hash: String,
    /// Of its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// What the record warns of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One run, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    /// As in `list_runs`.
    #[serde(flatten)]
    pub run: RunView,
    /// What was told of it, oldest first.
    pub events: Vec<Event>,
    /// Output of its newest attempt.
    pub output: OutputView,
    /// Its conversation with the model, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepView>,
}

/// An entry of the journal of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// Its place.
    pub n: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The tool that it is about, of calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Its arguments, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub step: Step,
}

/// A manual run that was claimed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// Which.
    pub run_id: RunId,
    /// Whose.
    pub agent_id: AgentId,
    /// Where it stands.
    pub status: RunStatus,
    /// A remark for people: "agent is paused".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Of the newest event when it was claimed; follow from the next one.
    pub seq: u64,
}

/// A slot that will be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SkipView {
    /// Whose.
    pub agent_id: AgentId,
    /// Which.
    pub slot: Timestamp,
    /// False if it already was to be left out.
    pub changed: bool,
}

/// Output of one attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputView {
    /// Of this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Where that run stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RunStatus>,
    /// In order.
    pub chunks: Vec<ChunkView>,
    /// Give this as `after` to get what follows.
    pub position: u64,
    /// Bytes that were left out between the head and the tail.
    pub dropped_bytes: u64,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChunkView {
    /// In this attempt.
    pub attempt: u32,
    /// Place in the output of its attempt.
    pub n: u64,
    /// Where from.
    pub stream: Stream,
    /// When it was read.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// A coming slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotView {
    /// Whose.
    pub agent_id: AgentId,
    /// Nominal instant.
    pub slot: Timestamp,
    /// With its jitter.
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
    /// Whose.
    pub agent_id: AgentId,
    /// One sentence.
    pub sentence: String,
    /// The slot, if there is one.
    pub slot: Option<Timestamp>,
    /// Its verdict, if it has one.
    pub verdict: Option<Verdict>,
    /// Why.
    pub cause: Option<String>,
    /// The run, if there was one.
    pub run_id: Option<RunId>,
    /// First slot of the record.
    pub first: Option<Timestamp>,
    /// Last slot of the record.
    pub last: Option<Timestamp>,
    /// Slots in the record.
    pub count: Option<u64>,
}

/// What was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageView {
    /// An agent, a model or a day.
    pub key: String,
    /// Runs that ended.
    pub runs: u64,
    /// What they used.
    pub usage: Usage,
    /// By agent: its limits of the day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitView>,
}

/// A limit of a day or a month, and what is left of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitView {
    /// Its key: `usd_per_day`.
    pub limit: String,
    /// How much it allows.
    pub allowed: f64,
    /// How much is used, or held for requests under way.
    pub used: f64,
    /// The rest.
    pub left: f64,
}

/// The daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DaemonView {
    /// Its process.
    pub pid: u32,
    /// Release.
    pub version: String,
    /// Since when it is up.
    pub started_at: Timestamp,
    /// `ok`, `degraded` (can't write) or `stopping`.
    pub state: String,
    /// Why, if it is not ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Where it listens.
    pub socket: String,
    /// Its state folder.
    pub state_dir: String,
    /// Its configuration file.
    pub config_path: String,
    /// Of the configuration.
    pub config_hash: String,
    /// When it was taken up.
    pub config_at: Timestamp,
    /// Why the newest file was refused, if it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_errors: Vec<String>,
    /// Agents by state.
    pub agents: BTreeMap<Desired, u64>,
    /// Agents that are failing or whose circuit is open.
    pub failing: u64,
    /// Runs in flight.
    pub running: u64,
    /// Runs that wait.
    pub queued: u64,
    /// Runs at a time.
    pub max_parallel_runs: u64,
    /// Newest event.
    pub newest_seq: u64,
    /// Oldest event that is kept.
    pub oldest_seq: u64,
    /// Events a second over the last minute.
    pub events_per_second: f64,
    /// Bytes of the database with its log.
    pub database_bytes: u64,
    /// Clients connected.
    pub clients: u64,
    /// When the next slot is due.
    pub next_due: Option<Timestamp>,
    /// Open incidents.
    pub incidents: u64,
    /// Messages that wait in the outbox.
    pub outbox: u64,
    /// The fleet's budgets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budget: Vec<LimitView>,
    /// Tool calls that wait for a person.
    #[serde(default)]
    pub approvals: u64,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadView {
    /// False if the file says what was in force already.
    pub changed: bool,
    /// New agents.
    pub added: Vec<AgentId>,
    /// Agents that are different now.
    pub modified: Vec<AgentId>,
    /// Agents that are gone.
    pub removed: Vec<AgentId>,
    /// What `bgagent check` would warn of, rendered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// If nothing changed: the event of the last time that something did. The file is watched, so
    /// that may have been a moment ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Event>,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionView {
    /// Its number, in each notification.
    pub subscription: u64,
    /// Newest event when it began.
    pub newest_seq: u64,
}

/// The parameters of the notification `event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventNote {
    /// Of this subscription.
    pub subscription: u64,
    /// What.
    pub event: Event,
}

/// The parameters of the notifications `live` and `end`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PositionNote {
    /// Of this subscription.
    pub subscription: u64,
    /// Everything up to this event has been shown.
    pub seq: u64,
}

/// The parameters of the notification `gap`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GapNote {
    /// Of this subscription.
    pub subscription: u64,
    /// First event that is gone.
    pub from: u64,
    /// Last event that is gone.
    pub to: u64,
}

/// A tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolView {
    /// Its name.
    pub name: String,
    /// Of which built-in tool it is an instance, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `read`, `idempotent` or `effect`.
    pub effect: String,
    /// What it does, in one sentence.
    pub description: String,
    /// JSON Schema of its arguments.
    pub schema: Value,
    /// False: an MCP server tells of it in a way that can't be used.
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
    /// How long it took to answer, its start included.
    pub took_ms: u64,
    /// Its tools, sorted by name.
    pub tools: Vec<McpToolView>,
}

/// A tool of an MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct McpToolView {
    /// `server/tool`.
    pub name: String,
    /// `read`, `idempotent` or `effect`.
    pub effect: String,
    /// What it says of itself.
    pub description: String,
    /// Agents may use it.
    pub usable: bool,
    /// `new`, `same` or `changed`: against what was trusted.
    pub pin: String,
    /// Of its description and schema.
    pub hash: String,
    /// If it changed: what of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<DifferenceView>,
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
    /// What the server says now.
    pub new: String,
}

/// What was trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrustView {
    /// Name of the `[mcp.…]` table.
    pub server: String,
    /// Tools that had changed and are trusted now.
    pub tools: Vec<String>,
    /// What had changed of each of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changed: BTreeMap<String, Vec<DifferenceView>>,
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolResultView {
    /// Its result.
    pub result: Value,
    /// How long it took.
    pub duration_ms: i64,
}

/// A tool call that waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// Which.
    pub id: String,
    /// Whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Of this run.
    pub run_id: RunId,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Timestamp>,
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub args: Value,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentView {
    /// Whose.
    pub agent_id: AgentId,
    /// Which.
    pub key: String,
    /// How bad.
    pub severity: Severity,
    /// What is wrong.
    pub title: String,
    /// `open` or `resolved`.
    pub state: String,
    /// First seen.
    pub since: Timestamp,
    /// Opened.
    pub opened_at: Option<Timestamp>,
    /// Last seen.
    pub seen_at: Timestamp,
    /// How often it was seen.
    pub count: u64,
    /// Ended.
    pub resolved_at: Option<Timestamp>,
    /// A person took note.
    pub acked_at: Option<Timestamp>,
    /// What an agent that it started found out.
    #[serde(default)]
    pub finding: Option<FindingView>,
}

/// What an agent found out about an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingView {
    /// Who.
    pub agent_id: AgentId,
    /// In which run.
    pub run_id: RunId,
    /// When.
    pub at: Timestamp,
    /// In its own words.
    pub text: String,
}

/// A note that an agent keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryView {
    /// Its key.
    pub key: String,
    /// What it says.
    pub value: String,
    /// When it was written.
    pub at: Timestamp,
}
