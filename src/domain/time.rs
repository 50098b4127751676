//! The only way in which time enters the pure floors, and its exact form on disk.
use jiff::{SignedDuration, Timestamp};

/// One reading of three clocks, taken together by the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, in whole microseconds. Schedules follow it. It may jump.
    pub wall: Timestamp,
    /// `CLOCK_BOOTTIME`: never jumps, includes suspend.
    pub boot: SignedDuration,
    /// `CLOCK_MONOTONIC`: never jumps, stops during suspend.
    pub mono: SignedDuration,
}

/// The difference between two readings of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Time in suspend.
    pub asleep: SignedDuration,
    /// How far the wall clock was set; positive if forward.
    pub jumped: SignedDuration,
}

impl Gap {
    /// Returns the gap from `earlier` to `later`.
    pub fn between(earlier: Now, later: Now) -> Self {
        let boot = later.boot - earlier.boot;
        Self {
            asleep: boot - (later.mono - earlier.mono),
            jumped: later.wall.duration_since(earlier.wall) - boot,
        }
    }
}

/// Converts an instant to the form in the store: microseconds since the Unix epoch.
pub fn to_micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// Inverts [`to_micros`]. Values outside the range of a timestamp are clamped, so that a damaged row can't panic a
/// reader.
pub fn timestamp_of_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Returns a duration in whole microseconds, saturating.
pub fn micros(span: SignedDuration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Formats a duration for people, in its two largest units: `"1h30m"`, `"90s"` as `"1m30s"`, `"250ms"`.
pub fn human_duration(span: SignedDuration) -> String {
    let sign = if span.is_negative() { "-" } else { "" };
    let total = span.unsigned_abs();
    let secs = total.as_secs();
    if secs == 0 {
        let ms = total.as_millis();
        return if ms == 0 { "0s".into() } else { format!("{sign}{ms}ms") };
    }
    if secs < 10 && total.subsec_millis() >= 100 {
        return format!("{sign}{secs}.{}s", total.subsec_millis() / 100);
    }
    let parts = [(secs / 86_400, "d"), (secs / 3600 % 24, "h"), (secs / 60 % 60, "m"), (secs % 60, "s")];
    let first = parts.iter().position(|part| part.0 > 0).unwrap_or(3);
    let mut text = sign.to_owned();
    for (value, unit) in parts.iter().skip(first).take(2).filter(|part| part.0 > 0) {
        text.push_str(&format!("{value}{unit}"));
    }
    text
}
