//! Durations as people write them, in the configuration, in arguments of tools and on the command line.
use jiff::SignedDuration;

/// Parses a duration: whole seconds, or a text like `90s`, `5m`, `1h30m`, `24h`, `7d`, `500ms`.
///
/// # Errors
/// The message says what is wrong, and what to write.
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
    let mut is_first = true;
    let mut is_too_long = false;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if digits == 0 {
            return Err(help());
        }
        let number: i64 = rest[..digits].parse().unwrap_or(i64::MAX);
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let scale = match &rest[..letters] {
            "" if is_first && letters == rest.len() => 1000,
            unit => UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(help)?.1,
        };
        rest = rest[letters..].trim_start();
        is_first = false;
        let sum = number.checked_mul(scale).and_then(|ms| total.checked_add(ms));
        is_too_long |= sum.is_none();
        total = sum.unwrap_or(1);
    }
    // reported only if the whole text is a duration
    if is_too_long {
        return Err(too_long());
    }
    Ok(SignedDuration::from_millis(total))
}

#[cfg(test)]
mod tests {
    //! Tests of texts that are durations, and of such that are not.
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
        for text in [
            "",
            "m",
            "5x",
            "-5m",
            "1.5h",
            "5m3",
            "0s5",
            "0s 5",
            "9999999999999999999d",
            "9223372036854775807w",
        ] {
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
}
