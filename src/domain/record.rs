//! The stored state of an agent and of an unfinished run, in the database and in the engine.
use super::{AgentId, ConfigHash, Desired, RunError, RunId, RunMode, RunStatus, Trigger, Usage};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// The engine state of one agent that survives restarts.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRecord {
    pub agent: AgentId,
    /// Desired state.
    pub desired: Desired,
    /// Why it is paused or stopped.
    pub reason: Option<String>,
    /// When it resumes automatically.
    pub resume_at: Option<Timestamp>,
    /// The pause was requested as a duration: its end is shifted when the wall clock is set.
    pub resume_after: Option<SignedDuration>,
    /// Since when a completed run is expected, if the agent has `late_after`; shifted when the wall clock is set.
    pub awaited_since: Option<Timestamp>,
    /// Mark of `pause --all`, for `resume --all`.
    pub held: super::Held,
    /// Slot 0 of its interval, and the lower bound of every other schedule.
    pub anchor: Timestamp,
    /// Newest slot with a verdict. Slots up to it are not judged again, unless the clock was set back (`floor`).
    pub judged_until: Option<Timestamp>,
    /// Set when the clock was set back: slots up to here are not judged again, nor are those up to `judged_until`
    /// that have a record in the ledger.
    pub floor: Option<Timestamp>,
    /// The anchor before the clock was set back past it.
    pub origin: Option<Timestamp>,
    /// The slots before the next one ran already, while the clock was ahead: nothing starts until then.
    pub silent: bool,
    /// The schedule that the slots and the anchor belong to, as [`super::Schedule::describe`] formats it.
    pub schedule: String,
    /// Next due time, with jitter; for readers without a daemon.
    pub next_due: Option<Timestamp>,
    /// A person requested to skip the next slot.
    pub skip_next: bool,
    pub last_end: Option<Timestamp>,
    pub counters: Counters,
    /// The run that ended last.
    pub last_run: Option<LastRun>,
    pub last_success: Option<Timestamp>,
    /// Set while its circuit is open.
    pub circuit: Option<CircuitRecord>,
    /// When its failure was last reported. `None`: never, or it recovered.
    pub told_at: Option<Timestamp>,
    /// It is no longer in the configuration.
    pub removed: bool,
    pub config_hash: ConfigHash,
}

/// Counters of one agent. They equal a recount of runs and ledger as long as those are kept; runs without a record
/// are in the ledger only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Runs whose body began, or that failed before.
    pub runs: u64,
    /// Runs that completed.
    pub successes: u64,
    /// Runs that failed in any way.
    pub errors: u64,
    /// Failed runs since the last success.
    pub errors_in_row: u32,
    /// Slots that did not start a run.
    pub skipped: u64,
}

/// Cause of slots that have the verdict `ran` but no run: each found all well, like the one before it.
pub const ALL_WELL: &str = "all well";

/// The run that ended last.
#[derive(Clone, Debug, PartialEq)]
pub struct LastRun {
    pub run: RunId,
    /// False: it found all well and left no record.
    pub kept: bool,
    pub status: RunStatus,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    pub duration: SignedDuration,
    pub error: Option<RunError>,
}

/// An open circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitRecord {
    pub opened_at: Timestamp,
    /// One run is tried at the first slot after this.
    pub until: Timestamp,
}

/// A run that has not ended, including a mere claim.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    pub run: RunId,
    pub agent: AgentId,
    pub trigger: Trigger,
    pub slot: Option<Timestamp>,
    /// `queued`, `running` or `retrying`.
    pub status: RunStatus,
    /// Attempts begun so far.
    pub attempt: u32,
    /// When it was claimed.
    pub queued_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// Earliest start: the delay of a catch-up, or of the next attempt.
    pub not_before: Option<Timestamp>,
    /// Sum of the changes of the wall clock since it was claimed, to correct its elapsed time.
    pub clock_moved: SignedDuration,
    /// Number of event-started runs that led to it.
    pub chain: u8,
    /// The event that started it. It has its number once it is logged. `None` also for a kind that this release
    /// does not know.
    pub event: Option<Arc<super::Event>>,
    /// Replaces the configured query.
    pub query: Option<Arc<str>>,
    /// Its parameters; `None`: its agent has none.
    pub params: Option<Arc<super::ParamValues>>,
    /// The past slot of a backfill. Then `slot` is `None`: the ledger record of that slot is not changed.
    pub past: Option<super::PastSlot>,
    /// The session of a run with a model.
    pub session: Option<Arc<str>>,
    /// Normal, rehearsal or replay.
    pub mode: RunMode,
    /// Configuration that it was claimed with.
    pub config_hash: ConfigHash,
    /// Its processes that may still be alive (left over from a dead daemon).
    pub processes: Vec<Process>,
    /// Total charge of its model requests so far.
    pub used: Usage,
    /// Its calls that may have changed something and have no reply (after a crash of the daemon).
    pub in_doubt: Vec<String>,
    /// Where its newest attempt was placed. `None`: on the leader.
    pub node: Option<super::PlacedAt>,
}

impl RunRecord {
    /// Returns its slot, whether it is judged by this run or a past one.
    pub fn any_slot(&self) -> Option<Timestamp> {
        self.slot.or(self.past.as_ref().map(|past| past.slot))
    }
}

/// A process, identified even if its pid is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its pid; also of its session and process group.
    pub pid: u32,
    /// Its start time in clock ticks since boot (proc(5), field 22 of `/proc/PID/stat`).
    pub start: u64,
    /// Hashed identity of the boot; processes of another boot no longer exist.
    pub boot: u64,
}

/// Purpose of a process of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessRole {
    /// Evaluates the gate.
    Gate,
    /// Runs the body.
    Body,
    /// Checks a proof.
    Check,
}
