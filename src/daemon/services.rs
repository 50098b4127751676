//! What sessions need of the daemon, and what handlers give back to a session.
use super::inbox::{Answer, ChangeAsked, Handle};
use crate::config::Paths;
use crate::daemon::forward::Forwarder;
use crate::domain::Seq;
use crate::export::ExportProgress;
use crate::redis_memory::MemoryProgress;
use crate::store::{Ancestor, EventFilter, NodeLink, Store, Where};
use crate::telemetry::{Listening, TraceProgress};
use crate::tools::Tools;
use jiff::Timestamp;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

/// Everything that sessions need of the daemon.
pub(super) struct Services {
    pub(super) handle: Handle,
    pub(super) store: Store,
    pub(super) tools: Arc<Mutex<Arc<Tools>>>,
    pub(super) paths: Paths,
    pub(super) socket: std::path::PathBuf,
    pub(super) database: String,
    /// Where records are kept.
    pub(super) records: Where,
    /// What the database was a copy of.
    pub(super) ancestors: Vec<Ancestor>,
    pub(super) started_at: Timestamp,
    /// The newest event when the database was opened.
    pub(super) began_after: Seq,
    pub(super) clients: Arc<AtomicU64>,
    /// What it is to those that share its records.
    pub(super) role: Role,
    /// Its connection to them; `None`: the records are in a file.
    pub(super) link: Option<Arc<NodeLink>>,
    /// How the copy of the log in Redis stands.
    pub(super) exported: Arc<ExportProgress>,
    /// How it stands with what agents remember in Redis.
    pub(super) remembering: Arc<MemoryProgress>,
    /// How it stands with the listener for metrics.
    pub(super) listening: Arc<Listening>,
    /// How sending traces goes.
    pub(super) traces: Arc<TraceProgress>,
    pub(super) reload: mpsc::Sender<crate::daemon::services::Reload>,
}

/// What a daemon is to the records.
pub(super) enum Role {
    /// It writes them.
    Leads,
    /// Another one does, to which it forwards what that one alone can answer.
    StandsBy(Arc<Forwarder>),
    /// No daemon runs, since this event or later.
    AtRest(Option<Timestamp>),
}

/// On whose behalf a request is made.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller {
    /// Who, of a client of another node: `ada at gpu-7`. What was answered before was looked up for it.
    pub(super) by: Option<String>,
    /// By which a change is known, of a method without a `request_id` of its own.
    pub(super) request_id: Option<String>,
    /// It is a program of an agent.
    pub(super) of_agent: bool,
}

impl Caller {
    /// A change on its behalf, with the id that its own parameters give it.
    pub(super) fn asks(&self, request_id: Option<String>) -> ChangeAsked {
        ChangeAsked { request_id: request_id.or_else(|| self.request_id.clone()), waits: self.by.is_some() }
    }
}

pub(super) use super::encoded::Encoded;

/// What is to be done about a call.
pub(super) enum Step {
    Done(Encoded),
    /// The answer comes later; further calls may go on.
    Later(std::pin::Pin<Box<dyn Future<Output = Encoded> + Send>>),
    /// The same, with what is to be known about the answer.
    Noted(std::pin::Pin<Box<dyn Future<Output = (Encoded, Option<String>)> + Send>>),
    /// A subscription: the answer, then its events.
    Stream(Box<Subscription>),
    /// The end of a subscription.
    Unsubscribe(u64),
}

/// Which events a client wants, from where.
pub(super) struct Subscription {
    pub(super) cursor: Seq,
    pub(super) newest: Seq,
    /// More was asked for than there is: it goes on after this one.
    pub(super) instead_after: Option<u64>,
    pub(super) filter: EventFilter,
    pub(super) follow: bool,
}

/// Somebody wants the file to be read.
pub(super) enum Reload {
    /// A client, who waits for the answer.
    Asked(oneshot::Sender<Answer>, ChangeAsked),
    Signal,
}
