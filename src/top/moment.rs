//! The time of an input.
use jiff::Timestamp;
use std::time::Duration;

/// When something happened: what the wall clock said, and how long this program had been running, which never jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TopMoment {
    /// The wall clock: times that are shown refer to it.
    pub(super) wall: Timestamp,
    /// Since the start of this program: waits refer to it.
    pub(super) since_start: Duration,
}
