//! What comes to the loop, and the ends of its inboxes for those who talk to it.
use crate::child::run_folders::WorkspaceSums;
use crate::config::RejectedFor;
use crate::domain::{
    AgentId, FileTrigger, FoundFile, McpTrigger, Now, PingSignal, PingSpec, RunId, WebhookReceived,
};
use crate::engine::{Command, Engine, EventsPolled};
use crate::protocol::RpcError;
use crate::runner::Report;
use crate::store::{TakenReport, Workers};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

/// The answer to a client.
pub(super) type Answer = Result<Value, RpcError>;

/// How a change is identified, and what happens to it while nothing can be recorded.
#[derive(Debug, Clone, Default)]
pub(super) struct ChangeAsked {
    /// A change repeated under the same id is answered as before, and not made again.
    pub(super) request_id: Option<String>,
    /// Whether it waits in order until it can be recorded, like changes from other nodes; otherwise
    /// it is refused.
    pub(super) waits: bool,
}

/// A message to the loop.
pub(super) enum Message {
    /// A client requests a change.
    Command {
        command: Command,
        asked: ChangeAsked,
        answer: oneshot::Sender<Answer>,
    },
    /// A runner reports something.
    Report(Report),
    /// A configuration was read.
    Loaded {
        fleet: Arc<crate::domain::Fleet>,
        warnings: Vec<String>,
        asked: ChangeAsked,
        answer: Option<oneshot::Sender<Answer>>,
    },
    /// A configuration was refused.
    Rejected {
        path: String,
        errors: Vec<String>,
        why: RejectedFor,
    },
    /// Files have arrived and settled; the answer is how many of them, from the first, have a
    /// recorded outcome.
    FilesArrived {
        agent: AgentId,
        by: Arc<FileTrigger>,
        files: Vec<FoundFile>,
        answer: oneshot::Sender<usize>,
    },
    /// A webhook received a delivery; the answer is for how many agents its outcome is recorded.
    Delivered {
        delivery: Box<WebhookReceived>,
        answer: oneshot::Sender<usize>,
    },
    /// An MCP server was polled for events; the answer is how many of them, from the first, have a
    /// recorded outcome. The new cursor is recorded if all have.
    EventsPolled {
        agent: AgentId,
        by: Arc<McpTrigger>,
        polled: EventsPolled,
        answer: oneshot::Sender<usize>,
    },
    /// A condition of the daemon itself has changed.
    Noticed(crate::domain::Finding),
    /// Nodes have sent reports; the answer says that they are decided and removed.
    Reported {
        reports: Vec<TakenReport>,
        done: oneshot::Sender<()>,
    },
    /// The set of nodes that run placed attempts has changed.
    Nodes(Workers),
    /// Checks whether the daemon is cut off from its database: if so, programs are stopped.
    CutOff,
    /// Another daemon may lead: a commit finds out.
    AskLead,
    ShutDown {
        reason: String,
        now: bool,
        answer: Option<oneshot::Sender<Answer>>,
    },
}

/// A ping to a monitor about a run.
pub(super) struct RunPing {
    pub(super) agent: AgentId,
    pub(super) spec: Arc<PingSpec>,
    pub(super) signal: PingSignal,
    pub(super) run: RunId,
}

/// A question about the present, answered by the engine.
pub(super) type Question = Box<dyn FnOnce(&Engine, Now) + Send>;

/// Problems of the daemon, for `status`; shared with the handlers.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Why nothing can be written.
    pub(super) storage: Option<String>,
    /// What is wrong with the files of the database.
    pub(super) files: Option<String>,
    /// Why agents wait for the ledger.
    pub(super) unread: Option<String>,
    /// The daemon is shutting down.
    pub(super) stopping: bool,
    /// Why the newest configuration file was refused.
    pub(super) config_errors: Vec<String>,
    /// The file is missing.
    pub(super) config_missing: bool,
    /// The file waits for a person to trust it.
    pub(super) config_waits: bool,
    /// Agents whose source can't deliver: a missing folder, an unreachable MCP server.
    pub(super) sources: BTreeMap<AgentId, SourceTrouble>,
    /// Why some folders are not watched; they are scanned each minute instead.
    pub(super) unwatched: Option<String>,
    /// State of the webhook listener; `None` if none is configured.
    pub(super) webhooks: Option<WebhookStanding>,
    /// Webhooks whose deliveries are not accepted.
    pub(super) hooks: BTreeMap<String, HookTrouble>,
    /// What the folders of runs take, and may; `None`: nobody has looked yet.
    pub(super) workspaces: Option<(WorkspaceSums, u64)>,
    /// When the configuration in force was taken up.
    pub(super) config_at: Option<Timestamp>,
}

/// State of the webhook listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WebhookStanding {
    /// The address it listens on, or should.
    pub(super) address: std::net::SocketAddr,
    /// Why it does not listen, and since when.
    pub(super) problem: Option<(String, Timestamp)>,
}

/// A problem of an agent's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceTrouble {
    /// A description for people.
    pub(super) problem: String,
    /// Since when there has been a problem.
    pub(super) since: Timestamp,
}

/// Deliveries to a webhook that were refused since the last accepted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HookTrouble {
    /// Number of consecutive refusals: not signed with the secret, or too old.
    pub(super) refused: u64,
    /// Why the last one was refused.
    pub(super) last: String,
    pub(super) since: Timestamp,
    /// No delivery can be verified: the secret is unavailable.
    pub(super) is_blind: bool,
}

/// The sending ends of the loop's inboxes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) questions: mpsc::Sender<Question>,
    pub(super) condition: Arc<Mutex<Condition>>,
}

impl Handle {
    /// Asks the engine; `None` if the loop has ended.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine, Now) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let question: Question = Box::new(move |engine, now| {
            let _ = sender.send(question(engine, now));
        });
        self.questions.send(question).await.ok()?;
        receiver.await.ok()
    }
}
