//! The agents, by name.
use crate::domain::AgentId;
use crate::protocol::AgentView;

/// All agents, sorted by name: a slice for iteration, and a look-up by name.
#[derive(Debug, Default)]
pub(in crate::top) struct AgentTable {
    all: Vec<AgentView>,
}

impl AgentTable {
    /// Returns this agent, if known.
    pub(in crate::top) fn get(&self, agent: &AgentId) -> Option<&AgentView> {
        self.place(agent).ok().map(|at| &self.all[at])
    }

    /// Returns the index of this agent, if known.
    pub(in crate::top) fn index(&self, agent: &AgentId) -> Option<usize> {
        self.place(agent).ok()
    }

    /// Returns whether this agent is known.
    pub(in crate::top) fn contains_key(&self, agent: &AgentId) -> bool {
        self.place(agent).is_ok()
    }

    /// Returns all agents as a slice.
    pub(in crate::top) fn as_slice(&self) -> &[AgentView] {
        &self.all
    }

    /// Iterates over all agents.
    pub(in crate::top) fn values(&self) -> std::slice::Iter<'_, AgentView> {
        self.all.iter()
    }

    /// Returns the number of agents.
    pub(in crate::top) fn len(&self) -> usize {
        self.all.len()
    }

    /// Replaces the agent of this name, or inserts it.
    pub(in crate::top) fn put(&mut self, view: AgentView) {
        match self.place(&view.agent_id) {
            Ok(at) => self.all[at] = view,
            Err(at) => self.all.insert(at, view),
        }
    }

    /// Replaces all agents.
    pub(in crate::top) fn replace(&mut self, mut views: Vec<AgentView>) {
        views.sort_by(|a, b| a.agent_id.cmp(&b.agent_id));
        views.dedup_by(|a, b| a.agent_id == b.agent_id);
        // the newest runs are requested only for agents on the screen, so keep those already known
        for view in views.iter_mut().filter(|view| view.recent.is_empty()) {
            if let Ok(at) = self.place(&view.agent_id) {
                view.recent = std::mem::take(&mut self.all[at].recent);
            }
        }
        self.all = views;
    }

    fn place(&self, agent: &AgentId) -> Result<usize, usize> {
        self.all.binary_search_by(|view| view.agent_id.cmp(agent))
    }
}
