//! What goes into the engine and what comes out of it: one closed inlet, one outlet.
use crate::domain::{words, *};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// What an MCP server said when it was asked for events.
#[derive(Debug, Clone, PartialEq)]
pub struct EventsPolled {
    /// In the order in which they are taken.
    pub events: Vec<McpEventReceived>,
    /// Where it goes on after them, if that is not where it was: recorded with the last of them. `Some(None)`: it keeps nothing
    /// that has been.
    pub cursor: Option<Option<String>>,
    /// It left out events before these, and why.
    pub skipped: Option<String>,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// Time passed, nothing else.
    Tick,
    /// A client asked for something; the reply goes to `ticket`.
    Command {
        /// Whom to answer.
        ticket: Ticket,
        /// What was asked.
        command: Command,
    },
    /// A runner started a process, which waits, or the body of an attempt without a process.
    Began {
        /// Of which run.
        run: RunId,
        /// In which attempt.
        attempt: u32,
        role: ProcessRole,
        /// The process, if there is one.
        process: Option<Process>,
        /// Who waits for the word to go on.
        ticket: Ticket,
    },
    /// A runner finished an attempt; nothing of it lives any more.
    AttemptEnded {
        /// Of which run.
        run: RunId,
        attempt: u32,
        outcome: Box<AttemptOutcome>,
    },
    /// A run wants to send a request to a model.
    Reserve(Reservation),
    /// A request has its end.
    Settle {
        /// Of which run.
        run: RunId,
        /// Place of its end in the run's journal.
        n: u64,
        /// Place of the request there.
        asked: u64,
        /// [`Step::Answered`] or [`Step::Unanswered`].
        step: Box<Step>,
        /// From sent to answered, in milliseconds.
        took_ms: u64,
        /// Who waits for it to be durable.
        ticket: Ticket,
    },
    /// A tool reported problems, or their ends, while its run goes on.
    Found {
        /// In which run.
        run: RunId,
        findings: Vec<Finding>,
        /// Who waits for it to be durable.
        ticket: Ticket,
    },
    /// The daemon found out how something of its own stands. At [`Level::Ok`] its incident ends.
    Noticed(Finding),
    /// The nodes that run what is placed there, as they are now. Of those that are not among them any more, and of lives that
    /// are over, all that they had reported was decided before, and they can report nothing more.
    Nodes {
        /// All that there are.
        live: Vec<LiveNode>,
        /// Sessions that are over.
        over: Vec<Arc<str>>,
    },
    /// A node says how an attempt ended, and that an earlier leader had told it to end it.
    ToldToEnd {
        run: RunId,
        /// Who had wanted that.
        cause: CancelCause,
    },
    /// The store refused a claim: its slot had been claimed before.
    ClaimRefused { run: RunId },
    /// A valid configuration; `ticket` is answered if somebody asked for it.
    FleetLoaded {
        /// What it says.
        fleet: Arc<Fleet>,
        /// Whom to answer.
        ticket: Option<Ticket>,
    },
    /// A configuration was refused.
    FleetRejected { path: String, errors: Vec<String> },
    /// Files have arrived that an agent waits for.
    FilesArrived {
        agent: AgentId,
        /// By which schedule they were found: another one may be in force by now.
        by: Arc<FileTrigger>,
        /// In the order in which they are taken.
        files: Vec<FoundFile>,
        /// Who is to hear how many of them were taken.
        ticket: Ticket,
    },
    /// Something was delivered to a webhook, and bore the right signature. It was not before.
    Delivered {
        delivery: Box<WebhookReceived>,
        /// Who is to hear for how many agents it has its outcome.
        ticket: Ticket,
    },
    /// An MCP server was asked for events that an agent waits for. None of them was there before.
    EventsPolled {
        agent: AgentId,
        /// By which schedule it was asked: another one may be in force by now.
        by: Arc<McpTrigger>,
        /// What it said.
        polled: EventsPolled,
        /// Who is to hear how many of the events were taken.
        ticket: Ticket,
    },
    /// What the ledger knows of slots ahead, as [`Action::LookAhead`] asked.
    Ahead(Vec<Ahead>),
    /// The store could not write for a while, and can again. Slots that passed meanwhile were
    /// refused.
    StorageBack,
    /// Claim nothing more; the daemon goes down.
    ShutDown { reason: String },
    /// End every run in flight: the grace of a shutdown is over.
    EndRuns {
        /// At once, without TERM.
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

/// What a run asks for before it sends a request to a model.
#[derive(Clone, Debug)]
pub struct Reservation {
    pub run: RunId,
    /// In which attempt.
    pub attempt: u32,
    /// Place of the request in the run's journal.
    pub n: u64,
    /// Name of a `[models.…]` table.
    pub model: String,
    /// What it may cost at the worst.
    pub worst: WorstCase,
    /// Who waits for the word.
    pub ticket: Ticket,
}

/// Names somebody who waits for an answer. Opaque to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// One agent or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The agent of this name.
    One(AgentId),
    All,
}

/// When a pause ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseEnd {
    /// At this time of the wall clock.
    At(Timestamp),
    /// After so much time has passed, whatever the wall clock is set to meanwhile.
    After(SignedDuration),
}

