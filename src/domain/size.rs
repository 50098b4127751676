//! A bound as the number of things in memory that it is.

/// As many as fit, if it is more than that.
pub fn size(most: u64) -> usize {
    usize::try_from(most).unwrap_or(usize::MAX)
}
