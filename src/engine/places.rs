//! Worker nodes beside the leader: which exist, how many attempts each runs, and which one a run gets.
use crate::domain::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum number of nodes listed when none fits.
const MAX_NAMED_NODES: usize = 8;

/// The worker nodes beside the leader.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Labels of the leader, which is this node.
    own: Labels,
    /// By session.
    pub(super) known: BTreeMap<Arc<str>, KnownNode>,
    /// Runs that wait until a node has the required labels.
    pub(super) waiting: Vec<RunId>,
}

/// A worker node with its load.
#[derive(Debug)]
pub(super) struct KnownNode {
    pub(super) node: LiveNode,
    /// Number of attempts in flight on it.
    pub(super) runs: usize,
}

impl KnownNode {
    /// Does it have all the runs that it takes at a time?
    fn is_full(&self) -> bool {
        self.runs >= self.node.places
    }
}

/// Where an attempt is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Placement {
    /// On the leader.
    Here,
    /// On a worker node, in this session.
    At(Arc<str>),
}

impl Nodes {
    /// Returns the nodes that are live when a leader starts.
    pub(super) fn of(own: &Labels, live: Vec<LiveNode>) -> Self {
        let known = live.into_iter().map(|node| (node.session.clone(), KnownNode { node, runs: 0 }));
        Self { own: own.clone(), known: known.collect(), waiting: Vec::new() }
    }

    /// Returns the number of attempts in flight on all of them.
    pub(super) fn active(&self) -> usize {
        self.known.values().map(|known| known.runs).sum()
    }

    /// What an agent wants that the leader has not.
    fn wanted_elsewhere<'a>(&self, agent: &'a AgentSpec) -> Option<&'a NodeWanted> {
        agent.on_nodes.as_deref().filter(|wanted| !wanted.fits(&self.own))
    }

    /// Does an agent run at other nodes, and so take no place of the leader's?
    pub(super) fn is_elsewhere(&self, agent: &AgentSpec) -> bool {
        self.wanted_elsewhere(agent).is_some()
    }

    /// Where an agent's next attempt runs; `None`: nowhere now. Of several that fit and have a place the one with the fewest
    /// runs, then the first by name.
    pub(super) fn spot_for(&self, agent: &AgentSpec) -> Option<Placement> {
        let Some(wanted) = self.wanted_elsewhere(agent) else { return Some(Placement::Here) };
        let fits = |known: &&KnownNode| known.node.takes && wanted.fits(&known.node.labels);
        let fit = self.known.values().filter(fits).filter(|known| !known.is_full());
        let least = fit.min_by_key(|known| (known.runs, &known.node.name, &known.node.session));
        least.map(|known| Placement::At(known.node.session.clone()))
    }

    /// Returns why an agent's run waits for a node.
    pub(super) fn why_none(&self, agent: &AgentSpec) -> Option<String> {
        let wanted = agent.on_nodes.as_deref()?;
        let fit = self.known.values().filter(|known| known.node.takes && wanted.fits(&known.node.labels));
        let full: Vec<String> = fit
            .take(MAX_NAMED_NODES)
            .map(|known| format!("{} has {} of {}", known.node.name, known.runs, known.node.places))
            .collect();
        if !full.is_empty() {
            return Some(format!("no node with {wanted} takes another run: {}", full.join(", ")));
        }
        let mut has = vec![format!("the leader has {}", labels_in_words(&self.own))];
        has.extend(self.known.values().take(MAX_NAMED_NODES).map(|known| match known.node.takes {
            true => format!("{} has {}", known.node.name, labels_in_words(&known.node.labels)),
            false => format!("{} takes nothing new", known.node.name),
        }));
        if let Some(more) = self.known.len().checked_sub(MAX_NAMED_NODES).filter(|more| *more > 0) {
            has.push(format!("{more} more have not, either"));
        }
        Some(format!("no node has {wanted}: {}", has.join(", ")))
    }

    /// Removes a run from the waiting ones.
    pub(super) fn forget(&mut self, id: RunId) {
        self.waiting.retain(|other| *other != id);
    }

    /// Runs that wait and could have the place that a node has now, if it had none before.
    pub(super) fn waiting_for(
        &mut self,
        session: &str,
        runs: impl Fn(RunId) -> Option<Arc<AgentSpec>>,
    ) -> Vec<RunId> {
        let Some(known) = self.known.get(session).filter(|known| known.runs + 1 == known.node.places) else {
            return Vec::new();
        };
        let fits = |id: &RunId| {
            let spec = runs(*id);
            spec.is_some_and(|spec| {
                spec.on_nodes.as_ref().is_some_and(|wanted| wanted.fits(&known.node.labels))
            })
        };
        let (fit, others) = std::mem::take(&mut self.waiting).into_iter().partition(fits);
        self.waiting = others;
        fit
    }

    /// It has so many more in hand.
    pub(super) fn moved(&mut self, session: &str, by: isize) {
        if let Some(known) = self.known.get_mut(session) {
            known.runs = known.runs.saturating_add_signed(by);
        }
    }
}

/// Returns the error of a run whose node was lost.
pub(super) fn node_lost_error(node: &str) -> RunError {
    RunError::new(
        ErrorKind::Interrupted,
        format!(
            "node {node} was lost while the run was in flight there; whether its work was done is unknown"
        ),
    )
}
