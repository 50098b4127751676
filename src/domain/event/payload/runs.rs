//! Payloads about runs and the state of agents.
use crate::domain::agent_state::Desired;
use crate::domain::described::described;
use crate::domain::params::ParamValues;
use crate::domain::run::{RunStatus, Trigger};
use crate::domain::run_error::ErrorKind;
use crate::domain::usage::Usage;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

described! {
    /// An attempt of a run began.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct TaskStarted {
        /// Runs of the agent that have begun so far, this one included.
        pub run_count: u64,
        /// Which attempt of the run it is, from 1.
        pub attempt: u32,
        /// Why the run exists.
        pub trigger: Trigger,
        /// The slot that the run is for; null for a run by hand or by an event.
        pub slot: Option<Timestamp>,
        /// Its parameters by name, if its agent has any.
        #[serde(default, skip_serializing_if = "ParamValues::is_empty")]
        pub params: ParamValues,
        /// The process of a command; null for tools and models.
        pub pid: Option<u32>,
    }

    /// Past slots are to run, one after the other.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct BackfillBegan {
        /// Id of the backfill.
        pub backfill_id: String,
        /// Its first slot.
        pub first: Timestamp,
        /// Its last slot.
        pub last: Timestamp,
        /// How many they are.
        pub count: u64,
        /// The most that all runs together may cost, in US dollars.
        pub max_usd: Option<f64>,
        /// Parameters that were given for each run.
        #[serde(default, skip_serializing_if = "ParamValues::is_empty")]
        pub params: ParamValues,
    }

    /// The slots of a backfill have run, or no more of them will.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct BackfillEnded {
        /// Id of the backfill.
        pub backfill_id: String,
        /// How many of its slots started a run.
        pub started: u64,
        /// How many slots it has.
        pub count: u64,
        /// What its runs have cost, in US dollars.
        pub usd: f64,
        /// Why it ended before its last slot.
        pub cause: Option<String>,
    }

    /// A run did its work.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct TaskCompleted {
        /// Runs of the agent that have begun so far.
        pub run_count: u64,
        /// Its answer: a tool's JSON, a model's text, the last 64 KiB of a command's standard output.
        pub result: Option<String>,
        /// From the start of its first attempt, in milliseconds, without time asleep.
        pub duration_ms: i64,
        /// What it used of models, all attempts together.
        pub usage: Usage,
        /// The exit code of a command; null for tools and models.
        pub exit_code: Option<i32>,
        /// The attempt that did it, from 1.
        pub attempt: u32,
        /// What its record warns of: a broken gate, processes that would not end.
        #[serde(default)]
        pub warnings: Vec<String>,
    }

    /// If another attempt follows, `will_retry` is true; else the run is over, and the fields from `status` on are there,
    /// too.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct AttemptEnded {
        /// What went wrong, or who asked for the end, in a sentence.
        pub error: String,
        /// What kind of failure it is, to branch on; null for an end that is not a failure of its own.
        pub kind: Option<ErrorKind>,
        /// Failed runs of the agent so far.
        pub error_count: u64,
        /// Another attempt follows.
        pub will_retry: bool,
        /// When the next attempt begins.
        pub retry_at: Option<Timestamp>,
        /// The attempt that ended, from 1. 0: none had begun.
        pub attempt: u32,
        /// What there is to say of the run, if this was its last attempt.
        #[serde(flatten)]
        pub end: Option<RunOver>,
    }

    /// The end of a run that did not do its work.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct RunOver {
        /// How the run ended.
        pub status: RunStatus,
        /// The exit code of a command that exited.
        pub exit_code: Option<i32>,
        /// From the start of the first attempt, in milliseconds, without time asleep.
        pub duration_ms: i64,
        /// What the run used of models, all attempts together.
        pub usage: Usage,
        /// What the record of the run warns of.
        #[serde(default)]
        pub warnings: Vec<String>,
    }

    /// An attempt failed and another one follows.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct TaskRetrying {
        /// The attempt that follows, from 2.
        pub attempt: u32,
        /// When it begins.
        pub retry_at: Timestamp,
        /// Why the one before it failed.
        pub kind: ErrorKind,
    }

    /// A run continues from its journal after the daemon or the machine was down.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct TaskResumed {
        /// The attempt that goes on, from 1.
        pub attempt: u32,
    }

    /// Events do not carry all output: the whole is in `get_run_output`.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct TaskOutput {
        /// Of which attempt it is, from 1.
        pub attempt: u32,
        /// The place of the first piece in the output of the attempt, from 0.
        pub from: Option<u64>,
        /// How many pieces these are.
        pub chunks: u64,
        /// Bytes of the attempt's output that were left out so far.
        pub dropped_bytes: u64,
        /// The beginning of what went to standard output, at most 4 KiB; null: nothing.
        pub text: Option<String>,
        /// The beginning of what went to standard error, at most 4 KiB; null: nothing.
        pub stderr: Option<String>,
    }

    /// A slot was due, and no run of the agent has completed since then.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct AgentLate {
        /// Since when the agent has been waiting for a run that completes.
        pub since: Timestamp,
        /// Its `late_after`, in seconds.
        pub late_after_secs: i64,
        /// When a run last completed; null: none has.
        pub last_success: Option<Timestamp>,
    }

    /// A run takes longer than it should.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct TaskSlow {
        /// The agent's `slow_after`, in seconds.
        pub slow_after_secs: i64,
    }

    /// What is wanted of an agent has changed.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct AgentStatus {
        /// What is wanted of it now.
        pub status: Desired,
        /// What was wanted of it before.
        pub previous: Desired,
        /// Why, if somebody said so.
        pub reason: Option<String>,
        /// When it resumes by itself.
        pub resume_at: Option<Timestamp>,
        /// Runs of the agent that have begun so far.
        pub run_count: u64,
        /// Failed runs of the agent so far.
        pub error_count: u64,
        /// When it last ran.
        pub last_run: Option<Timestamp>,
        /// When it is due next.
        pub next_run: Option<Timestamp>,
    }
}
