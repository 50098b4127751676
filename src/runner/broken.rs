//! Why a conversation can not go on.
use crate::domain::{ErrorKind, RunError};
use jiff::SignedDuration;
use std::time::Duration;

/// Why a conversation can't go on in this attempt.
pub(super) enum Break {
    /// Somebody wants the run to end.
    Stopped,
    /// It failed; the provider may have asked to wait.
    Failed(RunError, Option<SignedDuration>),
}

impl Break {
    pub(super) fn failed(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Failed(RunError::new(kind, message), None)
    }
}

pub(super) fn to_std(span: SignedDuration) -> Duration {
    Duration::try_from(span).unwrap_or(Duration::ZERO)
}
