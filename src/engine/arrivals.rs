//! Ends of runs that an agent waits for.
use crate::domain::{AgentId, Event, JoinedRun};
use std::collections::BTreeMap;

/// The newest end of a run of each agent that another one waits for.
pub(super) type Arrivals = BTreeMap<AgentId, Arrival>;

/// An end of a run that counts.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) run: JoinedRun,
    /// The event that tells its end.
    pub(super) event: Box<Event>,
}
