//! The messages between an attempt and its owner: its brief, its reports, and its stop orders.
use crate::domain::{
    AgentSpec, AttemptOutcome, CapturedOutput, Finding, Fleet, LastResult, LoggedEvent, MemoryStore,
    ParamValues, Process, ProcessRole, RunError, RunId, RunMode, Step, Talk, Trigger, WorstCase,
};
use crate::llm::Models;
use crate::redis_memory::RedisMemory;
use crate::store::Store;
use crate::tools::Tools;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Everything that an attempt needs to know.
#[derive(Debug, Clone)]
pub struct Brief {
    pub run: RunId,
    /// The agent, with the configuration that the run was claimed with.
    pub agent: Arc<AgentSpec>,
    pub attempt: u32,
    pub trigger: Trigger,
    pub slot: Option<Timestamp>,
    /// What a person asked instead of the configured query.
    pub query: Option<Arc<str>>,
    pub params: Option<Arc<ParamValues>>,
    pub mode: RunMode,
    /// The event that started it, as logged.
    pub event: Option<LoggedEvent>,
    pub last_result: Option<LastResult>,
    /// What is left of `total_timeout`.
    pub time_left: Option<SignedDuration>,
    /// The tool only reads: it is called at once, and only the end of the attempt is reported.
    pub looks_first: bool,
    /// Only the gate is evaluated.
    pub gate_only: bool,
    /// Fencing token: grows from attempt to attempt of an agent, across crashes and leaders.
    pub fence: u64,
    /// Trace context for what it starts, in the format of `traceparent`. `None`: tracing is off.
    pub traceparent: Option<Arc<str>>,
}

/// What an attempt reports while it runs. The receiver makes it durable and acknowledges it.
#[derive(Debug)]
pub enum Report {
    /// A process was started and waits at its gate. It may proceed when the acknowledgement arrives; if the sender is dropped
    /// instead, it must not.
    Spawned {
        run: RunId,
        attempt: u32,
        role: ProcessRole,
        process: Process,
        /// Opens the gate.
        go: oneshot::Sender<()>,
    },
    /// The body of the attempt begins and has no process of its own (a tool). It may proceed when the acknowledgement arrives.
    Began {
        run: RunId,
        attempt: u32,
        /// Acknowledges that it is durable.
        go: oneshot::Sender<()>,
    },
    Output {
        output: Box<CapturedOutput>,
        /// Requests the next piece: dropped or sent when this one is durable.
        done: oneshot::Sender<()>,
    },
    /// Entries of a conversation, in order.
    Journal {
        talks: Vec<Talk>,
        /// Acknowledges that it is durable.
        done: oneshot::Sender<()>,
    },
    /// A request is to be sent to a model.
    Reserve {
        run: RunId,
        attempt: u32,
        /// Its position in the run's journal.
        n: u64,
        /// Name of a `[models.…]` table.
        model: String,
        worst: WorstCase,
        /// Whether it may be sent; if so, it is held and on record by then.
        granted: oneshot::Sender<Result<(), RunError>>,
    },
    /// A request has ended.
    Settle {
        run: RunId,
        /// The position of its end in the run's journal.
        n: u64,
        /// The position of the request there.
        asked: u64,
        /// [`Step::Answered`] or [`Step::Unanswered`].
        step: Box<Step>,
        /// From sent to answered, in milliseconds.
        took_ms: u64,
        /// Acknowledges that it is durable.
        go: oneshot::Sender<()>,
    },
    /// A tool reported findings while its run goes on.
    Found {
        run: RunId,
        findings: Vec<Finding>,
        /// Acknowledges that it is durable.
        go: oneshot::Sender<()>,
    },
    /// The attempt ended; none of its processes is left.
    Ended { run: RunId, attempt: u32, outcome: Box<AttemptOutcome> },
}

/// How urgently a run is to end. Never decreases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopOrder {
    None,
    /// TERM, grace, KILL.
    Terminate,
    Kill,
}

/// What all attempts share.
#[derive(Clone)]
pub struct Shared {
    /// The configuration in force.
    pub fleet: Arc<Fleet>,
    pub tools: Arc<Tools>,
    pub models: Arc<Models>,
    /// For reading journals and memories; without it, no model can run.
    pub store: Option<Store>,
    /// The memory of agents with `store = "redis"`, if [memory.redis] is configured.
    pub memory: Option<RedisMemory>,
    pub reports: mpsc::Sender<Report>,
}

impl Shared {
    /// Returns where the agent's session and notes are, if not in the store.
    pub(super) fn memory_of(&self, agent: &AgentSpec) -> Option<RedisMemory> {
        self.memory.clone().filter(|_| agent.memory_store() == MemoryStore::Redis)
    }
}
