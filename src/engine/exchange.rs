//! The engine's interface: one closed input type, one output type.
use crate::domain::{words, *};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Answer of an MCP server that was polled for events.
#[derive(Debug, Clone, PartialEq)]
pub struct EventsPolled {
    /// In the order in which they are processed.
    pub events: Vec<McpEventReceived>,
    /// New cursor after these events, if it changed: recorded with the last of them. `Some(None)`: the server keeps
    /// no past events.
    pub cursor: Option<Option<String>>,
    /// Why the server left out events before these, if it did.
    pub skipped: Option<String>,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// Time passed, nothing else.
    Tick,
    /// A client sent a command; the reply goes to `ticket`.
    Command {
        /// Addressee of the reply.
        ticket: Ticket,
        command: Command,
    },
    /// A runner started a process, which waits at its gate, or the body of an attempt without a process.
    Began {
        run: RunId,
        attempt: u32,
        role: ProcessRole,
        /// The process, if there is one.
        process: Option<Process>,
        /// Waits for permission to go on.
        ticket: Ticket,
    },
    /// An attempt has ended; nothing of it is alive any more.
    AttemptEnded { run: RunId, attempt: u32, outcome: Box<AttemptOutcome> },
    /// A run wants to send a request to a model.
    Reserve(Reservation),
    /// A model request was answered or failed.
    Settle {
        run: RunId,
        /// Position of its outcome in the run's journal.
        n: u64,
        /// Position of the request in the run's journal.
        asked: u64,
        /// [`Step::Answered`] or [`Step::Unanswered`].
        step: Box<Step>,
        /// Time from request to answer, in milliseconds.
        took_ms: u64,
        /// Waits until this is durable.
        ticket: Ticket,
    },
    /// A tool reported problems, or their resolution, while its run goes on.
    Found {
        run: RunId,
        findings: Vec<Finding>,
        /// Waits until this is durable.
        ticket: Ticket,
    },
    /// The daemon checked something of its own. [`Level::Ok`] resolves its incident.
    Noticed(Finding),
    /// The worker nodes that are live now. For nodes no longer listed and sessions that are over, all their reports
    /// have been decided already, and no more can come.
    Nodes {
        /// All live nodes.
        live: Vec<LiveNode>,
        /// Sessions that have ended.
        over: Vec<Arc<str>>,
    },
    /// A node reported how an attempt ended, and that an earlier leader had ordered its cancellation.
    ToldToEnd {
        run: RunId,
        /// Cause that the earlier leader gave.
        cause: CancelCause,
    },
    /// The store refused a claim: its slot had been claimed already.
    ClaimRefused { run: RunId },
    /// A valid configuration was loaded; `ticket` is answered if a client requested it.
    FleetLoaded {
        fleet: Arc<Fleet>,
        /// Addressee of the reply.
        ticket: Option<Ticket>,
    },
    /// A configuration was rejected.
    FleetRejected { path: String, errors: Vec<String> },
    /// Files arrived that an agent waits for.
    FilesArrived {
        agent: AgentId,
        /// Schedule by which they were found; a different one may be in force by now.
        by: Arc<FileTrigger>,
        /// In the order in which they are processed.
        files: Vec<FoundFile>,
        /// Receives the number of files that were taken.
        ticket: Ticket,
    },
    /// A webhook received a delivery with a valid signature, not seen before.
    Delivered {
        delivery: Box<WebhookReceived>,
        /// Receives the number of agents for which the delivery has an outcome.
        ticket: Ticket,
    },
    /// An MCP server was polled for events that an agent waits for. None of them was seen before.
    EventsPolled {
        agent: AgentId,
        /// Schedule by which it was polled; a different one may be in force by now.
        by: Arc<McpTrigger>,
        polled: EventsPolled,
        /// Receives the number of events that were taken.
        ticket: Ticket,
    },
    /// Ledger lookup result that [`Action::LookAhead`] requested.
    Ahead(Vec<Ahead>),
    /// The store can write again after an outage. Slots that passed meanwhile were refused.
    StorageBack,
    /// Claim nothing more; the daemon is shutting down.
    ShutDown { reason: String },
    /// Cancel every run in flight: the grace period of a shutdown is over.
    EndRuns {
        /// Immediately, without SIGTERM.
        kill: bool,
    },
}