/// What a client can ask of the engine.
#[derive(Clone, Debug)]
pub enum Command {
    /// Another state is wanted of agents (section 3 of the contract).
    Want {
        target: Target,
        wish: Wish,
        /// Why, for the record.
        reason: Option<String>,
    },
    /// A manual run.
    Run {
        agent: AgentId,
        /// Instead of the configured query.
        query: Option<Arc<str>>,
        /// Parameters that are given; the rest have their defaults.
        params: ParamValues,
        /// How it goes about its work.
        mode: RunMode,
    },
    /// Runs for past slots.
    Backfill(BackfillWish),
    /// A person decides about a call that waits.
    Decide {
        id: String,
        /// It may be made.
        approve: bool,
        /// What the person says.
        reason: Option<String>,
        /// Who, if it is an answer to a question at a notification target, or comes from another node.
        by: Option<AnsweredBy>,
    },
    /// Ends one run.
    Cancel { run: RunId, kill: bool },
    /// Leaves out the next slot.
    Skip { agent: AgentId },
    /// An agent forgets what it remembers.
    Forget { agent: AgentId },
    /// A person took note of an incident.
    Ack {
        /// Whose; needed if several have an incident with this key.
        agent: Option<AgentId>,
        key: String,
    },
}

/// Past slots that a person wants to run.
#[derive(Clone, Debug)]
pub struct BackfillWish {
    pub agent: AgentId,
    /// Its id. `None`: it gets one.
    pub id: Option<Arc<str>>,
    /// Which slots, oldest first; at least one.
    pub slots: Vec<Timestamp>,
    /// Parameters of each run.
    pub params: ParamValues,
    /// All runs together cost no more, in US dollars.
    pub max_usd: Option<f64>,
}

/// What a person can want of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It is active, whatever it was.
    Start,
    /// It is paused.
    Pause {
        /// When it resumes by itself.
        until: Option<PauseEnd>,
    },
    /// It is active, if it was paused.
    Resume,
    /// It is stopped.
    Stop {
        /// What becomes of its run in flight.
        mode: StopMode,
    },
}

/// What becomes of a run in flight when its agent is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// TERM, grace, KILL.
    Terminate,
    Drain,
    Kill,
}

/// What to record and what to do, in that order.
#[derive(Debug, Default)]
pub struct Decision {
    /// Commit these together.
    pub facts: Vec<Entry>,
    /// Then do these, in order.
    pub actions: Vec<Action>,
}

