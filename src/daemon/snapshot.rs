//! An engine restored from the records that decides nothing: it answers questions where no live
//! engine is available.
use super::inbox::Question;
use super::trust::TrustGate;
use crate::config::Paths;
use crate::domain::{AgentId, Event, Fact, Fleet, Join, Schedule, Seq};
use crate::engine::{Engine, Restored as Known};
use crate::store::{Reader, Restored, Store, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Minimum age before a snapshot is refreshed.
const MIN_AGE: Duration = Duration::from_secs(1);
/// Minimum age as a multiple of the time that the last refresh took: a large fleet is expensive to restore.
const REFRESH_COST_FACTOR: u32 = 10;
/// Maximum age, since time alone changes answers, too.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Returns the recorded events for which agents with a join wait.
pub(super) async fn arrivals(store: &Store, fleet: &Fleet) -> Result<Vec<(AgentId, Event)>, StoreError> {
    let joins = fleet.agents.iter().filter_map(|agent| match &agent.schedule {
        Schedule::Join(join) => Some((agent.id.clone(), join.clone())),
        _ => None,
    });
    let joins: Vec<(AgentId, Arc<Join>)> = joins.collect();
    let read = move |reader: &Reader| {
        let mut all = Vec::new();
        for (waiting, join) in joins {
            let found = reader.arrivals(&waiting, &join)?;
            all.extend(found.into_iter().map(|event| (waiting.clone(), event)));
        }
        Ok(all)
    };
    store.read(read).await
}

/// Takes what the engine starts with out of the restored state, and returns it with the fact of its start.
pub(super) fn begin(restored: &mut Restored, arrivals: Vec<(AgentId, Event)>) -> (Known, Fact) {
    let known = Known {
        arrivals,
        agents: std::mem::take(&mut restored.agents),
        open_runs: std::mem::take(&mut restored.open_runs),
        incidents: std::mem::take(&mut restored.incidents),
        approvals: std::mem::take(&mut restored.approvals),
        holds: std::mem::take(&mut restored.holds),
        spent: std::mem::take(&mut restored.spent),
        told: std::mem::take(&mut restored.told),
        backfills: std::mem::take(&mut restored.backfills),
        nodes: std::mem::take(&mut restored.nodes),
        newest_run: restored.newest_run,
        lost: restored.lost,
    };
    // it is unknown whether a daemon ran before a copy was put in place
    let down_since = match restored.lost {
        Some(lost) => lost.until,
        None => restored.newest_event_at,
    };
    let started = Fact::DaemonStarted {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        down_since,
        clean: restored.newest_event_at.is_none() || !restored.unclean,
    };
    (known, started)
}

/// Restores the engine as it would start now. Its first decision is dropped.
pub(super) async fn engine(
    store: &Store,
    fleet: &Arc<Fleet>,
    mut restored: Restored,
) -> Result<Engine, StoreError> {
    let arrivals = arrivals(store, fleet).await?;
    let (known, started) = begin(&mut restored, arrivals);
    Ok(Engine::restore(super::clock::now(), 0, fleet.clone(), known, started).0)
}

/// The state of a fleet that another daemon decides about.
pub(super) struct Snapshot {
    store: Store,
    paths: Paths,
    trust: TrustGate,
    fleet: Arc<Fleet>,
    engine: Engine,
    /// The newest event that it includes.
    seen: Seq,
    made: Instant,
    took: Duration,
}

impl Snapshot {
    /// Creates a snapshot of the present records.
    pub(super) async fn of(
        store: Store,
        restored: Restored,
        (paths, trust): (Paths, TrustGate),
        fleet: Arc<Fleet>,
    ) -> Result<Self, StoreError> {
        let began = Instant::now();
        let seen = store.newest_now().await?;
        let engine = engine(&store, &fleet, restored).await?;
        Ok(Self { store, paths, trust, fleet, engine, seen, made: Instant::now(), took: began.elapsed() })
    }

    /// Answers questions until all senders are closed.
    pub(super) async fn answer(mut self, mut asked: mpsc::Receiver<Question>) {
        while let Some(question) = asked.recv().await {
            // if it can't be refreshed, the old state is used
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "the state of the fleet could not be read anew");
            }
            question(&self.engine, super::clock::now());
        }
    }

    async fn refresh(&mut self) -> Result<(), StoreError> {
        let age = self.made.elapsed();
        if age < MIN_AGE.max(self.took * REFRESH_COST_FACTOR) {
            return Ok(());
        }
        let newest = self.store.newest_now().await?;
        if newest == self.seen && age < MAX_AGE {
            return Ok(());
        }
        let began = Instant::now();
        if let Some(fleet) = self.configured().await {
            self.fleet = fleet;
        }
        let restored = self.store.restored().await?;
        self.engine = engine(&self.store, &self.fleet, restored).await?;
        self.seen = newest;
        (self.made, self.took) = (Instant::now(), began.elapsed());
        Ok(())
    }

    /// Returns the current configuration; `None` if it is invalid or not trusted.
    async fn configured(&self) -> Option<Arc<Fleet>> {
        let read = super::in_force::read(&self.paths, &self.trust, &self.store).await;
        read.ok().map(|loaded| Arc::new(loaded.fleet))
    }
}
