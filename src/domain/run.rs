//! Runs: why they started, where they stand, how they ended.
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

/// How a run of a model goes about its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum RunMode {
    #[default]
    Normal,
    /// Only `read` tools are called; what others would have done is recorded.
    Rehearsal,
    /// No tool is called: they answer as they did in an earlier run.
    Replay {
        of: RunId,
        /// Another model than the agent's.
        model: Option<String>,
    },
}

impl RunMode {
    /// Is this the usual way?
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
    /// Is this the end of a run?
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Retrying | Self::WaitingApproval)
    }

    /// Does it count as an error of the agent?
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Interrupted | Self::Unverified)
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The body did its work and every check holds.
    Completed,
    /// It did not; the error says how. `Timeout` makes the run `timed_out`, `Unverified` makes it
    /// `unverified`.
    Failed(RunError),
    /// It was cancelled from outside.
    Cancelled,
    /// The gate said that there is nothing to do; the body never started.
    GateClosed,
    /// The gate is open, and nothing but the gate was wanted; the body never started.
    GateOpen,
    /// Calls of tools wait for a person. The run goes on when all of them are decided.
    Waits(Vec<ApprovalWanted>),
}

/// All that a runner tells of a finished attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptOutcome {
    /// How it ended.
    pub end: AttemptEnd,
    /// The answer: a tool's JSON, a model's text, the last part of a command's standard output.
    pub result: Option<String>,
    /// There was more of the result before what is kept of it.
    pub result_is_cut: bool,
    /// Result and session may hold data from outside. False only where that is known.
    pub untrusted: bool,
    /// Exit code of a command that exited.
    pub exit_code: Option<i32>,
    /// True: a command was ended by a signal with which somebody other than the daemon ends programs (TERM, KILL), not
    /// by one of a crash.
    pub ended_by_others: bool,
    /// What it used.
    pub usage: Usage,
    /// Wall-clock length of the body, without time asleep.
    pub duration: SignedDuration,
    /// What probes found.
    pub findings: Vec<Finding>,
    /// Warnings for the record: a broken gate, processes that would not end.
    pub warnings: Vec<String>,
    /// How long the provider asked to wait before a retry.
    pub retry_after: Option<SignedDuration>,
    /// True: another attempt would end alike, whatever kind of failure it is.
    pub conclusive: bool,
    /// What goes into the agent's session if the run completes.
    pub said: Vec<ChatMessage>,
    /// Items of the gate that become seen if the run completes.
    pub seen: Vec<String>,
    /// What the gate gave, where the delivery of the result has a place for it.
    pub gate: Option<String>,
}

impl AttemptOutcome {
    /// An outcome with nothing beside its end.
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
