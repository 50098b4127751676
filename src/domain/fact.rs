//! What can be made durable: the one language in which the engine and the runners tell the store
//! what happened.
//!
//! Facts that come from one decision are committed in one transaction, each together with the
//! event that tells it ([`super::Event::telling`]).
use super::{
    AgentId, AgentRecord, ArchiveStep, BudgetNews, CapturedOutput, CircuitSpec, ConfigHash, Desired,
    Diagnosis, IncidentRecord, MemoryChange, Notice, Process, ProcessRole, QuestionRecord, RunError, RunId,
    RunRecord, RunStatus, Talk, Trigger, Usage, Verdict,
};

use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// A fact and its instant (wall clock).
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When it happened.
    pub at: Timestamp,
    pub fact: Fact,
}

/// One durable change.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The daemon came up.
    DaemonStarted {
        version: String,
        pid: u32,
        /// The last that is known of the daemon before it; `None`: there was none.
        down_since: Option<Timestamp>,
        /// The daemon before it closed its records; false: it was killed, or the machine went down.
        clean: bool,
    },
    /// The daemon goes down; no fact of this life follows but ends of runs, and what those start: that is
    /// claimed, and begins in the next life.
    DaemonStopping { reason: String },
    /// A configuration was taken up.
    ConfigApplied {
        /// From this file.
        path: String,
        /// Of the whole file.
        hash: ConfigHash,
        /// Agents that were not there before.
        added: Vec<AgentId>,
        /// Agents that are different now.
        changed: Vec<AgentId>,
        /// Agents that are gone.
        removed: Vec<AgentId>,
    },
    /// A configuration was refused; the old one stays.
    ConfigRejected {
        /// From this file.
        path: String,
        /// One text per error, with line and column.
        errors: Vec<String>,
    },
    /// The state that the engine keeps of one agent, whole: the row is written over. Has no event;
    /// what changed is told by the facts beside it.
    AgentSaved(Box<AgentRecord>),
    /// The desired state of an agent changed.
    AgentChanged(Box<AgentChange>),
    /// Consecutive slots got the same verdict.
    SlotsJudged {
        agent: AgentId,
        first: Timestamp,
        /// Last slot; equal to `first` for one slot.
        last: Timestamp,
        /// How many, both ends included.
        count: u64,
        /// What became of them.
        verdict: Verdict,
        /// Why, in words.
        cause: String,
        /// The run that was started, if the verdict is `ran`.
        run: Option<RunId>,
        /// True: they follow directly on the newest record of the agent, which has the same verdict
        /// and cause; that record grows, no new one is made.
        extends: bool,
    },
    /// The run that was claimed for a slot is forgotten. Its verdict `ran` turns out to be another one
    /// (the gate was closed), or it stays, and the run needs no record of its own ([`super::ALL_WELL`]).
    SlotRevised {
        agent: AgentId,
        /// Which slot. `None`: the run had none (manual, event).
        slot: Option<Timestamp>,
        /// The run to forget.
        run: RunId,
        /// The true verdict.
        verdict: Verdict,
        /// Why, in words.
        cause: String,
        /// True: nothing is told. The slot before has the same verdict and cause, or all is well.
        quiet: bool,
        /// True: no slot before this one is open, so that it may go on with the record before it. After the clock
        /// was set back, slots between the two may still be to come.
        joins: bool,
    },
    /// The wall clock was set by so much while runs had not ended: what they wait for moves along.
    ClockSet {
        /// Forward if positive.
        by: SignedDuration,
    },
    /// The clock was set back: verdicts of slots ahead of now that never ran are taken back, and those slots are
    /// judged when their time comes.
    SlotsTakenBack {
        agent: AgentId,
        /// The last instant before now: slots up to here keep their verdict.
        behind: Timestamp,
        taken: super::Taken,
    },
    /// Each of the agents that one waits for has ended a run: the event that tells it. What came of it is decided with
    /// it, as of any event that an agent waits for.
    Joined(Box<super::Event>),
    /// A file, a delivery or an event of an MCP server that an agent waits for has arrived: the event that tells it, and what it is known by from now
    /// on. What came of it is decided with it.
    Arrived {
        /// Of the agent that waits.
        event: Box<super::Event>,
        /// See [`super::FoundFile::mark`]; empty for a delivery and an event, which are known by their ids.
        mark: String,
    },
    /// An MCP server is asked for events after this from now on. Has no event.
    CursorMoved {
        agent: AgentId,
        source: String,
        /// Where the server goes on. `None`: it keeps nothing that has been, and goes on from now.
        cursor: Option<String>,
    },
    /// An MCP server left out events that an agent may have waited for.
    EventsSkipped {
        agent: AgentId,
        /// What is known of them.
        skipped: super::McpEventsSkipped,
    },
    /// Files that have arrived lie there no longer, or again. Has no event.
    FilesLeft {
        agent: AgentId,
        /// Paths of those that are gone: what is known of them is forgotten some days later.
        gone: Vec<String>,
        /// Paths and marks of those that are back as they were: they are no news, and are remembered anew.
        back: Vec<(String, String)>,
    },
    /// An event that an agent waits for started nothing. There is no slot, so no ledger record: the event
    /// that tells it is the record. Decided in the transaction of the event itself, as a claim is: each
    /// event that an agent waits for has one of the two.
    EventPassed {
        agent: AgentId,
        /// Which event. It gets its number in the store, as the one of a claim does.
        event: Box<super::Event>,
        /// What stood against it.
        verdict: Verdict,
        /// Why, in words.
        cause: String,
    },
    /// A run was claimed. Durable before anything of it starts; unique per (agent, slot).
    RunClaimed(Box<RunRecord>),
    /// A person asked for past slots to run.
    BackfillBegan(Box<super::BackfillRecord>),
    /// A run of a backfill was claimed, or has ended. Has no event: what happened to the run is told.
    BackfillMoved {
        id: Arc<str>,
        /// For so many of its slots a run was claimed.
        claimed: usize,
        /// What its runs that ended have cost, in US dollars.
        usd: f64,
    },
    /// A backfill is over.
    BackfillEnded {
        id: Arc<str>,
        agent: AgentId,
        /// For so many of them a run was claimed.
        claimed: usize,
        /// All of them.
        count: usize,
        /// What its runs have cost, in US dollars.
        usd: f64,
        /// Why before its last slot.
        cause: Option<String>,
    },
    /// The newest attempt of a run is placed at a node, or no node has it in hand any more. Has no event: that it begins and
    /// ends is told.
    RunPlaced {
        run: RunId,
        /// Attempts that have begun, or are about to.
        attempt: u32,
        /// Where. `None`: where the leader runs.
        at: Option<super::PlacedAt>,
    },
    /// The leader tells a node what to do. Has no event. Records in a file know no nodes.
    Ordered {
        /// The life of the node.
        session: Arc<str>,
        /// The run that it is to start: if its claim is refused, this goes with it.
        starts: Option<RunId>,
        /// What, in the words of the daemon.
        order: String,
    },
    /// What nodes had reported is decided about, with this. Has no event.
    ReportsTaken {
        /// Rows of the mailbox.
        ids: Vec<i64>,
    },
    /// A life of a node is over, and what it had in hand is decided about. Has no event.
    NodeOver { session: Arc<str> },
    /// A process was started and waits at its gate. Durable before it does anything.
    ProcessStarted {
        /// Of this run.
        run: RunId,
        /// In this attempt.
        attempt: u32,
        /// What it is for.
        role: ProcessRole,
        process: Process,
    },
    /// The body of an attempt begins.
    AttemptStarted {
        /// Of this run.
        run: RunId,
        agent: AgentId,
        attempt: u32,
        /// When the run began. Earlier than this fact where a look came before its record.
        started_at: Timestamp,
        /// How many runs of the agent have begun, this one included.
        run_count: u64,
        /// Why the run exists.
        trigger: Trigger,
        /// The slot that it is for.
        slot: Option<Timestamp>,
        params: Option<Arc<super::ParamValues>>,
        /// Its process, if it has one.
        process: Option<Process>,
    },
    /// An attempt failed, or was ended on request, and another one follows.
    AttemptFailed {
        /// Of this run.
        run: RunId,
        agent: AgentId,
        attempt: u32,
        error: RunError,
        /// Failed runs of the agent so far.
        error_count: u64,
        /// When the next attempt begins.
        retry_at: Timestamp,
        /// It was ended because the daemon was told to go down.
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
        /// Why it failed.
        error: Option<RunError>,
        /// Exit code of a command that exited.
        exit_code: Option<i32>,
        /// What it used.
        usage: Usage,
        /// From the start of the first attempt to now, in elapsed time without sleep. Zero if it
        /// never started.
        duration: SignedDuration,
        /// Runs of the agent that have begun so far.
        run_count: u64,
        /// Failed runs of the agent so far, this one included.
        error_count: u64,
        /// Warnings for the record.
        warnings: Vec<String>,
    },
    /// A slot was due, and no run has completed since then. Has no row: its incident is the record.
    AgentLate {
        agent: AgentId,
        /// Since when a run that completes is awaited.
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
        /// Failed runs in a row.
        failures: u32,
        /// One run tries again at the first slot after this.
        until: Timestamp,
        rule: CircuitSpec,
    },
    /// It works again, or a person said so.
    CircuitClosed { agent: AgentId, reason: String },
    /// The state of one incident, whole: the row is written over. Has no event.
    IncidentSaved(Box<IncidentRecord>),
    /// A pending incident was nothing: its row goes.
    IncidentDropped { agent: AgentId, key: String },
    /// An incident opened.
    IncidentOpened(Box<IncidentRecord>),
    /// An incident ended.
    IncidentResolved(Box<IncidentRecord>),
    /// An agent that an incident started has found out something about it. It may have ended meanwhile.
    IncidentDiagnosed {
        agent: AgentId,
        key: String,
        /// Since when: tells it apart from others of the same key.
        since: Timestamp,
        /// What was found.
        diagnosis: Box<Diagnosis>,
    },
    /// A message for somebody is put into the outbox.
    NotificationQueued {
        /// Name of a `[notify.…]` table.
        target: String,
        /// What it says.
        notice: Box<Notice>,
    },
    /// Messages are about to be sent as one. Until it is known whether that got there, they stay so.
    NotificationsJoined {
        /// Rows of the outbox, in their order.
        rows: Vec<i64>,
        /// How many characters of each are shown.
        each: usize,
    },
    /// Messages that went together did not get there, and may go otherwise.
    NotificationsParted {
        /// Rows of the outbox.
        rows: Vec<i64>,
    },
    /// A call is about to be put to the people at a notification target.
    QuestionAsked(Box<QuestionRecord>),
    /// Answers of a notification target were heard up to here.
    AnswersHeard {
        /// Name of a `[notify.…]` table.
        target: String,
        /// In the words of its service.
        position: String,
    },
    /// A message was delivered.
    NotificationSent {
        /// Row of the outbox.
        id: i64,
        /// Name of a `[notify.…]` table.
        target: String,
        /// Of which agent it told.
        agent: AgentId,
        /// Of which run.
        run: Option<RunId>,
        /// How many tries it took.
        tries: u32,
    },
    /// A message could not be delivered.
    NotificationFailed {
        /// Row of the outbox.
        id: i64,
        /// Name of a `[notify.…]` table.
        target: String,
        /// Of which agent it tells.
        agent: AgentId,
        /// Of which run.
        run: Option<RunId>,
        /// How many tries so far.
        tries: u32,
        error: String,
        /// When it is tried again. `None`: given up.
        retry_at: Option<Timestamp>,
    },
    /// Output of a command.
    OutputCaptured(Box<CapturedOutput>),
    /// Something happened in a conversation with a model.
    Talked(Box<Talk>),
    /// A budget is nearly, or wholly, used up.
    Budget(Box<BudgetNews>),
    /// What agents remember changed. Has no event: the run that did it is told.
    Remembered(Box<MemoryChange>),
    /// An archive of rows went a step further. Has no event: the run that did it is told.
    Archived(Box<ArchiveStep>),
    /// The sandbox of a program did not connect it to a place. Has no row: its event is the record.
    SandboxDenied {
        /// Whose program it is.
        owner: super::ProgramOwner,
        program: String,
        /// Host and port, as the program named them.
        host: String,
        reason: String,
    },
    /// The description of an MCP server's tool was seen for the first time, changed, or was trusted.
    McpPinned {
        /// Name of an `[mcp.…]` table.
        server: String,
        /// The tool, without the server.
        tool: String,
        /// Hash of the description that is trusted.
        trusted: String,
        /// Hash of another one that the server has now. `None`: it has the trusted one.
        seen: Option<String>,
        /// What is trusted, in the words of `tools`, to be compared with. `None`: it is not known.
        about: Option<String>,
    },
    /// A copy of the log begins, for the first time or where it now is to begin elsewhere. Has no event: nothing has
    /// happened that the log tells.
    ExportBegan {
        /// Where the copy is.
        target: String,
        /// From what it was to begin, as it is configured.
        from: String,
        /// After this event.
        after: super::Seq,
    },
    /// What a feed had when it was last asked. Has no event.
    FeedKept {
        /// A hash of its address, and of what is sent with a request.
        source: String,
        kept: Box<KeptFeed>,
    },
    /// The answer to a mutation that carried a `request_id`, for a day.
    RequestAnswered {
        /// Chosen by the client.
        request_id: String,
        /// The answer: a JSON-RPC result or error.
        answer: String,
    },
}

/// What is kept of a feed, so that it need not be sent again while it does not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFeed {
    /// The address that answered, after redirects.
    pub came_from: String,
    /// Its validators: `ETag` …
    pub etag: Option<String>,
    /// … and `Last-Modified`.
    pub last_modified: Option<String>,
    /// The items that they stand for, as JSON.
    pub items: String,
    /// When it was last known to be in use.
    pub at: Timestamp,
}

/// A change of what is wanted of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentChange {
    pub agent: AgentId,
    pub previous: Desired,
    pub desired: Desired,
    pub reason: Option<String>,
    /// When it resumes by itself.
    pub resume_at: Option<Timestamp>,
    /// Runs that have begun so far.
    pub run_count: u64,
    /// Failed runs so far.
    pub error_count: u64,
    /// When it last ran.
    pub last_run: Option<Timestamp>,
    /// When it is due next.
    pub next_run: Option<Timestamp>,
}
