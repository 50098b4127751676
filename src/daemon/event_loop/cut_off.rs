//! Stops programs without waiting for a record while the database server has been unreachable for
//! so long that another daemon may take the lead: programs that it starts must not run beside ours.
use super::EventLoop;
use crate::domain::RunId;
use std::time::{Duration, Instant};

/// Between TERM and KILL. Shorter than elsewhere: programs get TERM 14 s after the last answer of
/// the database, and must have ended within 20 s.
const KILL_GRACE: Duration = Duration::from_secs(3);

impl EventLoop {
    /// Stops programs if the daemon is cut off; called each second.
    pub(super) fn stop_programs(&mut self) {
        if !self.store.is_cut_off() {
            self.cut_off.since = None;
            return;
        }
        let runs: Vec<RunId> =
            self.actor.in_flight().filter(|run| self.engine.stops_when_cut_off(*run)).collect();
        if self.cut_off.since.is_none() && !runs.is_empty() {
            let runs = runs.len();
            tracing::error!(
                runs,
                "the database has not answered for 14 s, so another daemon may take the lead soon: stopping programs"
            );
        }
        let since = *self.cut_off.since.get_or_insert_with(Instant::now);
        let kill = since.elapsed() >= KILL_GRACE;
        for run in runs {
            self.cut_off.stopped.insert(run);
            self.actor.cancel(run, kill);
        }
    }
}
