//! Views of runs: their records, steps and output.
use crate::domain::described;
use crate::domain::{
    AgentId, EventRef, LoggedEvent, ParamValues, RunError, RunId, RunStatus, Step, Stream, Trigger, Usage,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

described! {
    /// One run.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct RunView {
        /// Id of the run.
        pub run_id: RunId,
        /// Name of its agent.
        pub agent_id: AgentId,
        /// The slot that it is for; null for a run by hand or by an event. A run of a backfill has the past slot.
        pub slot: Option<Timestamp>,
        /// Why it was started.
        pub trigger: Trigger,
        /// The event that started it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub event: Option<EventRef>,
        /// Where it stands.
        pub status: RunStatus,
        /// Attempts that have begun so far.
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
        /// How long it took, in milliseconds, without time asleep.
        pub duration_ms: Option<i64>,
        /// Its answer: a tool's JSON, a model's text, the last 64 KiB of a command's standard output.
        pub result: Option<String>,
        /// Why it failed.
        pub error: Option<RunError>,
        /// Exit code of a command that exited.
        pub exit_code: Option<i32>,
        /// What it used of models.
        pub usage: Usage,
        /// The `[models.…]` table that it asked last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub model: Option<String>,
        /// The node where its newest attempt was placed; absent: it ran where the leader did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub node: Option<String>,
        /// `rehearsal` or `replay`, if it was not for real.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub mode: Option<String>,
        /// The backfill that it is a run of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub backfill_id: Option<String>,
        /// Its parameters by name, if its agent has any.
        #[serde(default, skip_serializing_if = "ParamValues::is_empty")]
        pub params: ParamValues,
        /// Hash of the configuration that it ran with, 16 hexadecimal digits.
        pub config_hash: String,
        /// Its session; null for commands and tools, which have none.
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
        /// The events about it, oldest first.
        pub events: Vec<LoggedEvent>,
        /// The output of its newest attempt.
        pub output: OutputView,
        /// Its conversation with the model, oldest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub steps: Vec<StepView>,
    }

    /// An entry of the journal of a run.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct StepView {
        /// Its place in the journal, from 0.
        pub n: u64,
        /// When it was written.
        pub at: Timestamp,
        /// The tool that it is about, of calls.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tool: Option<String>,
        /// Its arguments, shortened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub args: Option<String>,
        /// How long it took, in milliseconds.
        pub duration_ms: u64,
        /// What happened.
        #[serde(flatten)]
        pub step: Step,
    }

    /// A manual run that was claimed.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct RunStarted {
        /// Id of the run.
        pub run_id: RunId,
        /// Name of its agent.
        pub agent_id: AgentId,
        /// Where it stands.
        pub status: RunStatus,
        /// A remark for people: "agent is paused".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub note: Option<String>,
        /// Number of the newest event when it was claimed; follow from the next one.
        pub seq: u64,
    }

    /// Past slots that run one after the other, or would.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct BackfillView {
        /// Its id; null of a plan.
        pub backfill_id: Option<String>,
        /// Whose slots.
        pub agent_id: AgentId,
        /// The first of them.
        pub first: Option<Timestamp>,
        /// The last of them.
        pub last: Option<Timestamp>,
        /// How many they are.
        pub count: u64,
        /// Of a plan: each of them, oldest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub slots: Vec<Timestamp>,
        /// Of a plan: how many slots are left out since they have run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub left_out: Option<u64>,
        /// The most that all runs together may cost, in US dollars.
        pub max_usd: Option<f64>,
        /// Of a plan: what all runs may cost at the worst, in US dollars; absent if nothing bounds that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub worst_usd: Option<f64>,
        /// Of a plan: what all runs would cost if each cost what the newest runs did on average, in US dollars.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub usual_usd: Option<f64>,
        /// A remark for people: "the agent is paused".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub note: Option<String>,
        /// Number of the newest event when it was recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub seq: Option<u64>,
    }

    /// A backfill that is under way.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct OpenBackfillView {
        /// Its id.
        pub backfill_id: String,
        /// How many of its slots started a run.
        pub started: u64,
        /// How many slots it has.
        pub count: u64,
        /// The slot that is to run next.
        pub next: Option<Timestamp>,
        /// What its runs that ended have cost, in US dollars.
        pub usd: f64,
        /// The most that all runs together may cost, in US dollars.
        pub max_usd: Option<f64>,
    }

    /// Output of one attempt.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct OutputView {
        /// Id of the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub run_id: Option<RunId>,
        /// Where that run stands.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub status: Option<RunStatus>,
        /// The output, in order.
        pub chunks: Vec<ChunkView>,
        /// Give this as `after` to get what follows.
        pub position: u64,
        /// Bytes that were left out: between the head and the tail, or since they could not be recorded.
        pub dropped_bytes: u64,
    }

    /// A piece of output.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct ChunkView {
        /// Of which attempt it is, from 1.
        pub attempt: u32,
        /// Place in the output of its attempt, from 0.
        pub n: u64,
        /// Where it was written to.
        pub stream: Stream,
        /// When it was read.
        pub at: Timestamp,
        /// What was written; bytes that are not UTF-8 are replaced.
        pub text: String,
    }
}
