//! Runs: triggers, status, outcomes.
use super::chat::ChatMessage;
use super::ids::RunId;
use super::incident::Finding;
use super::talk::ApprovalWanted;
use super::words::words;
use crate::domain::run_error::RunError;
use crate::domain::usage::Usage;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

words! {
    /// Why a run was started.
    Trigger {
        /// Its slot was due.
        Schedule = "schedule",
        /// Its slot was missed and is caught up.
        CatchUp = "catch_up",
        /// A person asked.
        Manual = "manual",
        /// An event that the agent waits for.
        Event = "event",
    }
}

/// Mode of a run with a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum RunMode {
    #[default]
    Normal,
    /// Only `read` tools are called; the calls of others are recorded.
    Rehearsal,
    /// No tool is called: results are replayed from an earlier run.
    Replay {
        of: RunId,
        /// Replaces the agent's model.
        model: Option<String>,
    },
}

impl RunMode {
    /// Returns whether this is the normal mode.
    pub fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

words! {
    /// Where a run stands. The last six are final.
    RunStatus {
        /// Claimed; waits for a free place, a lock or its time.
        Queued = "queued",
        /// An attempt is in flight.
        Running = "running",
        /// An attempt failed; the next one waits for its time.
        Retrying = "retrying",
        /// A tool call waits for a person.
        WaitingApproval = "waiting_approval",
        /// Did its work.
        Completed = "completed",
        /// Did not do its work.
        Failed = "failed",
        /// Ran longer than it may.
        TimedOut = "timed_out",
        /// It was ended because somebody asked for that: a person, a newer slot, or whoever shut the daemon down. Not a
        /// failure.
        Cancelled = "cancelled",
        /// The daemon ended while the run was in flight: its outcome is unknown.
        Interrupted = "interrupted",
        /// Finished, but a `success_when` check does not hold.
        Unverified = "unverified",
    }
}

impl RunStatus {
    /// Returns whether this is the end of a run.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Retrying | Self::WaitingApproval)
    }

    /// Returns whether it counts as an error of the agent.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Interrupted | Self::Unverified)
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The body did its work and every check holds.
    Completed,
    /// The work was not done; the error says why. `Timeout` makes the run `timed_out`, `Unverified` makes it
    /// `unverified`.
    Failed(RunError),
    /// It was cancelled from outside.
    Cancelled,
    /// The gate is closed; the body never started.
    GateClosed,
    /// The gate is open, and only the gate was to be evaluated; the body never started.
    GateOpen,
    /// Tool calls wait for approval. The run continues when all of them are decided.
    Waits(Vec<ApprovalWanted>),
}

/// A runner's report of a finished attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptOutcome {
    pub end: AttemptEnd,
    /// The result: a tool's JSON, a model's text, the last part of a command's standard output.
    pub result: Option<String>,
    /// The output was longer: `result` is only its end.
    pub result_is_cut: bool,
    /// Result and session may contain data from outside. False only if known.
    pub untrusted: bool,
    pub exit_code: Option<i32>,
    /// A command was ended by a termination signal from outside the daemon (SIGTERM, SIGKILL), not by a crash.
    pub ended_by_others: bool,
    pub usage: Usage,
    /// Duration of the body, without suspend.
    pub duration: SignedDuration,
    /// Findings of probes.
    pub findings: Vec<Finding>,
    /// Warnings for the record: a broken gate, processes that would not end.
    pub warnings: Vec<String>,
    /// Delay that the provider asked for before a retry.
    pub retry_after: Option<SignedDuration>,
    /// A retry would end the same way, whatever kind of failure it is.
    pub conclusive: bool,
    /// Messages to add to the agent's session if the run completes.
    pub said: Vec<ChatMessage>,
    /// Items of the gate to mark as seen if the run completes.
    pub seen: Vec<String>,
    /// Output of the gate, if the delivery of the result has a placeholder for it.
    pub gate: Option<String>,
}

impl AttemptOutcome {
    /// Returns an outcome with only its end.
    pub fn of(end: AttemptEnd) -> Self {
        Self {
            end,
            result: None,
            result_is_cut: false,
            untrusted: true,
            exit_code: None,
            ended_by_others: false,
            usage: Usage::default(),
            duration: SignedDuration::ZERO,
            findings: Vec::new(),
            warnings: Vec::new(),
            retry_after: None,
            conclusive: false,
            said: Vec::new(),
            seen: Vec::new(),
            gate: None,
        }
    }
}