/// What the shell does for the engine.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Start an attempt of a claimed run.
    Start(Box<Start>),
    /// End an attempt in flight. True: without TERM.
    Cancel {
        /// Of which run.
        run: RunId,
        kill: bool,
    },
    /// Let the one who waits at `ticket` go on, or not.
    Go {
        ticket: Ticket,
        /// False: the run was cancelled meanwhile.
        go: bool,
    },
    /// Tell the one who waits at `ticket` whether its request may be sent.
    Granted { ticket: Ticket, answer: Result<(), RunError> },
    /// Tell the one who waits at `ticket` how many of its files or events were taken: the first so many have their outcome. Of a
    /// delivery: for how many agents it has one.
    Taken { ticket: Ticket, count: usize },
    /// The clock was set back: ask the ledger, and answer with [`Input::Ahead`] before anything else is decided.
    LookAhead(Vec<LookAhead>),
    /// Tell another monitor how a run goes.
    Ping {
        agent: AgentId,
        spec: Arc<PingSpec>,
        /// What it hears.
        signal: PingSignal,
        run: RunId,
    },
    /// Answer a client.
    Reply {
        ticket: Ticket,
        /// What became of its command.
        result: Result<Reply, Refusal>,
    },
}

/// An attempt to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    pub run: RunId,
    /// Of which agent, with the configuration that it was claimed with.
    pub agent: Arc<AgentSpec>,
    pub attempt: u32,
    /// Why the run exists.
    pub trigger: Trigger,
    /// The slot that it is for.
    pub slot: Option<Timestamp>,
    /// Instead of the configured query.
    pub query: Option<Arc<str>>,
    pub params: Option<Arc<ParamValues>>,
    /// How it goes about its work.
    pub mode: RunMode,
    /// The event that started it.
    pub event: Option<Arc<Event>>,
    /// What is left of `total_timeout`.
    pub time_left: Option<SignedDuration>,
    /// Its tool only looks, and is called before the attempt is on record: nothing is said of its
    /// beginning.
    pub looks_first: bool,
    /// Something stands against its body, not against the checks of its gate: only that is asked.
    pub gate_only: bool,
    /// The life of a node where it runs. `None`: here.
    pub node: Option<Arc<str>>,
}

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Of one agent.
    Changed(ChangedAgent),
    /// Of all agents.
    AllChanged(Vec<(AgentId, Result<ChangedAgent, Refusal>)>),
    /// A manual run was claimed; the note says what is odd about it.
    RunClaimed {
        run: RunId,
        /// True: it waits for something.
        queued: bool,
        note: Option<String>,
    },
    /// Past slots are to run; the note says what is odd about it.
    BackfillBegan { backfill: Box<BackfillRecord>, note: Option<String> },
    /// A run is being ended, or has ended.
    Cancelling {
        /// As it is now: what never began is not kept.
        run: Box<RunRecord>,
        /// When it ended, if it has.
        finished_at: Option<Timestamp>,
    },
    /// A slot will be left out.
    WillSkip {
        agent: AgentId,
        slot: Timestamp,
        /// False: that was so before.
        changed: bool,
    },
    /// A person decided about a call.
    Decided {
        /// Of which run.
        run: RunId,
        agent: Option<AgentId>,
        /// What was wanted.
        wanted: ApprovalWanted,
        /// It may be made.
        approved: bool,
    },
    /// An agent has forgotten what it remembered.
    Forgotten,
    /// An incident as it is now.
    Incident(Box<IncidentRecord>),
    /// A configuration was taken up.
    Reloaded {
        added: Vec<AgentId>,
        /// Agents that are different now.
        changed: Vec<AgentId>,
        /// Agents that are gone.
        removed: Vec<AgentId>,
    },
}

/// What became of one agent.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangedAgent {
    pub agent: AgentId,
    pub previous: Desired,
    pub state: Desired,
    /// False: it already was so.
    pub changed: bool,
    /// For people: "already active".
    pub note: Option<String>,
}

/// A command that was not carried out.
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
    /// The state does not allow it.
    #[error("{0}")]
    WrongState(String),
    /// The parameters of a run do not fit.
    #[error("{0}")]
    Params(String),
    /// A budget has nothing left for it.
    #[error("{0}")]
    Budget(String),
    /// The daemon is going down.
    #[error("the daemon is shutting down")]
    ShuttingDown,
}

/// When [`super::Engine::decide`] must be called at the latest, if nothing else happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// By the wall clock: slots, timed pauses.
    pub wall: Option<Timestamp>,
    /// By the clock that stands still in sleep: retries, catch-ups.
    pub mono: Option<SignedDuration>,
}
