//! The environment of a worker: its connection, the records, and the configuration in force on this node.
use crate::config::{self, Context, Paths};
use crate::daemon::trust::TrustGate;
use crate::domain::{AgentSpec, ConfigHash, Fleet, RunId};
use crate::llm::Models;
use crate::secret;
use crate::store::{NodeLink, Store};
use crate::tools::Tools;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

/// The environment of a worker.
pub(in crate::daemon) struct WorkerContext {
    pub(in crate::daemon) link: Arc<NodeLink>,
    /// The records, opened for reading.
    pub(in crate::daemon) store: Store,
    pub(in crate::daemon) paths: Paths,
    pub(in crate::daemon) trust: TrustGate,
    /// The id under which helpers of this daemon are marked.
    pub(in crate::daemon) me: RunId,
    /// The configuration in force on this node.
    pub(in crate::daemon) configured: Mutex<Configured>,
}

/// A configuration, with what is built from it.
#[derive(Clone)]
pub(in crate::daemon) struct Configured {
    pub(in crate::daemon) fleet: Arc<Fleet>,
    pub(super) tools: Arc<Tools>,
    pub(super) models: Arc<Models>,
    /// Modification time of its file.
    changed: Option<SystemTime>,
}

impl Configured {
    pub(in crate::daemon) fn of(fleet: Arc<Fleet>) -> Self {
        Self {
            changed: changed(&fleet.path),
            tools: Arc::new(Tools::new(&fleet)),
            models: Arc::new(Models::new(&fleet, None)),
            fleet,
        }
    }
}

impl WorkerContext {
    /// Returns the configuration in force.
    pub(super) fn configured(&self) -> Configured {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again, since it may have changed.
    ///
    /// # Errors
    /// A sentence: why it is not applied.
    pub(super) async fn read_again(&self) -> Result<Configured, String> {
        let (paths, trust) = (self.paths.clone(), self.trust.clone());
        let read = tokio::task::spawn_blocking(move || {
            let context = Context::system(crate::clock::wall()).of_state(&paths.state_dir);
            config::load(&paths.config, &context).and_then(|loaded| trust.admit(loaded))
        });
        let loaded = match read.await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(rejected)) => {
                let first = rejected.diagnostics.first().map(|one| one.message.clone());
                return Err(format!("its file was rejected: {}", first.unwrap_or_default()));
            }
            Err(error) => return Err(error.to_string()),
        };
        secret::learn(&loaded.fleet.secrets).await;
        let known = self.configured();
        let configured = match loaded.fleet.hash == known.fleet.hash {
            true => Configured { changed: changed(&known.fleet.path), ..known },
            false => Configured::of(Arc::new(loaded.fleet)),
        };
        *self.configured.lock().unwrap_or_else(PoisonError::into_inner) = configured.clone();
        Ok(configured)
    }

    /// Returns the name of this node.
    pub(super) fn name(&self) -> String {
        self.link.name().to_string()
    }
}

/// How a worker is ordered to end.
#[derive(Debug, Clone, Default)]
pub(super) struct WorkEnds {
    /// It accepts no new attempts; those in flight may finish within the configured grace period.
    pub(super) drain: CancellationToken,
    /// Nothing is waited for any more.
    pub(super) now: CancellationToken,
}

/// Returns the agent if this node has the same configuration of it as the leader.
pub(super) async fn agent_as_there(
    context: &WorkerContext,
    id: &str,
    config: ConfigHash,
) -> Result<(Arc<AgentSpec>, Configured), String> {
    let find = |of: &Configured| {
        let agent = of.fleet.agents.iter().find(|agent| agent.id.as_str() == id);
        agent.filter(|agent| agent.is_identified_by(config)).cloned()
    };
    let known = context.configured();
    let agent = find(&known);
    if let Some(agent) = agent.clone().filter(|_| known.changed == changed(&known.fleet.path)) {
        return Ok((agent, known));
    }
    let name = context.name();
    let again = match (context.read_again().await, agent) {
        (Ok(again), _) => again,
        // what was read before stays in force, as it does for the leader
        (Err(why), Some(agent)) => {
            tracing::warn!("{}: {why}", known.fleet.path.display());
            return Ok((agent, known));
        }
        (Err(why), None) => return Err(format!("node {name} can't run `{id}`: {why}")),
    };
    if let Some(agent) = find(&again) {
        return Ok((agent, again));
    }
    Err(match again.fleet.agents.iter().find(|agent| agent.id.as_str() == id) {
        None => format!("the configuration of node {name} has no agent `{id}`"),
        Some(agent) => format!(
            "node {name} has another configuration of the agent `{id}` than the leader ({} there, {config} here): it is to be \
             the same, and the file is to lie in a folder of the same path, or `cwd` to be set",
            agent.config_hash
        ),
    })
}

fn changed(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|about| about.modified()).ok()
}
