//! What is done while the server of the database is not heard of for so long that another daemon may soon lead: programs are
//! stopped without waiting for a record of it, so that what the other one starts does not run beside them.
use super::EventLoop;
use crate::domain::RunId;
use std::time::{Duration, Instant};

/// Between TERM and KILL. Shorter than elsewhere: 14 s after the last word of the database they get TERM, and within 20 s they
/// have ended.
const GRACE: Duration = Duration::from_secs(3);

impl EventLoop {
    /// Asked each second while the daemon is cut off.
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
        let kill = since.elapsed() >= GRACE;
        for run in runs {
            self.cut_off.stopped.insert(run);
            self.actor.cancel(run, kill);
        }
    }
}
