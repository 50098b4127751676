//! Durable changes: the one language in which the engine and the runners report to the store what happened.
//!
//! The facts of one decision are committed in one transaction, each together with the events that report it
//! ([`super::Event::telling`]).
use super::{
    AgentId, AgentRecord, AppliedConfig, ArchiveStep, BudgetNotice, CapturedOutput, CircuitSpec, ConfigHash,
    Desired, Diagnosis, IncidentRecord, MemoryChange, Notice, Process, ProcessRole, QuestionRecord, RunError,
    RunId, RunRecord, RunStatus, Talk, Trigger, Usage, Verdict,
};

use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// A fact and its wall-clock time.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: Timestamp,
    pub fact: Fact,
}

/// One durable change.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The daemon started.
    DaemonStarted {
        version: String,
        pid: u32,
        /// The last known time at which the previous daemon was alive; `None`: there was none.
        down_since: Option<Timestamp>,
        /// The previous daemon closed its records; false: it was killed, or the machine went down.
        clean: bool,
    },
    /// The daemon shuts down. Only ends of runs follow, and what those trigger: such runs are claimed now and begin
    /// after the restart.
    DaemonStopping { reason: String },
    /// A configuration was put in force.
    ConfigApplied {
        /// Path of the file.
        path: String,
        /// It is this revision of the fleet's configuration.
        applied: Option<Arc<AppliedConfig>>,
        /// Of the whole file.
        hash: ConfigHash,
        /// Agents that were not there before.
        added: Vec<AgentId>,
        changed: Vec<AgentId>,
        removed: Vec<AgentId>,
    },
    /// A configuration was applied to the fleet. Has no event; what it changed is told beside it.
    ConfigStored(Arc<AppliedConfig>),
    /// A configuration was refused; the old one stays.
    ConfigRejected {
        /// Path of the file.
        path: String,
        /// One text per error, with line and column.
        errors: Vec<String>,
    },
    /// The complete engine state of one agent: the row is overwritten. Has no event; the facts committed with it
    /// report the changes.
    AgentSaved(Box<AgentRecord>),
    /// The desired state of an agent changed.
    AgentChanged(Box<AgentChange>),
    /// Consecutive slots got the same verdict.
    SlotsJudged {
        agent: AgentId,
        first: Timestamp,
        /// Last slot; equal to `first` for one slot.
        last: Timestamp,
        /// Number of slots, both ends included.
        count: u64,
        verdict: Verdict,
        /// Explanation for people.
        cause: String,
        /// The run that was started, if the verdict is `ran`.
        run: Option<RunId>,
        /// True: they directly follow the newest record of the agent, which has the same verdict and cause; that
        /// record is extended, no new one is made.
        extends: bool,
    },
    /// The run claimed for a slot is discarded. Its verdict `ran` is replaced (the gate was closed), or stays if
    /// the run needs no record of its own ([`super::ALL_WELL`]).
    SlotRevised {
        agent: AgentId,
        /// `None`: the run had no slot (manual, event).
        slot: Option<Timestamp>,
        /// The run to discard.
        run: RunId,
        /// The final verdict.
        verdict: Verdict,
        /// Explanation for people.
        cause: String,
        /// True: no event is emitted. The slot before has the same verdict and cause, or all is well.
        quiet: bool,
        /// True: no earlier slot is open, so that it may be merged with the record before it. After the clock was
        /// set back, slots between the two may still be to come.
        joins: bool,
    },
    /// The wall clock was set by this amount while runs had not ended: their wait times are shifted.
    ClockSet {
        /// Positive if forward.
        by: SignedDuration,
    },
    /// The clock was set back: verdicts of future slots that never ran are withdrawn, and those slots are judged
    /// when their time comes.
    SlotsTakenBack {
        agent: AgentId,
        /// The last instant before now: slots up to here keep their verdict.
        behind: Timestamp,
        taken: super::Taken,
    },
    /// A join is complete: each of its agents has ended a run. Holds the event that reports it. Its outcome is
    /// decided with it, as for any triggering event.
    Joined(Box<super::Event>),
    /// A file, a delivery or an MCP event that an agent waits for has arrived: the event that reports it, and the
    /// mark that identifies it from now on. Its outcome is decided with it.
    Arrived {
        /// Event of the waiting agent.
        event: Box<super::Event>,
        /// See [`super::FoundFile::mark`]; empty for deliveries and MCP events, which are identified by their ids.
        mark: String,
    },
    /// The cursor of an MCP subscription has moved. Has no event.
    CursorMoved {
        agent: AgentId,
        source: String,
        /// The new cursor. `None`: the server keeps no past events, and continues from now.
        cursor: Option<String>,
    },
    /// An MCP server left out events that an agent may have waited for.
    EventsSkipped { agent: AgentId, skipped: super::McpEventsSkipped },
    /// Files that had arrived were removed, or have come back. Has no event.
    FilesLeft {
        agent: AgentId,
        /// Paths of the removed files: their marks are deleted some days later.
        gone: Vec<String>,
        /// Paths and marks of those that came back unchanged: they are not new arrivals, and their marks are kept.
        back: Vec<(String, String)>,
    },
    /// A triggering event started nothing. There is no slot, so no ledger record: the event that reports it is the
    /// record. Decided in the transaction of the event itself, like a claim: each triggering event has one of the
    /// two.
    EventPassed {
        agent: AgentId,
        /// The triggering event. The store assigns its number, as for a claim.
        event: Box<super::Event>,
        /// Outcome of the event.
        verdict: Verdict,
        /// Explanation for people.
        cause: String,
    },
    /// A run was claimed. Durable before anything of it starts; unique per (agent, slot).
    RunClaimed(Box<RunRecord>),
    /// A person requested runs for past slots.
    BackfillBegan(Box<super::BackfillRecord>),
    /// A run of a backfill was claimed, or has ended. Has no event: the events of the run suffice.
    BackfillMoved {
        id: Arc<str>,
        /// Number of its slots for which a run was claimed.
        claimed: usize,
        /// Cost of its ended runs, in US dollars.
        usd: f64,
    },
    /// A backfill ended.
    BackfillEnded {
        id: Arc<str>,
        agent: AgentId,
        /// Number of its slots for which a run was claimed.
        claimed: usize,
        /// Number of all its slots.
        count: usize,
        /// Cost of its runs, in US dollars.
        usd: f64,
        /// Why it ended before its last slot.
        cause: Option<String>,
    },
    /// The newest attempt of a run is placed on a node, or no node runs it any more. Has no event: its start and
    /// end are reported.
    RunPlaced {
        run: RunId,
        /// Attempts that have begun, or are about to.
        attempt: u32,
        /// `None`: on the leader's node.
        at: Option<super::PlacedAt>,
    },
    /// The leader sends an order to a node. Has no event. Not used with records in a file, which have no nodes.
    Ordered {
        /// Session of the node.
        session: Arc<str>,
        /// The run that it is to start: if its claim is refused, the order is discarded with it.
        starts: Option<RunId>,
        /// The order in the daemon's encoding.
        order: String,
    },
    /// These reports of nodes have been decided in this transaction. Has no event.
    ReportsTaken {
        /// Rows of the mailbox.
        ids: Vec<i64>,
    },
    /// A node session is over, and its runs are decided. Has no event.
    NodeOver { session: Arc<str> },
    /// A process was started and waits at its gate. Durable before it does anything.
    ProcessStarted { run: RunId, attempt: u32, role: ProcessRole, process: Process },
    /// The body of an attempt begins.
    AttemptStarted {
        run: RunId,
        agent: AgentId,
        attempt: u32,
        /// When the run began. Earlier than this fact if a probe ran before the run was recorded.
        started_at: Timestamp,
        /// Number of runs of the agent that have begun, including this one.
        run_count: u64,
        /// Why the run exists.
        trigger: Trigger,
        /// The slot that it is for.
        slot: Option<Timestamp>,
        params: Option<Arc<super::ParamValues>>,
        /// Its process, if it has one.
        process: Option<Process>,
    },
    /// An attempt failed, or was ended on request, and will be retried.
    AttemptFailed {
        run: RunId,
        agent: AgentId,
        attempt: u32,
        error: RunError,
        /// Failed runs of the agent so far.
        error_count: u64,
        /// When the next attempt begins.
        retry_at: Timestamp,
        /// It was ended by the shutdown of the daemon.
        asked: bool,
    },
    /// A run ended.
    RunEnded {
        run: RunId,
        /// False: a rehearsal or a replay.
        real: bool,
        agent: AgentId,
        /// A final status.
        status: RunStatus,
        /// The last attempt.
        attempt: u32,
        result: Option<String>,
        /// As in [`AttemptOutcome::untrusted`](super::AttemptOutcome::untrusted).
        untrusted: bool,
        error: Option<RunError>,
        /// Exit code of a command that exited.
        exit_code: Option<i32>,
        usage: Usage,
        /// Elapsed time since the start of the first attempt, without suspend. Zero if it never started.
        duration: SignedDuration,
        /// Number of runs of the agent that have begun so far.
        run_count: u64,
        /// Failed runs of the agent so far, including this one.
        error_count: u64,
        /// Warnings for the record.
        warnings: Vec<String>,
    },
    /// No run has completed since a slot was due. Has no row: its incident is the record.
    AgentLate {
        agent: AgentId,
        /// Since when a completed run is expected.
        since: Timestamp,
        late_after: SignedDuration,
        /// When a run last completed.
        last_success: Option<Timestamp>,
    },
    /// A run takes longer than it should. Has no row: its incident is the record.
    RunSlow { run: RunId, agent: AgentId, slow_after: SignedDuration },
    /// An agent failed too often in a row; its slots are refused for a while.
    CircuitOpened {
        agent: AgentId,
        /// Consecutive failed runs.
        failures: u32,
        /// One run is tried at the first slot after this.
        until: Timestamp,
        rule: CircuitSpec,
    },
    /// The circuit was closed, by a completed run or by a person.
    CircuitClosed { agent: AgentId, reason: String },
    /// The complete state of one incident: the row is overwritten. Has no event.
    IncidentSaved(Box<IncidentRecord>),
    /// A pending incident did not persist: its row is deleted.
    IncidentDropped { agent: AgentId, key: String },
    /// An incident opened.
    IncidentOpened(Box<IncidentRecord>),
    /// An incident was resolved.
    IncidentResolved(Box<IncidentRecord>),
    /// An agent started by an incident has diagnosed it. The incident may be resolved already.
    IncidentDiagnosed {
        agent: AgentId,
        key: String,
        /// Start of the incident: distinguishes it from others of the same key.
        since: Timestamp,
        diagnosis: Box<Diagnosis>,
    },
    /// A message is put into the outbox.
    NotificationQueued {
        /// Name of a `[notify.…]` table.
        target: String,
        notice: Box<Notice>,
    },
    /// Messages are about to be sent as one. They stay joined until it is known whether that was delivered.
    NotificationsJoined {
        /// Rows of the outbox, in their order.
        rows: Vec<i64>,
        /// Number of characters shown of each.
        each: usize,
    },
    /// Joined messages were not delivered, and may be sent differently.
    NotificationsParted {
        /// Rows of the outbox.
        rows: Vec<i64>,
    },
    /// A question about a call is about to be sent to a notification target.
    QuestionAsked(Box<QuestionRecord>),
    /// Answers from a notification target were processed up to this position.
    AnswersHeard {
        /// Name of a `[notify.…]` table.
        target: String,
        /// In the format of its service.
        position: String,
    },
    /// A message was delivered.
    NotificationSent {
        /// Row of the outbox.
        id: i64,
        /// Name of a `[notify.…]` table.
        target: String,
        /// The agent that it is about.
        agent: AgentId,
        /// The run that it is about.
        run: Option<RunId>,
        /// Number of attempts that it took.
        tries: u32,
    },
    /// A delivery attempt failed.
    NotificationFailed {
        /// Row of the outbox.
        id: i64,
        /// Name of a `[notify.…]` table.
        target: String,
        /// The agent that it is about.
        agent: AgentId,
        /// The run that it is about.
        run: Option<RunId>,
        /// Number of attempts so far.
        tries: u32,
        error: String,
        /// When it will be retried. `None`: given up.
        retry_at: Option<Timestamp>,
    },
    /// Output of a command.
    OutputCaptured(Box<CapturedOutput>),
    /// An entry of a conversation with a model.
    Talked(Box<Talk>),
    /// A budget is nearly or completely used up.
    Budget(Box<BudgetNotice>),
    /// The memory of agents changed. Has no event: the events of the run suffice.
    Remembered(Box<MemoryChange>),
    /// An archive of rows completed a step. Has no event: the events of the run suffice.
    Archived(Box<ArchiveStep>),
    /// The sandbox of a program refused a connection. Has no row: its event is the record.
    SandboxDenied {
        /// Owner of the program.
        owner: super::ProgramOwner,
        program: String,
        /// Host and port, as the program named them.
        host: String,
        reason: String,
    },
    /// Work of a run that could not be brought back goes, since the folders of runs take too much. Has no row: its event is the
    /// record, and it is written before the folder is removed.
    WorkspaceRemoved {
        /// Of which run.
        run: RunId,
        /// Whose it was; `None`: the run is on no record any more.
        agent: Option<AgentId>,
        /// Of which attempt.
        attempt: u32,
        /// Where it was.
        folder: String,
        /// What it took on disk.
        bytes: u64,
        /// What all of them may take.
        bound: u64,
    },
    /// The description of an MCP server's tool was seen for the first time, changed, or was trusted.
    McpPinned {
        /// Name of an `[mcp.…]` table.
        server: String,
        /// The tool, without the server.
        tool: String,
        /// Hash of the trusted description.
        trusted: String,
        /// Hash of a different one that the server has now. `None`: it has the trusted one.
        seen: Option<String>,
        /// The trusted description in the wording of `tools`, for comparison. `None`: unknown.
        about: Option<String>,
    },
    /// An export of the log begins, for the first time or at a new start. Has no event: nothing that the log
    /// reports has happened.
    ExportBegan {
        /// Destination of the export.
        target: String,
        /// The configured start.
        from: String,
        /// The last event before the export.
        after: super::Seq,
    },
    /// The content of a feed at its last fetch. Has no event.
    FeedKept {
        /// A hash of its address, and of what is sent with a request.
        source: String,
        kept: Box<CachedFeed>,
    },
    /// The answer to a mutation with a `request_id`, kept for a day.
    RequestAnswered {
        request_id: String,
        /// A JSON-RPC result or error.
        answer: String,
    },
}

/// Cached content of a feed, for conditional requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedFeed {
    /// The address that answered, after redirects.
    pub came_from: String,
    /// Its validators: `ETag` …
    pub etag: Option<String>,
    /// … and `Last-Modified`.
    pub last_modified: Option<String>,
    /// The items that they validate, as JSON.
    pub items: String,
    /// When it was last known to be in use.
    pub at: Timestamp,
}

/// A change of an agent's desired state.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentChange {
    pub agent: AgentId,
    pub previous: Desired,
    pub desired: Desired,
    pub reason: Option<String>,
    /// When it resumes automatically.
    pub resume_at: Option<Timestamp>,
    /// Number of runs that have begun so far.
    pub run_count: u64,
    /// Failed runs so far.
    pub error_count: u64,
    pub last_run: Option<Timestamp>,
    pub next_run: Option<Timestamp>,
}
