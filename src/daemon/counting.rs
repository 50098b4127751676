//! Counts what the loop commits, while the configuration wants it told.
use crate::domain::{Entry, Fleet, TelemetrySpec};
use crate::telemetry::{CountedFact, FleetTally};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Counters that are shared with those who read them.
pub(super) type SharedTally = Arc<Mutex<FleetTally>>;
/// What is to be told, as it is configured now.
pub(super) type Specs = watch::Receiver<Option<Arc<TelemetrySpec>>>;

/// What is to be told, and what was counted of it. Counters that were begun stay when nothing is told for a while.
pub(super) struct Counting {
    specs: watch::Sender<Option<Arc<TelemetrySpec>>>,
    tally: SharedTally,
}

impl Counting {
    /// Counts what this fleet wants counted, from zero.
    pub(super) fn of(fleet: &Fleet) -> Self {
        let counting = Self { specs: watch::channel(None).0, tally: SharedTally::default() };
        counting.configure(fleet);
        counting
    }

    /// Another configuration is in force.
    pub(super) fn configure(&self, fleet: &Fleet) {
        if wants_counters(fleet.telemetry.as_deref()) {
            self.tally.lock().expect("no holder panics").configure(fleet.names());
        }
        self.specs.send_if_modified(|spec| {
            let is_other = *spec != fleet.telemetry;
            spec.clone_from(&fleet.telemetry);
            is_other
        });
    }

    /// What is to be counted when these are committed; `None`: nothing is.
    pub(super) fn read(&self, facts: &[Entry]) -> Option<Vec<CountedFact>> {
        wants_counters(self.specs.borrow().as_deref()).then(|| FleetTally::read(facts))
    }

    /// They are committed.
    pub(super) fn count(&self, counted: Option<Vec<CountedFact>>) {
        if let Some(counted) = counted {
            self.tally.lock().expect("no holder panics").count(counted);
        }
    }

    /// What is to be told; moves with the configuration.
    pub(super) fn specs(&self) -> Specs {
        self.specs.subscribe()
    }

    /// The counters.
    pub(super) fn tally(&self) -> SharedTally {
        self.tally.clone()
    }
}

fn wants_counters(spec: Option<&TelemetrySpec>) -> bool {
    spec.is_some_and(|spec| spec.prometheus.is_some())
}
