//! What is said of runs: their records, steps and output.
use crate::domain::{AgentId, LoggedEvent, RunError, RunId, RunStatus, Step, Stream, Trigger, Usage};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// Of its session; null for commands and tools, which have none.
    #[serde(default)]
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
    pub events: Vec<LoggedEvent>,
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
    /// Bytes that were left out: between the head and the tail, or since they could not be recorded.
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
