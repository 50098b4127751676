//! Ends of the runs that a join waits for.
use crate::domain::{AgentId, Event, JoinedRun};
use std::collections::BTreeMap;

/// By joined agent: the newest end of a run.
pub(super) type Arrivals = BTreeMap<AgentId, Arrival>;

/// An end of a run that counts for a join.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) run: JoinedRun,
    /// The event that reported it.
    pub(super) event: Box<Event>,
}
