//! Why a conversation can't continue.
use crate::domain::{ErrorKind, RunError};
use jiff::SignedDuration;

/// Why a conversation can't continue in this attempt.
pub(super) enum Break {
    /// The run is to be stopped.
    Stopped,
    /// It failed; with the provider's retry delay, if it gave one.
    Failed(RunError, Option<SignedDuration>),
}

impl Break {
    pub(super) fn failed(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Failed(RunError::new(kind, message), None)
    }
}
