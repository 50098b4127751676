//! The time of an input.
use jiff::Timestamp;
use std::time::Duration;

/// A point in time: on the wall clock, and since this program started, which never jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TopMoment {
    /// The wall clock, for times that are displayed.
    pub(super) wall: Timestamp,
    /// Since the start of this program, for delays.
    pub(super) since_start: Duration,
}
