//! Counts committed facts while metrics are configured.
use crate::domain::{Entry, Fleet};
use crate::telemetry::{CountedFact, FleetTally};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Counters shared with their readers.
pub(super) type SharedTally = Arc<Mutex<FleetTally>>;
/// A receiver of the configuration in force.
pub(super) type FleetReceiver = watch::Receiver<Arc<Fleet>>;

/// The configuration in force and the counters. Counters are kept while metrics are turned off.
pub(super) struct Counting {
    fleet: watch::Sender<Arc<Fleet>>,
    tally: SharedTally,
}

impl Counting {
    /// Starts counting at zero for a fleet.
    pub(super) fn of(fleet: &Arc<Fleet>) -> Self {
        let counting = Self { fleet: watch::channel(fleet.clone()).0, tally: SharedTally::default() };
        counting.configure(fleet);
        counting
    }

    /// Applies another configuration.
    pub(super) fn configure(&self, fleet: &Arc<Fleet>) {
        if wants_counters(fleet) {
            self.tally.lock().expect("no holder panics").configure(fleet.names());
        }
        self.fleet.send_replace(fleet.clone());
    }

    /// Extracts what to count once these facts are committed; `None` if metrics are off.
    pub(super) fn read(&self, facts: &[Entry]) -> Option<Vec<CountedFact>> {
        wants_counters(&self.fleet.borrow()).then(|| FleetTally::read(facts))
    }

    /// Counts facts that have been committed.
    pub(super) fn count(&self, counted: Option<Vec<CountedFact>>) {
        if let Some(counted) = counted {
            self.tally.lock().expect("no holder panics").count(counted);
        }
    }

    /// Returns a receiver of the configuration in force.
    pub(super) fn fleet(&self) -> FleetReceiver {
        self.fleet.subscribe()
    }

    /// Returns the counters.
    pub(super) fn tally(&self) -> SharedTally {
        self.tally.clone()
    }
}

fn wants_counters(fleet: &Fleet) -> bool {
    fleet.telemetry.as_ref().is_some_and(|spec| spec.prometheus.is_some())
}
