//! Runs whose programs were stopped because the daemon was cut off from its database.
use crate::domain::{AttemptEnd, AttemptOutcome, ErrorKind, RunError, RunId};
use std::collections::HashSet;
use std::time::Instant;

/// Runs whose programs were stopped.
#[derive(Debug, Default)]
pub(super) struct CutOff {
    /// Since when the daemon has been cut off.
    pub(super) since: Option<Instant>,
    pub(super) stopped: HashSet<RunId>,
}

impl CutOff {
    /// What became of an attempt: one that was stopped for this, and that nobody had asked to end, says so.
    pub(super) fn explain(&mut self, run: RunId, asked: bool, outcome: &mut AttemptOutcome) {
        let was_stopped = self.stopped.remove(&run);
        let by_us = match &outcome.end {
            AttemptEnd::Cancelled => true,
            AttemptEnd::Failed(error) => error.kind == ErrorKind::Interrupted,
            _ => false,
        };
        if was_stopped && by_us && !asked {
            let why =
                "stopped: the database could not be reached for so long that another daemon might have led";
            outcome.end = AttemptEnd::Failed(RunError::new(ErrorKind::Interrupted, why));
        }
    }
}
