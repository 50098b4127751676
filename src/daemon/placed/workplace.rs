//! What a node works with: its connection, the records, and the configuration that is in force there.
use crate::config::Paths;
use crate::daemon::trust::TrustGate;
use crate::daemon::{in_force, nodes};
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
        let loaded =
            in_force::read(&self.paths, &self.trust, &self.store).await.map_err(|unread| unread.why())?;
        secret::learn(&loaded.fleet.secrets).await;
        let known = self.configured();
        let is_same = loaded.fleet.hash == known.fleet.hash
            && loaded.fleet.newest_revision() == known.fleet.newest_revision();
        nodes::told(&self.link, &loaded.fleet);
        let configured = match is_same {
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
    (config, revision): (ConfigHash, u64),
) -> Result<(Arc<AgentSpec>, Configured), String> {
    let find = |of: &Configured| {
        let agent = of.fleet.agents.iter().find(|agent| agent.id.as_str() == id);
        agent.filter(|agent| agent.is_identified_by(config)).cloned()
    };
    let known = context.configured();
    let agent = find(&known);
    let is_newest = known.fleet.newest_revision() >= revision;
    if let Some(agent) = agent.clone().filter(|_| is_newest && known.changed == changed(&known.fleet.path)) {
        return Ok((agent, known));
    }
    let name = context.name();
    let again = match (context.read_again().await, agent) {
        (Ok(again), _) => again,
        // what was read before stays in force, as it does for the leader
        (Err(why), Some(agent)) => {
            tracing::warn!("what was read before is in force: {why}");
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
             the same, also in paths that begin at the home or at the folder of the file",
            agent.config_hash
        ),
    })
}

fn changed(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|about| about.modified()).ok()
}
