//! What sessions need of the daemon, and what handlers give back to a session.
use super::applying::ApplyAsked;
use super::inbox::{Answer, ChangeAsked, Handle};
use crate::config::Paths;
use crate::daemon::forward::Forwarder;
use crate::domain::Seq;
use crate::export::ExportProgress;
use crate::redis_memory::MemoryProgress;
use crate::store::{Ancestor, EventFilter, NodeLink, Store, Where};
use crate::telemetry::{MetricsListenerState, TraceProgress};
use crate::tools::Tools;
use jiff::Timestamp;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

/// Everything that sessions need from the daemon.
pub(super) struct Services {
    pub(super) handle: Handle,
    pub(super) store: Store,
    pub(super) tools: Arc<Mutex<Arc<Tools>>>,
    pub(super) paths: Paths,
    pub(super) socket: std::path::PathBuf,
    pub(super) database: String,
    /// Where records are stored.
    pub(super) records: Where,
    /// The databases of which it is a copy.
    pub(super) ancestors: Vec<Ancestor>,
    pub(super) started_at: Timestamp,
    /// The newest event when the database was opened.
    pub(super) began_after: Seq,
    pub(super) clients: Arc<AtomicU64>,
    /// The role of this daemon among the nodes.
    pub(super) role: Role,
    /// Its connection to the other nodes; `None`: the records are in a file.
    pub(super) link: Option<Arc<NodeLink>>,
    /// Progress of the export to Redis.
    pub(super) exported: Arc<ExportProgress>,
    /// State of the agents' memory in Redis.
    pub(super) remembering: Arc<MemoryProgress>,
    /// State of the metrics listener.
    pub(super) listening: Arc<MetricsListenerState>,
    /// Progress of the trace export.
    pub(super) traces: Arc<TraceProgress>,
    pub(super) reload: mpsc::Sender<crate::daemon::services::Reload>,
}

/// The role of a daemon.
pub(super) enum Role {
    /// It writes the records.
    Leads,
    /// Another daemon does; this one forwards the calls that only the leader can answer.
    StandsBy(Arc<Forwarder>),
    /// No daemon runs, since this event or later.
    AtRest(Option<Timestamp>),
}

/// On whose behalf a request is made.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller {
    /// A client of another node, such as `ada at gpu-7`. An earlier answer to its request has been
    /// looked up already.
    pub(super) by: Option<String>,
    /// Identifies a change, for methods without a `request_id` of their own.
    pub(super) request_id: Option<String>,
    /// Whether it is a program of an agent.
    pub(super) of_agent: bool,
    /// The user of this machine who asks.
    pub(super) user: Option<u32>,
}

impl Caller {
    /// Describes a change on its behalf, with the id given by its own parameters.
    pub(super) fn asks(&self, request_id: Option<String>) -> ChangeAsked {
        ChangeAsked { request_id: request_id.or_else(|| self.request_id.clone()), waits: self.by.is_some() }
    }
}

pub(super) use super::encoded::Encoded;

/// What to do about a call.
pub(super) enum CallStep {
    Done(Encoded),
    /// The answer comes later; further calls are read in the meantime.
    Later(std::pin::Pin<Box<dyn Future<Output = Encoded> + Send>>),
    /// The same, with an optional remark on the answer.
    Noted(std::pin::Pin<Box<dyn Future<Output = (Encoded, Option<String>)> + Send>>),
    /// A subscription: the answer, then its events.
    Stream(Box<Subscription>),
    /// The end of a subscription.
    Unsubscribe(u64),
}

/// Which events a client wants, and from which cursor.
pub(super) struct Subscription {
    pub(super) cursor: Seq,
    pub(super) newest: Seq,
    /// Set if the requested cursor lies ahead of the log: the subscription starts after this event instead.
    pub(super) instead_after: Option<u64>,
    pub(super) filter: EventFilter,
    pub(super) follow: bool,
}

/// A request to read the configuration file.
pub(super) enum Reload {
    /// From a client that waits for the answer.
    Asked(oneshot::Sender<Answer>, ChangeAsked),
    Signal,
    /// Somebody wants to apply a configuration to the fleet.
    Apply(Box<ApplyAsked>),
}
