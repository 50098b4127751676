//! An engine that decides nothing, made of what is recorded: for questions where no engine of this daemon's is at work.
use super::inbox::Question;
use super::trust::TrustGate;
use crate::config::{self, Context, Paths};
use crate::domain::{AgentId, Event, Fact, Fleet, Join, Schedule, Seq};
use crate::engine::{Engine, Restored as Known};
use crate::store::{Reader, Restored, Store, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Not made anew sooner than this.
const LEAST_AGE: Duration = Duration::from_secs(1);
/// Nor sooner than so many times what making it took: of a large fleet that is much work.
const TIMES_ITS_COST: u32 = 10;
/// Made anew after this, since time passes, too.
const MOST_AGE: Duration = Duration::from_secs(60);

/// What the log has of the runs that agents with a join wait for.
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

/// What the engine begins with, and the fact that it begins. The rest of what was restored stays.
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
    // of the time before a copy was put in place nobody knows whether a daemon ran
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

/// The engine as it would begin now. What it would decide is dropped.
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
    /// The newest event that it knows.
    seen: Seq,
    made: Instant,
    took: Duration,
}

impl Snapshot {
    /// Of what is recorded now.
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

    /// Answers questions as long as somebody can ask.
    pub(super) async fn answer(mut self, mut asked: mpsc::Receiver<Question>) {
        while let Some(question) = asked.recv().await {
            // what can't be read now is told as it was
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "the state of the fleet could not be read anew");
            }
            question(&self.engine, super::clock::now());
        }
    }

    async fn refresh(&mut self) -> Result<(), StoreError> {
        let age = self.made.elapsed();
        if age < LEAST_AGE.max(self.took * TIMES_ITS_COST) {
            return Ok(());
        }
        let newest = self.store.newest_now().await?;
        if newest == self.seen && age < MOST_AGE {
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

    /// The configuration as it is now; `None`: it is not valid, or nobody has trusted it.
    async fn configured(&self) -> Option<Arc<Fleet>> {
        let (paths, trust) = (self.paths.clone(), self.trust.clone());
        let read = tokio::task::spawn_blocking(move || {
            let context = Context::system(crate::clock::wall()).of_state(&paths.state_dir);
            config::load(&paths.config, &context).and_then(|loaded| trust.admit(loaded))
        });
        read.await.ok()?.ok().map(|loaded| Arc::new(loaded.fleet))
    }
}
