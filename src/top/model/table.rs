//! The agents, by name.
use crate::domain::AgentId;
use crate::protocol::AgentView;

/// All agents, in the order of their names: a slice for whoever judges all of them, a look-up for one.
#[derive(Debug, Default)]
pub(in crate::top) struct AgentTable {
    all: Vec<AgentView>,
}

impl AgentTable {
    /// This agent, if it is there.
    pub(in crate::top) fn get(&self, agent: &AgentId) -> Option<&AgentView> {
        self.place(agent).ok().map(|at| &self.all[at])
    }

    /// Its place among all, if it is there.
    pub(in crate::top) fn index(&self, agent: &AgentId) -> Option<usize> {
        self.place(agent).ok()
    }

    /// Is it there?
    pub(in crate::top) fn contains_key(&self, agent: &AgentId) -> bool {
        self.place(agent).is_ok()
    }

    /// All of them.
    pub(in crate::top) fn as_slice(&self) -> &[AgentView] {
        &self.all
    }

    /// The same, one after the other.
    pub(in crate::top) fn values(&self) -> std::slice::Iter<'_, AgentView> {
        self.all.iter()
    }

    /// How many there are.
    pub(in crate::top) fn len(&self) -> usize {
        self.all.len()
    }

    /// Takes the place of the one that has its name, or comes in addition.
    pub(in crate::top) fn put(&mut self, view: AgentView) {
        match self.place(&view.agent_id) {
            Ok(at) => self.all[at] = view,
            Err(at) => self.all.insert(at, view),
        }
    }

    /// These, and no others.
    pub(in crate::top) fn replace(&mut self, mut views: Vec<AgentView>) {
        views.sort_by(|a, b| a.agent_id.cmp(&b.agent_id));
        views.dedup_by(|a, b| a.agent_id == b.agent_id);
        // the newest runs are asked for of those on the screen alone
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
