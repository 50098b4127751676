//! Durations and sizes as people write them.
use jiff::SignedDuration;

/// The longest duration of a configuration: a hundred years. With it, no time of a calendar leaves the
/// range that times have.
pub(super) const LONGEST: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);

/// Reads a duration: whole seconds, or a text like `90s`, `5m`, `1h30m`, `24h`, `7d`, `500ms`.
pub fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    const UNITS: [(&str, i64); 6] =
        [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];
    let help = || {
        format!(
            "`{text}` is not a duration: write whole seconds, or a text like \"90s\", \"5m\", \"1h30m\" or \"7d\""
        )
    };
    let too_long = || format!("`{text}` is too long: a duration is at most 100 years");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(help());
    }
    let mut total: i64 = 0;
    let mut is_too_long = false;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            return Err(help());
        }
        let number: i64 = rest[..digits].parse().unwrap_or(i64::MAX);
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let scale = match (&rest[..letters], total) {
            ("", 0) if letters == rest.len() => 1000,
            (unit, _) => UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(help)?.1,
        };
        rest = rest[letters..].trim_start();
        let sum = number.checked_mul(scale).and_then(|ms| total.checked_add(ms));
        is_too_long |= sum.is_none();
        total = sum.unwrap_or(1);
    }
    // said only of what is a duration at all
    if is_too_long {
        return Err(too_long());
    }
    Ok(SignedDuration::from_millis(total))
}

/// Reads a size: whole bytes, or a text like `512KiB`, `1MiB`, `2GB`.
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
    let unit = trimmed[digits..].trim().to_ascii_lowercase();
    let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(help)?.1;
    number.checked_mul(scale).ok_or_else(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("60", 60_000),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("250ms", 250),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(SignedDuration::from_millis(ms)), "{text}");
        }
        for text in ["", "m", "5x", "-5m", "1.5h", "5m3", "9999999999999999999d", "9223372036854775807w"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in [
            "99999999999999999999d",
            "9223372036854775807w",
            "1d 99999999999999999999w",
            "99999999999999999999",
        ] {
            assert!(parse_duration(text).is_err_and(|error| error.contains("at most 100 years")), "{text}");
        }
        assert!(parse_duration("99999999999999999999x").is_err_and(|error| error.contains("not a duration")));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("1024", 1024), ("1MiB", 1 << 20), ("2 GiB", 2 << 30), ("5kb", 5000)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "5 apples", "99999999999TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
