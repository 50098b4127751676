//! What comes to the loop, and the ends of its inboxes for those who talk to it.
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

/// An answer on its way to a client.
pub(super) type Answer = Result<Value, RpcError>;

/// By what a change is known, and what is done about it while nothing can be recorded.
#[derive(Debug, Clone, Default)]
pub(super) struct ChangeAsked {
    /// Sent again under this, it is answered as before and not made again.
    pub(super) request_id: Option<String>,
    /// It waits in its place until it can be recorded, as what comes from other nodes does; else it is refused.
    pub(super) waits: bool,
}

/// What comes to the loop.
pub(super) enum Message {
    /// A client wants something changed.
    Command {
        command: Command,
        asked: ChangeAsked,
        answer: oneshot::Sender<Answer>,
    },
    /// A runner tells something.
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
    /// Files have arrived and settled; the answer is how many of them, from the first, have their outcome on record.
    FilesArrived {
        agent: AgentId,
        by: Arc<FileTrigger>,
        files: Vec<FoundFile>,
        answer: oneshot::Sender<usize>,
    },
    /// Something was delivered to a webhook; the answer is for how many agents it has its outcome on record.
    Delivered {
        delivery: Box<WebhookReceived>,
        answer: oneshot::Sender<usize>,
    },
    /// An MCP server was asked for events; the answer is how many of them, from the first, have their outcome on record. Where it
    /// goes on is recorded if all have.
    EventsPolled {
        agent: AgentId,
        by: Arc<McpTrigger>,
        polled: EventsPolled,
        answer: oneshot::Sender<usize>,
    },
    /// Something of the daemon's own stands otherwise than before.
    Noticed(crate::domain::Finding),
    /// Nodes have reported something; the answer is that it is decided, and the reports are removed.
    Reported {
        reports: Vec<TakenReport>,
        done: oneshot::Sender<()>,
    },
    /// The nodes that run what is placed there are others than before.
    Nodes(Workers),
    /// The daemon is cut off from its database, or was: programs are stopped, or not any more.
    CutOff,
    /// Somebody else may lead: that is found out by a commit.
    AskLead,
    ShutDown {
        reason: String,
        now: bool,
        answer: Option<oneshot::Sender<Answer>>,
    },
}

/// A monitor is to hear how a run goes.
pub(super) struct RunPing {
    pub(super) agent: AgentId,
    pub(super) spec: Arc<PingSpec>,
    /// What it hears.
    pub(super) signal: PingSignal,
    pub(super) run: RunId,
}

/// A question about the present.
pub(super) type Question = Box<dyn FnOnce(&Engine, Now) + Send>;

/// What is wrong with the daemon, for `status`; shared with the handlers.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Why nothing can be written.
    pub(super) storage: Option<String>,
    /// What is wrong with the files of the database.
    pub(super) files: Option<String>,
    /// Why agents wait for what the ledger knows.
    pub(super) unread: Option<String>,
    /// It is going down.
    pub(super) stopping: bool,
    /// Why the newest configuration file was refused.
    pub(super) config_errors: Vec<String>,
    /// The file is missing.
    pub(super) config_missing: bool,
    /// The file waits for a person to trust it.
    pub(super) config_waits: bool,
    /// Agents that wait for what can't come from outside: a folder is not there, an MCP server is down.
    pub(super) sources: BTreeMap<AgentId, SourceTrouble>,
    /// Why not all folders that files arrive in are watched: those are looked at each minute.
    pub(super) unwatched: Option<String>,
    /// How it stands with the listener for webhooks; `None`: there is to be none.
    pub(super) webhooks: Option<WebhookStanding>,
    /// Webhooks whose deliveries are not taken.
    pub(super) hooks: BTreeMap<String, HookTrouble>,
    /// When the configuration in force was taken up.
    pub(super) config_at: Option<Timestamp>,
}

/// How it stands with the listener for webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WebhookStanding {
    /// Where it listens, or is to.
    pub(super) address: std::net::SocketAddr,
    /// Why it does not, and since when.
    pub(super) problem: Option<(String, Timestamp)>,
}

/// What is wrong with what an agent waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceTrouble {
    /// In words, for people.
    pub(super) problem: String,
    /// Since when something is.
    pub(super) since: Timestamp,
}

/// Deliveries to a webhook that were not taken since the last one that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HookTrouble {
    /// So many were refused in a row: not signed with the secret, or too old.
    pub(super) refused: u64,
    /// Why the last one was not taken.
    pub(super) last: String,
    pub(super) since: Timestamp,
    /// None can be checked: the secret is not to be had.
    pub(super) is_blind: bool,
}

/// Both ends of the loop's inboxes, for those who talk to it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) questions: mpsc::Sender<Question>,
    pub(super) condition: Arc<Mutex<Condition>>,
}

impl Handle {
    /// Asks the engine something; `None` if the loop has ended.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Engine, Now) -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let question: Question = Box::new(move |engine, now| {
            let _ = tell.send(question(engine, now));
        });
        self.questions.send(question).await.ok()?;
        told.await.ok()
    }
}