words! {
    /// Who wants a run to end.
    CancelCause {
        /// A person.
        Person = "person",
        /// A newer slot of its agent.
        NewerSlot = "newer_slot",
        /// Whoever told the daemon to go down.
        Shutdown = "shutdown",
    }
}

/// Request of a run to send a request to a model.
#[derive(Clone, Debug)]
pub struct Reservation {
    pub run: RunId,
    pub attempt: u32,
    /// Position of the request in the run's journal.
    pub n: u64,
    /// Name of a `[models.…]` table.
    pub model: String,
    /// Worst-case cost.
    pub worst: WorstCase,
    /// Waits for the grant or refusal.
    pub ticket: Ticket,
}

/// Identifies a waiter for an answer. Opaque to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// One agent or all agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    One(AgentId),
    All,
}

/// When a pause ends automatically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseEnd {
    /// At this wall-clock time.
    At(Timestamp),
    /// After this much elapsed time, regardless of changes to the wall clock.
    After(SignedDuration),
}

/// A client's command to the engine.
#[derive(Clone, Debug)]
pub enum Command {
    /// Sets the desired state of agents (section 3 of the contract).
    Want {
        target: Target,
        wish: Wish,
        /// Reason for the record.
        reason: Option<String>,
    },
    /// Starts a manual run.
    Run {
        agent: AgentId,
        /// Replaces the configured query.
        query: Option<Arc<str>>,
        /// Explicit parameters; the rest have their defaults.
        params: ParamValues,
        /// Normal, rehearsal or replay.
        mode: RunMode,
    },
    /// Starts runs for past slots.
    Backfill(BackfillRequest),
    /// Decides about a call that waits for approval.
    Decide {
        id: String,
        approve: bool,
        /// Comment of the person.
        reason: Option<String>,
        /// Origin, if this answers a question at a notification target or comes from another node.
        by: Option<AnsweredBy>,
    },
    /// Cancels one run.
    Cancel { run: RunId, kill: bool },
    /// Skips the next slot.
    Skip { agent: AgentId },
    /// Clears the memory of an agent.
    Forget { agent: AgentId },
    /// Acknowledges an incident.
    Ack {
        /// Agent of the incident; required if several have one with this key.
        agent: Option<AgentId>,
        key: String,
    },
}

/// A backfill that a person requests.
#[derive(Clone, Debug)]
pub struct BackfillRequest {
    pub agent: AgentId,
    /// Its id; generated if `None`.
    pub id: Option<Arc<str>>,
    /// Slots to run, oldest first; at least one.
    pub slots: Vec<Timestamp>,
    /// Parameters of each run.
    pub params: ParamValues,
    /// Upper bound for the cost of all runs together, in US dollars.
    pub max_usd: Option<f64>,
}

/// A change of an agent's desired state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Makes the agent active, whatever its state.
    Start,
    /// Pauses the agent.
    Pause {
        /// When it resumes automatically.
        until: Option<PauseEnd>,
    },
    /// Makes the agent active if it is paused.
    Resume,
    /// Stops the agent.
    Stop {
        /// How to treat its run in flight.
        mode: StopMode,
    },
}

/// How to treat a run in flight when its agent is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// SIGTERM, grace period, SIGKILL.
    Terminate,
    Drain,
    Kill,
}

/// What to record and then what to do.
#[derive(Debug, Default)]
pub struct Decision {
    /// To be committed in one transaction.
    pub facts: Vec<Entry>,
    /// To be performed after the commit, in order.
    pub actions: Vec<Action>,
}

/// A task that the engine gives to the daemon.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Start an attempt of a claimed run.
    Start(Box<Start>),
    /// Cancel an attempt in flight; with `kill`, without SIGTERM.
    Cancel { run: RunId, kill: bool },
    /// Let the waiter at `ticket` go on, or not.
    Go {
        ticket: Ticket,
        /// False: the run was cancelled meanwhile.
        go: bool,
    },
    /// Tell the waiter at `ticket` whether its request may be sent.
    Granted { ticket: Ticket, answer: Result<(), RunError> },
    /// Tell the waiter at `ticket` how many of its files or events, from the first, have an outcome. For a
    /// delivery: the number of agents for which it has one.
    Taken { ticket: Ticket, count: usize },
    /// The clock was set back: query the ledger, and answer with [`Input::Ahead`] before the next input is decided.
    LookAhead(Vec<LookAhead>),
    /// Send a ping about a run to an external monitor.
    Ping { agent: AgentId, spec: Arc<PingSpec>, signal: PingSignal, run: RunId },
    /// Reply to a client.
    Reply { ticket: Ticket, result: Result<Reply, Refusal> },
}

