//! The subject of a row.
use crate::domain::{AgentId, RunId};

/// The subject of a row. The cursor belongs to one of these, not to a position on the screen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::top) enum RowKey {
    /// The heading of a group.
    Title(RowGroup),
    /// A pending approval, by its id.
    Approval(String),
    /// An incident, by agent and key.
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
    /// Usage by agent, model or day.
    Used(UsedBy, String),
    /// An event, by its number.
    Event(u64),
}

/// Groups of rows, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::top) enum RowGroup {
    /// Items that need a person.
    Needs,
    /// Runs in progress.
    Running,
    /// Agents that are well.
    Well,
    /// Agents that are paused or stopped.
    Held,
    /// Slots of a period.
    Slots,
    /// Limits and what is left of them.
    Limits,
    /// Today's usage by agent.
    ByAgent,
    /// Today's usage by model.
    ByModel,
    /// Usage by day.
    ByDay,
}

/// How usage is grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::top) enum UsedBy {
    /// The limits of the fleet.
    Limit,
    Agent,
    Model,
    Day,
}

impl RowKey {
    /// Returns whether the row can be selected.
    pub(in crate::top) fn takes_cursor(&self) -> bool {
        !matches!(self, Self::Title(_))
    }
}
