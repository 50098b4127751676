//! The status of the memory in Redis.
use crate::domain::ExportState;
use crate::redis::Hitch;
use jiff::Timestamp;
use std::sync::{Mutex, PoisonError};

/// The current status of the memory in Redis. Shared; each read returns a consistent value.
#[derive(Debug, Default)]
pub struct MemoryProgress(Mutex<Option<MemoryStanding>>);

/// The status of the memory in Redis at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryStanding {
    pub state: ExportState,
    pub problem: Option<String>,
    /// Since when it is connected, or not.
    pub since: Timestamp,
    /// Number of changes that were not sent yet.
    pub waiting: u64,
}

impl MemoryProgress {
    /// Returns the status; `None`: unknown so far, or no Redis is configured.
    pub fn now(&self) -> Option<MemoryStanding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Clears the status: no Redis is configured.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Records that all changes were sent. Returns whether that is new.
    pub(super) fn is_well(&self, now: Timestamp) -> bool {
        self.set_status(now, ExportState::Connected, None, 0)
    }

    /// Records a problem. Returns whether that is new.
    pub(super) fn is_held_up(&self, now: Timestamp, hitch: &Hitch, waiting: u64) -> bool {
        let state = if hitch.stays { ExportState::Stopped } else { ExportState::Trying };
        self.set_status(now, state, Some(hitch.what.clone()), waiting)
    }

    fn set_status(&self, now: Timestamp, state: ExportState, problem: Option<String>, waiting: u64) -> bool {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = standing.take();
        let is_new = before.as_ref().is_none_or(|before| before.state != state || before.problem != problem);
        let since = before.filter(|before| is_well(before.state) == is_well(state));
        let since = since.map_or(now, |before| before.since);
        *standing = Some(MemoryStanding { state, problem, since, waiting });
        is_new
    }
}

fn is_well(state: ExportState) -> bool {
    state == ExportState::Connected
}
