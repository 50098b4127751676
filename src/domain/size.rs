//! Conversion of limits to `usize`.

/// Converts a limit, saturating at the maximum.
pub fn size(most: u64) -> usize {
    usize::try_from(most).unwrap_or(usize::MAX)
}
