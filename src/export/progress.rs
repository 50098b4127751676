//! The state of the copy of the log, shared between the exporter and those who report it.
use crate::domain::{ExportState, Seq};
use crate::redis::Hitch;
use jiff::Timestamp;
use std::sync::{Mutex, PoisonError};

/// The state of the copy of the log, shared; each read returns a consistent snapshot.
#[derive(Debug, Default)]
pub struct ExportProgress(Mutex<Option<ExportStatus>>);

/// The state of the copy of the log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportStatus {
    /// Whether events arrive.
    pub state: ExportState,
    /// Why they don't.
    pub problem: Option<String>,
    /// Since when it has been connected, or not.
    pub since: Timestamp,
    /// The last event that is there. `None`: not connected yet.
    pub position: Option<Seq>,
    /// Time of the first event that is not there. `None`: all are.
    pub behind_since: Option<Timestamp>,
}

impl ExportProgress {
    /// Returns the state; `None`: nothing is exported.
    pub fn now(&self) -> Option<ExportStatus> {
        self.lock().clone()
    }

    /// Records that exporting has been turned off.
    pub fn clear(&self) {
        *self.lock() = None;
    }

    /// Records the start, with an unknown position.
    pub(super) fn begins(&self, now: Timestamp) {
        *self.lock() = Some(ExportStatus {
            state: ExportState::Trying,
            problem: None,
            since: now,
            position: None,
            behind_since: Some(now),
        });
    }

    /// Records a successful connection: everything up to `position` is there, and the next event happened at
    /// `behind_since`. Returns true if it was not connected before.
    pub(super) fn stands_at(&self, now: Timestamp, position: Seq, behind_since: Option<Timestamp>) -> bool {
        let mut all = self.lock();
        let Some(standing) = all.as_mut() else { return false };
        let is_new = standing.state != ExportState::Connected;
        if is_new {
            (standing.state, standing.problem, standing.since) = (ExportState::Connected, None, now);
        }
        (standing.position, standing.behind_since) = (Some(position), behind_since);
        is_new
    }

    /// Updates the position without changing the connection state.
    pub(super) fn is_at(&self, position: Seq, behind_since: Option<Timestamp>) {
        if let Some(standing) = self.lock().as_mut() {
            (standing.position, standing.behind_since) = (Some(position), behind_since);
        }
    }

    /// Records a failure. Returns true if the state or the reason has changed.
    pub(super) fn is_held_up(&self, now: Timestamp, hitch: &Hitch) -> bool {
        let mut all = self.lock();
        let Some(standing) = all.as_mut() else { return false };
        let state = if hitch.stays { ExportState::Stopped } else { ExportState::Trying };
        let is_new = standing.state != state || standing.problem.as_ref() != Some(&hitch.what);
        if standing.state == ExportState::Connected {
            standing.since = now;
        }
        (standing.state, standing.problem) = (state, Some(hitch.what.clone()));
        is_new
    }

    /// Updates the time of the first event that is not there.
    pub(super) fn is_behind_since(&self, since: Option<Timestamp>) {
        if let Some(standing) = self.lock().as_mut() {
            standing.behind_since = since;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ExportStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
