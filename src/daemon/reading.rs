//! Answers from the records while no daemon runs: the same answers, from the same code, with an
//! engine that decides nothing.
use super::handlers;
use super::in_force;
use super::inbox::{Condition, Handle, Message, Question};
use super::services::{Role, Services};
use super::snapshot::engine;
use crate::config::{self, Context, Paths};
use crate::domain::Fleet;
use crate::export::ExportProgress;
use crate::protocol::{Beside, Code, Request, RpcError};
use crate::store::{Ancestor, NodeLink, Store, Where};
use crate::tools::Tools;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// The records of a state folder whose daemon does not run. They are not changed.
pub struct Records {
    runtime: tokio::runtime::Runtime,
    services: Arc<Services>,
    /// Time of the newest event: no daemon has run since then, or since later.
    pub down_since: Option<Timestamp>,
    /// Whether the daemon shut down cleanly; false: it was killed, or the machine went down.
    pub clean: bool,
    /// The leader elsewhere, if the records are on a server.
    pub leader: Option<String>,
}

impl Records {
    /// Opens the records. `None`: there are none, there is no valid configuration, or this release
    /// can't read the database.
    pub fn open(paths: &Paths) -> Option<Self> {
        let now = super::clock::now();
        let context = Context::system(now.wall).of_state(&paths.state_dir);
        let own = config::load(&paths.config, &context).ok()?;
        let records = Where { file: paths.database(), server: own.fleet.store.clone() };
        let (store, restored) = Store::open_to_read(&records).ok()??;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().ok()?;
        let loaded = runtime.block_on(in_force::with_newest(own, &paths.state_dir, &store)).ok()?;
        let fleet = Arc::new(loaded.fleet);
        let (down_since, clean) = (restored.newest_event_at, !restored.unclean);
        let leader = match records.server {
            Some(_) => runtime.block_on(store.read(|reader| reader.leader())).ok()?,
            None => None,
        };
        let of = ReadOnly {
            store: store.clone(),
            records,
            database: restored.database.clone(),
            ancestors: restored.ancestors.clone(),
            role: Role::AtRest(down_since),
            link: None,
        };
        let engine = runtime.block_on(engine(&store, &fleet, restored)).ok()?;
        let (inbox, _) = mpsc::channel(1);
        let (questions, mut asked) = mpsc::channel::<Question>(64);
        runtime.spawn(async move {
            while let Some(question) = asked.recv().await {
                question(&engine, super::clock::now());
            }
        });
        let services = Arc::new(services(paths, &fleet, of, (inbox, questions)));
        Some(Self { runtime, services, down_since, clean, leader })
    }

    /// Answers a question that the records can answer.
    ///
    /// # Errors
    /// The same errors as a daemon's; or the question needs a running daemon, or is a change.
    pub fn ask(&self, method: &str, params: Value) -> Result<Box<RawValue>, RpcError> {
        let request = Request::decode(method, params)?;
        match request {
            Request::Beside(request) if is_of_records(&request) => {
                self.runtime.block_on(handlers::beside(request, self.services.clone()))
            }
            _ => Err(RpcError::new(Code::ShuttingDown, format!("`{method}` needs a daemon that runs"))),
        }
    }
}

/// Records opened for reading.
pub(super) struct ReadOnly {
    pub(super) store: Store,
    pub(super) records: Where,
    pub(super) database: String,
    pub(super) ancestors: Vec<Ancestor>,
    pub(super) role: Role,
    pub(super) link: Option<Arc<NodeLink>>,
}

/// Creates services on the records. Questions to the engine, and messages to the loop, go to the
/// holders of the receiving ends.
pub(super) fn services(
    paths: &Paths,
    fleet: &Arc<Fleet>,
    of: ReadOnly,
    (inbox, questions): (mpsc::Sender<Message>, mpsc::Sender<Question>),
) -> Services {
    let ReadOnly { store, records, database, ancestors, role, link } = of;
    let (reload, _) = mpsc::channel(1);
    Services {
        handle: Handle { inbox, questions, condition: Arc::new(Mutex::new(Condition::default())) },
        tools: Arc::new(Mutex::new(Arc::new(Tools::new(fleet)))),
        paths: paths.clone(),
        socket: paths.socket.clone(),
        database,
        records,
        ancestors,
        started_at: crate::clock::wall(),
        began_after: *store.newest().borrow(),
        clients: Arc::default(),
        role,
        link,
        reload,
        exported: Arc::new(ExportProgress::default()),
        remembering: Arc::default(),
        listening: Arc::default(),
        traces: Arc::default(),
        store,
    }
}

/// Returns whether a request can be answered without a daemon. Requests that contact servers or
/// call tools need one.
fn is_of_records(request: &Beside) -> bool {
    matches!(
        request,
        Beside::GetAgentStatus(_)
            | Beside::ListAgents(_)
            | Beside::ListRuns(_)
            | Beside::ListSlots(_)
            | Beside::GetRun(_)
            | Beside::GetRunOutput(_)
            | Beside::NextSlots(_)
            | Beside::ExplainSlot(_)
            | Beside::GetUsage(_)
            | Beside::ListIncidents(_)
            | Beside::ListApprovals(_)
            | Beside::GetMemory(_)
            | Beside::ListNodes(_)
            | Beside::ListConfigs(_)
    )
}
