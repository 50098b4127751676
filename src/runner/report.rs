//! The words between an attempt and those who start it: what it is told, what it tells, and how it is stopped.
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
    /// Of which agent, with the configuration that the run was claimed with.
    pub agent: Arc<AgentSpec>,
    pub attempt: u32,
    /// Why the run exists.
    pub trigger: Trigger,
    /// The slot that it is for.
    pub slot: Option<Timestamp>,
    /// What a person asked instead of the configured query.
    pub query: Option<Arc<str>>,
    pub params: Option<Arc<ParamValues>>,
    /// How the run goes about its work.
    pub mode: RunMode,
    /// The event that started it, as it is logged.
    pub event: Option<LoggedEvent>,
    /// The result of the agent's last successful run.
    pub last_result: Option<LastResult>,
    /// What is left of `total_timeout`.
    pub time_left: Option<SignedDuration>,
    /// The tool only looks: it is called at once, and what came of it is told by the end of the attempt alone.
    pub looks_first: bool,
    /// Nothing but the gate is asked.
    pub gate_only: bool,
    /// Grows from attempt to attempt of an agent, over crashes and over daemons that lead one after the other.
    pub fence: u64,
    /// The trace that what it starts belongs to, in the words of `traceparent`. `None`: traces are not told.
    pub traceparent: Option<Arc<str>>,
}

/// What an attempt tells while it goes on. The other side makes it durable and answers.
#[derive(Debug)]
pub enum Report {
    /// A process was started and waits at its gate. It may go on when the answer comes; if the
    /// sender is dropped instead, it must not.
    Spawned {
        /// Of which run.
        run: RunId,
        /// In which attempt.
        attempt: u32,
        role: ProcessRole,
        process: Process,
        /// Opens the gate.
        go: oneshot::Sender<()>,
    },
    /// The body of the attempt begins and has no process of its own (a tool). May go on when the
    /// answer comes.
    Began {
        /// Of which run.
        run: RunId,
        /// In which attempt.
        attempt: u32,
        /// Says that it is durable.
        go: oneshot::Sender<()>,
    },
    /// Output was captured.
    Output {
        output: Box<CapturedOutput>,
        /// Room for the next piece: dropped or sent when this one is durable.
        done: oneshot::Sender<()>,
    },
    /// Something of a conversation happened, in order.
    Journal {
        talks: Vec<Talk>,
        /// Says that it is durable.
        done: oneshot::Sender<()>,
    },
    /// A request is to be sent to a model.
    Reserve {
        /// By which run.
        run: RunId,
        /// In which attempt.
        attempt: u32,
        /// Its place in the run's journal.
        n: u64,
        /// Name of a `[models.…]` table.
        model: String,
        /// What it may cost at the worst.
        worst: WorstCase,
        /// Whether it may; when the answer comes, it is held and on record.
        granted: oneshot::Sender<Result<(), RunError>>,
    },
    /// A request has its end.
    Settle {
        /// Of which run.
        run: RunId,
        /// The place of its end in the run's journal.
        n: u64,
        /// The place of the request there.
        asked: u64,
        /// [`Step::Answered`] or [`Step::Unanswered`].
        step: Box<Step>,
        /// From sent to answered, in milliseconds.
        took_ms: u64,
        /// Says that it is durable.
        go: oneshot::Sender<()>,
    },
    /// A tool reported problems, or their ends, while its run goes on.
    Found {
        /// In which run.
        run: RunId,
        findings: Vec<Finding>,
        /// Says that it is durable.
        go: oneshot::Sender<()>,
    },
    /// The attempt ended; nothing of it lives any more.
    Ended {
        /// Of which run.
        run: RunId,
        /// In which attempt.
        attempt: u32,
        outcome: Box<AttemptOutcome>,
    },
}

/// How urgently a run is to end. Only ever grows.
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
    /// To read journals and memories; without it, no model can run.
    pub store: Option<Store>,
    /// What agents with `store = "redis"` remember, if [memory.redis] is configured.
    pub memory: Option<RedisMemory>,
    /// Where reports go.
    pub reports: mpsc::Sender<Report>,
}

impl Shared {
    /// Where the agent's session and notes are, if not in the store.
    pub(super) fn memory_of(&self, agent: &AgentSpec) -> Option<RedisMemory> {
        self.memory.clone().filter(|_| agent.memory_store() == MemoryStore::Redis)
    }
}
