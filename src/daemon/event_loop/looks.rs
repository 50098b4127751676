//! Pending ledger lookups of the engine.
use crate::domain::{AgentId, LookAhead};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Delay before the ledger is read again after a failure.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Pending lookups: one per agent, since a later one replaces an earlier one.
#[derive(Default)]
pub(super) struct Looks {
    pub(super) open: BTreeMap<AgentId, LookAhead>,
    /// The earliest time of the next read, after a failed one.
    pub(super) again: Option<Instant>,
}

impl Looks {
    pub(super) fn add(&mut self, looks: Vec<LookAhead>) {
        self.open.extend(looks.into_iter().map(|look| (look.spec.id.clone(), look)));
    }

    /// Returns when the ledger is to be read again, if reading it failed.
    pub(super) fn again(&self) -> Option<Instant> {
        self.again.filter(|_| !self.open.is_empty())
    }

    pub(super) fn due(&mut self) -> Vec<LookAhead> {
        if self.again.is_some_and(|again| again > Instant::now()) {
            return Vec::new();
        }
        std::mem::take(&mut self.open).into_values().collect()
    }

    /// Puts lookups back after a failure, unless the same agent has a newer one.
    pub(super) fn put_back(&mut self, looks: Vec<LookAhead>) {
        self.again = Some(Instant::now() + LOOK_AGAIN);
        for look in looks {
            self.open.entry(look.spec.id.clone()).or_insert(look);
        }
    }
}
