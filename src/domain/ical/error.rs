//! Why a text is not a calendar.

/// Why a text is not a calendar that can be gone by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct CalendarError {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong there, and what would be right.
    pub what: String,
}
