//! What the records say while no daemon runs: the same answers, from the same code, of an engine that decides nothing.
use super::handlers;
use super::inbox::{Condition, Handle};
use super::services::Services;
use super::start::{arrivals, begin};
use crate::config::{self, Context, Paths};
use crate::domain::Fleet;
use crate::engine::Engine;
use crate::export::ExportProgress;
use crate::protocol::{Beside, Code, Request, RpcError};
use crate::store::{Store, Where};
use crate::tools::Tools;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// The records of a state folder whose daemon does not run. Nothing of them is changed.
pub struct Records {
    runtime: tokio::runtime::Runtime,
    services: Arc<Services>,
    /// The newest event: since then, or later, no daemon runs.
    pub down_since: Option<Timestamp>,
    /// The daemon ended in order; false: it was killed, or the machine went down.
    pub clean: bool,
    /// The records are on a server, and a daemon elsewhere leads.
    pub leader: Option<String>,
}

impl Records {
    /// Opens them. `None`: there are none, or what they are of can't be read: no valid configuration, no database that
    /// this release can read.
    pub fn open(paths: &Paths) -> Option<Self> {
        let now = super::clock::now();
        let context = Context::system(now.wall).of_state(&paths.state_dir);
        let fleet = Arc::new(config::load(&paths.config, &context).ok()?.fleet);
        let records = Where { file: paths.database(), server: fleet.store.clone() };
        let (store, restored) = Store::open_to_read(&records).ok()??;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().ok()?;
        let (down_since, clean) = (restored.newest_event_at, !restored.unclean);
        let leader = match records.server {
            Some(_) => runtime.block_on(store.read(|reader| reader.leader())).ok()?,
            None => None,
        };
        let (database, ancestors) = (restored.database.clone(), restored.ancestors.clone());
        let engine = runtime.block_on(engine(&store, &fleet, restored))?;
        let (inbox, _) = mpsc::channel(1);
        let (questions, mut asked) = mpsc::channel::<super::inbox::Question>(64);
        runtime.spawn(async move {
            while let Some(question) = asked.recv().await {
                question(&engine, super::clock::now());
            }
        });
        let condition = Arc::new(Mutex::new(Condition::default()));
        let (reload, _) = mpsc::channel(1);
        let services = Services {
            handle: Handle { inbox, questions, condition },
            tools: Arc::new(Mutex::new(Arc::new(Tools::new(&fleet)))),
            results: Arc::default(),
            paths: paths.clone(),
            socket: paths.socket.clone(),
            database,
            records,
            ancestors,
            started_at: now.wall,
            began_after: *store.newest().borrow(),
            clients: AtomicU64::new(0),
            reload,
            exported: Arc::new(ExportProgress::default()),
            listening: Arc::default(),
            traces: Arc::default(),
            store,
        };
        Some(Self { runtime, services: Arc::new(services), down_since, clean, leader })
    }

    /// The answer to a question that records can answer.
    ///
    /// # Errors
    /// What a daemon would say, too; or the question is about a daemon that runs, or wants something changed.
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

/// Can it be answered without a daemon? What asks servers, or calls a tool, is for the daemon alone.
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
    )
}

/// The engine as it would begin now. What it would decide is dropped.
async fn engine(store: &Store, fleet: &Arc<Fleet>, mut restored: crate::store::Restored) -> Option<Engine> {
    let arrivals = arrivals(store, fleet).await.ok()?;
    let (known, started) = begin(&mut restored, arrivals);
    Some(Engine::restore(super::clock::now(), 0, fleet.clone(), known, started).0)
}
