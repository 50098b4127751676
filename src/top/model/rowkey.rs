//! What a line is about.
use crate::domain::{AgentId, RunId};

/// What a line is about. The cursor belongs to one of these, and not to a place on the screen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::top) enum RowKey {
    /// The heading of a group.
    Title(RowGroup),
    /// A call that waits for a person, by its id.
    Approval(String),
    /// A problem, by agent and key.
    Incident(AgentId, String),
    Agent(AgentId),
    Run(RunId),
    /// A notification target.
    Target(String),
    /// The daemon itself, or its configuration.
    Daemon,
    /// Agents that assistants have proposed.
    Proposals,
    /// All agents of a group that is too long to be listed.
    Rest(RowGroup),
    /// The slots of an agent.
    Strip(AgentId),
    /// What was used: by agent, model or day.
    Used(UsedBy, String),
    /// An event, by its number.
    Event(u64),
}

/// Groups of lines, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::top) enum RowGroup {
    /// What needs a person.
    Needs,
    /// What is under way.
    Running,
    /// What is well.
    Well,
    /// What is paused or stopped.
    Held,
    /// Slots of a time.
    Slots,
    /// Limits and what is left of them.
    Limits,
    /// What agents used today.
    ByAgent,
    /// What models used today.
    ByModel,
    /// What days used.
    ByDay,
}

/// How usage is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::top) enum UsedBy {
    /// The limits of the fleet.
    Limit,
    Agent,
    Model,
    Day,
}

impl RowKey {
    /// Can the cursor be on it?
    pub(in crate::top) fn takes_cursor(&self) -> bool {
        !matches!(self, Self::Title(_))
    }
}
