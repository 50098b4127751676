//! Counts what the loop commits, while the configuration wants it told.
use crate::domain::{Entry, Fleet};
use crate::telemetry::{CountedFact, FleetTally};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Counters that are shared with those who read them.
pub(super) type SharedTally = Arc<Mutex<FleetTally>>;
/// The configuration in force.
pub(super) type FleetNews = watch::Receiver<Arc<Fleet>>;

/// What is to be told, and what was counted of it. Counters that were begun stay when nothing is told for a while.
pub(super) struct Counting {
    fleet: watch::Sender<Arc<Fleet>>,
    tally: SharedTally,
}

impl Counting {
    /// Counts what this fleet wants counted, from zero.
    pub(super) fn of(fleet: &Arc<Fleet>) -> Self {
        let counting = Self { fleet: watch::channel(fleet.clone()).0, tally: SharedTally::default() };
        counting.configure(fleet);
        counting
    }

    /// Another configuration is in force.
    pub(super) fn configure(&self, fleet: &Arc<Fleet>) {
        if wants_counters(fleet) {
            self.tally.lock().expect("no holder panics").configure(fleet.names());
        }
        self.fleet.send_replace(fleet.clone());
    }

    /// What is to be counted when these are committed; `None`: nothing is.
    pub(super) fn read(&self, facts: &[Entry]) -> Option<Vec<CountedFact>> {
        wants_counters(&self.fleet.borrow()).then(|| FleetTally::read(facts))
    }

    /// They are committed.
    pub(super) fn count(&self, counted: Option<Vec<CountedFact>>) {
        if let Some(counted) = counted {
            self.tally.lock().expect("no holder panics").count(counted);
        }
    }

    /// The configuration in force.
    pub(super) fn fleet(&self) -> FleetNews {
        self.fleet.subscribe()
    }

    /// The counters.
    pub(super) fn tally(&self) -> SharedTally {
        self.tally.clone()
    }
}

fn wants_counters(fleet: &Fleet) -> bool {
    fleet.telemetry.as_ref().is_some_and(|spec| spec.prometheus.is_some())
}
