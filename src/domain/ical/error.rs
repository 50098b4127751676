//! The error of an invalid calendar.

/// Why a text is not a usable calendar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct CalendarError {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong there, and what would be valid.
    pub what: String,
}
