//! Runs whose programs were stopped because the daemon was cut off from its database.
use crate::domain::{AttemptEnd, AttemptOutcome, ErrorKind, RunError, RunId};
use std::collections::HashSet;
use std::time::Instant;

/// The state of a cut-off.
#[derive(Debug, Default)]
pub(super) struct CutOff {
    /// When the daemon was cut off.
    pub(super) since: Option<Instant>,
    pub(super) stopped: HashSet<RunId>,
}

impl CutOff {
    /// Corrects the outcome of an attempt that was stopped for this reason, unless its end had been
    /// requested before.
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