/// An attempt to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    pub run: RunId,
    /// With the configuration that the run was claimed with.
    pub agent: Arc<AgentSpec>,
    pub attempt: u32,
    pub trigger: Trigger,
    pub slot: Option<Timestamp>,
    /// Replaces the configured query.
    pub query: Option<Arc<str>>,
    pub params: Option<Arc<ParamValues>>,
    /// Normal, rehearsal or replay.
    pub mode: RunMode,
    pub event: Option<Arc<Event>>,
    /// Remainder of `total_timeout`.
    pub time_left: Option<SignedDuration>,
    /// Its tool only reads, and is called before the attempt is recorded: the start is not reported.
    pub looks_first: bool,
    /// Its body is held back, but not the checks of its gate: only the gate is evaluated.
    pub gate_only: bool,
    /// Session of the node that runs it. `None`: this node.
    pub node: Option<Arc<str>>,
}

/// Result of a command that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Outcome for one agent.
    Changed(ChangedAgent),
    /// Outcomes for all agents.
    AllChanged(Vec<(AgentId, Result<ChangedAgent, Refusal>)>),
    /// A manual run was claimed; the note describes anything unusual about it.
    RunClaimed {
        run: RunId,
        /// True: it is still waiting to start.
        queued: bool,
        note: Option<String>,
    },
    /// A backfill has begun; the note describes anything unusual about it.
    BackfillBegan { backfill: Box<BackfillRecord>, note: Option<String> },
    /// A run is being cancelled, or has ended.
    Cancelling {
        /// Current record: a run that never began is not kept.
        run: Box<RunRecord>,
        /// When it ended, if it has.
        finished_at: Option<Timestamp>,
    },
    /// The next slot will be skipped.
    WillSkip {
        agent: AgentId,
        slot: Timestamp,
        /// False: it was to be skipped already.
        changed: bool,
    },
    /// A person decided about a call.
    Decided { run: RunId, agent: Option<AgentId>, wanted: ApprovalWanted, approved: bool },
    /// The memory of an agent was cleared.
    Forgotten,
    /// An incident in its current state.
    Incident(Box<IncidentRecord>),
    /// A configuration was put in force. `applied`: it is a new revision of the fleet's configuration.
    Reloaded { applied: bool, added: Vec<AgentId>, changed: Vec<AgentId>, removed: Vec<AgentId> },
}

/// Outcome of a command for one agent.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangedAgent {
    pub agent: AgentId,
    pub previous: Desired,
    pub state: Desired,
    /// False: it already had this state.
    pub changed: bool,
    /// For people, such as "already active".
    pub note: Option<String>,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such agent.
    #[error("no agent named `{0}`")]
    NoSuchAgent(AgentId),
    /// No such run in flight.
    #[error("run {0} is not in flight")]
    NoSuchRun(RunId),
    /// No such incident.
    #[error("no open incident `{0}`")]
    NoSuchIncident(String),
    /// No such call waits for a person.
    #[error("no tool call `{0}` waits for a person")]
    NoSuchApproval(String),
    /// The current state does not allow it.
    #[error("{0}")]
    WrongState(String),
    /// The parameters of a run are invalid.
    #[error("{0}")]
    Params(String),
    /// A budget is exhausted.
    #[error("{0}")]
    Budget(String),
    /// The daemon is shutting down.
    #[error("the daemon is shutting down")]
    ShuttingDown,
}

/// When [`super::Engine::decide`] must be called next at the latest, if nothing else happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// By the wall clock: slots, timed pauses.
    pub wall: Option<Timestamp>,
    /// By the clock that stops during suspend: retries, catch-ups.
    pub mono: Option<SignedDuration>,
}
