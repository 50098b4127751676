//! Conversion of limits to `usize`.

/// Converts a limit, saturating at the maximum.
pub fn size(most: u64) -> usize {
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// `17.3 MiB`.
pub fn human_bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}
