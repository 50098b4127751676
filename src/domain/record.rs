//! What is kept of an agent and of a run while it lives, in the database and in the engine.
use super::{AgentId, ConfigHash, Desired, RunError, RunId, RunMode, RunStatus, Trigger, Usage};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// All that the engine keeps of one agent between lives of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRecord {
    pub agent: AgentId,
    /// What is wanted.
    pub desired: Desired,
    /// Why it is paused or stopped.
    pub reason: Option<String>,
    /// When it resumes by itself.
    pub resume_at: Option<Timestamp>,
    /// The pause was asked for so long: its end moves along when the wall clock is set.
    pub resume_after: Option<SignedDuration>,
    /// Since when a run that completes is awaited, where the agent has `late_after`; moved along when the clock is set.
    pub awaited_since: Option<Timestamp>,
    /// What `pause --all` noted, for `resume --all`.
    pub held: super::Held,
    /// Slot 0 of its interval, and the floor of every other schedule.
    pub anchor: Timestamp,
    /// Newest slot with a verdict. No slot up to it is judged again, unless the clock was set back (`floor`).
    pub judged_until: Option<Timestamp>,
    /// The clock was set back: no slot up to here is judged again, and of those from here to `judged_until` none that
    /// has a record in the ledger.
    pub floor: Option<Timestamp>,
    /// Where the anchor was when the clock was set to before it.
    pub origin: Option<Timestamp>,
    /// The slots before the next one ran already, while the clock was ahead: nothing starts until then.
    pub silent: bool,
    /// The schedule that the two above belong to, as [`super::Schedule::describe`] says it.
    pub schedule: String,
    /// When it is due next, jitter included; for readers without a daemon.
    pub next_due: Option<Timestamp>,
    /// A person asked to leave out the next slot.
    pub skip_next: bool,
    /// When its last run ended.
    pub last_end: Option<Timestamp>,
    /// What happened so far.
    pub counters: Counters,
    /// The newest run that ended.
    pub last_run: Option<LastRun>,
    /// When it last succeeded.
    pub last_success: Option<Timestamp>,
    /// Open after too many failures in a row.
    pub circuit: Option<CircuitRecord>,
    /// When its failing was last told to somebody. `None`: it was not, or it recovered.
    pub told_at: Option<Timestamp>,
    /// No longer in the configuration.
    pub removed: bool,
    /// Of its configuration.
    pub config_hash: ConfigHash,
}

/// Counters of one agent. They equal a recount of runs and ledger, as long as those are kept; runs
/// without a record are in the ledger only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Runs whose body began, or that failed before it could.
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

/// Why slots have the verdict `ran` and no run: each found all well, as the one before it did.
pub const ALL_WELL: &str = "all well";

/// The newest run that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct LastRun {
    pub run: RunId,
    /// False: it found all well and left no record.
    pub kept: bool,
    pub status: RunStatus,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How long it took.
    pub duration: SignedDuration,
    /// Why it failed.
    pub error: Option<RunError>,
}

/// An open circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitRecord {
    pub opened_at: Timestamp,
    /// One run tries at the first slot after this.
    pub until: Timestamp,
}

/// A run that has no end yet, or a claim for one.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    pub run: RunId,
    pub agent: AgentId,
    pub trigger: Trigger,
    /// The slot that it is for.
    pub slot: Option<Timestamp>,
    /// `queued`, `running` or `retrying`.
    pub status: RunStatus,
    /// Attempts begun so far.
    pub attempt: u32,
    /// When it was claimed.
    pub queued_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// Not before this instant: a catch-up's delay, or the next attempt.
    pub not_before: Option<Timestamp>,
    /// By how much the wall clock was set, in all, since it was claimed: what it has lasted so far is counted with
    /// this.
    pub clock_moved: SignedDuration,
    /// How many event-started runs lead to it.
    pub chain: u8,
    /// The event that started it. It has its number once it is logged. `None` also for one of a kind that this release
    /// does not know.
    pub event: Option<Arc<super::Event>>,
    /// What a person asked instead of the configured query.
    pub query: Option<Arc<str>>,
    /// Its parameters; `None`: its agent has none.
    pub params: Option<Arc<super::ParamValues>>,
    /// The past slot that it is for, if it is one of a backfill. Then `slot` is `None`: what the ledger says of it stays.
    pub past: Option<super::PastSlot>,
    /// The session of a run that a model carries out.
    pub session: Option<Arc<str>>,
    /// How it goes about its work.
    pub mode: RunMode,
    /// Of the configuration that it was claimed with.
    pub config_hash: ConfigHash,
    /// Processes that were started for it and may still live (leftovers of a dead daemon).
    pub processes: Vec<Process>,
    /// What its requests to models were charged so far.
    pub used: Usage,
    /// Its calls that may have changed something and have no answer (of a dead daemon).
    pub in_doubt: Vec<String>,
    /// Where its newest attempt was placed. `None`: where the leader runs.
    pub node: Option<super::PlacedAt>,
}

impl RunRecord {
    /// The slot that it is for, be it one whose verdict it is or a past one.
    pub fn any_slot(&self) -> Option<Timestamp> {
        self.slot.or(self.past.as_ref().map(|past| past.slot))
    }
}

/// A process, told apart from a later one that got the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its number; also of its session and group.
    pub pid: u32,
    /// Its start time in clock ticks since boot (proc(5), field 22 of `/proc/PID/stat`).
    pub start: u64,
    /// Identity of the boot it belongs to, hashed; processes of another boot are gone.
    pub boot: u64,
}

/// What a process of a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessRole {
    /// It decides whether the run is worth it.
    Gate,
    /// It is what the agent runs.
    Body,
    /// It proves the success.
    Check,
}
