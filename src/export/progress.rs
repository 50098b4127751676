//! How a copy of the log stands, for those who are asked: shared between the one who sends and the one who tells.
use crate::domain::{ExportState, Seq};
use crate::redis::Hitch;
use jiff::Timestamp;
use std::sync::{Mutex, PoisonError};

/// How a copy of the log stands. Shared; each look is a whole one.
#[derive(Debug, Default)]
pub struct ExportProgress(Mutex<Option<ExportStanding>>);

/// How a copy of the log stood at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportStanding {
    /// Whether events arrive.
    pub state: ExportState,
    /// What is in the way.
    pub problem: Option<String>,
    /// Since when it is connected, or not.
    pub since: Timestamp,
    /// Everything up to this event is there. `None`: it was not reached yet.
    pub position: Option<Seq>,
    /// When the first event happened that is not there. `None`: all are.
    pub behind_since: Option<Timestamp>,
}

impl ExportProgress {
    /// How it stands; `None`: nothing is sent.
    pub fn now(&self) -> Option<ExportStanding> {
        self.lock().clone()
    }

    /// Nothing is sent from now on.
    pub fn clear(&self) {
        *self.lock() = None;
    }

    /// It begins, and knows nothing yet.
    pub(super) fn begins(&self, now: Timestamp) {
        *self.lock() = Some(ExportStanding {
            state: ExportState::Trying,
            problem: None,
            since: now,
            position: None,
            behind_since: Some(now),
        });
    }

    /// All up to `position` is there, and the next event that is not happened at `behind_since`. True: it was not
    /// connected before.
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

    /// All up to `position` is there; whether more gets there is to be seen.
    pub(super) fn is_at(&self, position: Seq, behind_since: Option<Timestamp>) {
        if let Some(standing) = self.lock().as_mut() {
            (standing.position, standing.behind_since) = (Some(position), behind_since);
        }
    }

    /// Nothing gets there. True: that, or why, is news.
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

    /// The first event that is not there happened then.
    pub(super) fn is_behind_since(&self, since: Option<Timestamp>) {
        if let Some(standing) = self.lock().as_mut() {
            standing.behind_since = since;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ExportStanding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
