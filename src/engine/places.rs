//! Places beside the leader's own: which nodes there are, what each has in hand, and which one a run gets.
use crate::domain::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many nodes are named where none fits.
const NAMED: usize = 8;

/// All that can run something beside the leader.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// The labels of the node that leads, which this is.
    own: Labels,
    /// By their sessions.
    pub(super) known: BTreeMap<Arc<str>, KnownNode>,
    /// Runs that wait, since no node has what their agents want.
    pub(super) waiting: Vec<RunId>,
}

/// A node, as the engine knows it.
#[derive(Debug)]
pub(super) struct KnownNode {
    pub(super) node: LiveNode,
    /// Attempts that it has in hand.
    pub(super) runs: usize,
}

/// Where an attempt is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spot {
    /// Where the leader runs.
    Here,
    /// At a node, in this session.
    At(Arc<str>),
}

impl Nodes {
    /// Those that there are when a leader begins.
    pub(super) fn of(own: &Labels, live: Vec<LiveNode>) -> Self {
        let known = live.into_iter().map(|node| (node.session.clone(), KnownNode { node, runs: 0 }));
        Self { own: own.clone(), known: known.collect(), waiting: Vec::new() }
    }

    /// Attempts in flight at all of them.
    pub(super) fn active(&self) -> usize {
        self.known.values().map(|known| known.runs).sum()
    }

    /// Where an agent's next attempt runs; `None`: nowhere now. Of several that fit the one with the fewest runs, then the
    /// first by name.
    pub(super) fn spot_for(&self, agent: &AgentSpec) -> Option<Spot> {
        let Some(wanted) = agent.on_nodes.as_deref().filter(|wanted| !wanted.fits(&self.own)) else {
            return Some(Spot::Here);
        };
        let fit = self.known.values().filter(|known| known.node.takes && wanted.fits(&known.node.labels));
        let least = fit.min_by_key(|known| (known.runs, &known.node.name, &known.node.session));
        least.map(|known| Spot::At(known.node.session.clone()))
    }

    /// Why an agent's run waits for a node.
    pub(super) fn why_none(&self, agent: &AgentSpec) -> Option<String> {
        let wanted = agent.on_nodes.as_deref()?;
        let mut has = vec![format!("the leader has {}", labels_in_words(&self.own))];
        has.extend(self.known.values().take(NAMED).map(|known| match known.node.takes {
            true => format!("{} has {}", known.node.name, labels_in_words(&known.node.labels)),
            false => format!("{} takes nothing new", known.node.name),
        }));
        if let Some(more) = self.known.len().checked_sub(NAMED).filter(|more| *more > 0) {
            has.push(format!("{more} more have not, either"));
        }
        Some(format!("no node has {wanted}: {}", has.join(", ")))
    }

    /// A run waits no more.
    pub(super) fn forget(&mut self, id: RunId) {
        self.waiting.retain(|other| *other != id);
    }

    /// It has so many more in hand.
    pub(super) fn moved(&mut self, session: &str, by: isize) {
        if let Some(known) = self.known.get_mut(session) {
            known.runs = known.runs.saturating_add_signed(by);
        }
    }
}

/// What is said of a run whose node is lost.
pub(super) fn lost_with(node: &str) -> RunError {
    RunError::new(
        ErrorKind::Interrupted,
        format!(
            "node {node} was lost while the run was in flight there; whether its work was done is unknown"
        ),
    )
}
