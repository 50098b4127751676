//! Sizes as people write them, and the maximum duration in a configuration.
pub use crate::domain::parse_duration;
use jiff::SignedDuration;

/// The maximum duration in a configuration: a hundred years. Within it, no computed time exceeds the
/// supported range.
pub(super) const LONGEST: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);

/// Parses a size: whole bytes, or a text like `512KiB`, `1MiB`, `2GB`.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("", 1),
        ("b", 1),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
        ("kb", 1000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
    ];
    let help = || {
        format!("`{text}` is not a size: write whole bytes, or a text like \"512KiB\", \"1MiB\" or \"2GiB\"")
    };
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let number: u64 = trimmed[..digits].parse().map_err(|_| help())?;
    let unit = trimmed[digits..].trim();
    if matches!(unit, "Kb" | "Mb" | "Gb" | "Tb") {
        return Err(format!(
            "`{text}` may mean bits: a {0}B is 1000 times 1000 bytes and so on, a {0}iB 1024 times 1024",
            &unit[..1]
        ));
    }
    let unit = unit.to_ascii_lowercase();
    let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(help)?.1;
    number.checked_mul(scale).ok_or_else(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("1024", 1024), ("1MiB", 1 << 20), ("2 GiB", 2 << 30), ("5kb", 5000)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "5 apples", "99999999999TiB", "1Mb", "10 Gb"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
