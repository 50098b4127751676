//! The questions of the engine about slots ahead that have no answer yet.
use crate::domain::{AgentId, LookAhead};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two tries to read the ledger.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The engine's questions that have no answer yet: one per agent, since a later one replaces an earlier one.
#[derive(Default)]
pub(super) struct Looks {
    pub(super) open: BTreeMap<AgentId, LookAhead>,
    /// Not before, since the ledger could not be read.
    pub(super) again: Option<Instant>,
}

impl Looks {
    pub(super) fn add(&mut self, looks: Vec<LookAhead>) {
        self.open.extend(looks.into_iter().map(|look| (look.spec.id.clone(), look)));
    }

    /// When the ledger is to be read once more, if it could not be read.
    pub(super) fn again(&self) -> Option<Instant> {
        self.again.filter(|_| !self.open.is_empty())
    }

    pub(super) fn due(&mut self) -> Vec<LookAhead> {
        if self.again.is_some_and(|again| again > Instant::now()) {
            return Vec::new();
        }
        std::mem::take(&mut self.open).into_values().collect()
    }

    /// They wait; a newer question of the same agent stays.
    pub(super) fn put_back(&mut self, looks: Vec<LookAhead>) {
        self.again = Some(Instant::now() + LOOK_AGAIN);
        for look in looks {
            self.open.entry(look.spec.id.clone()).or_insert(look);
        }
    }
}
