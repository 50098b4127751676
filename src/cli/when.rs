//! Times and durations as people type them.
use super::exit::Failure;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// Which of the two instants a bare `HH:MM` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The next time that the clock shows it.
    Ahead,
    /// The last time that the clock showed it.
    Behind,
}

const TIME_FORMS: &str =
    "write RFC 3339 (2026-12-24T18:00:00+01:00), local time (2026-12-24T18:00), HH:MM, or a span (10m)";

/// Parses a point in time: RFC 3339, a local date and time, a local date, `HH:MM`, Unix seconds (9 digits or more), or
/// a word.
pub(super) fn instant(text: &str, side: Side, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Failure> {
    let text = text.trim();
    // must come first: parsed as a timestamp, its zone would be ignored
    if text.contains('[') {
        let at = text.parse::<Zoned>();
        return at
            .map(|at| at.timestamp())
            .map_err(|error| Failure::usage_hint(format!("`{text}` is not a time"), error.to_string()));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if text == "now" {
        return Ok(now);
    }
    if text.len() >= 9
        && text.bytes().all(|c| c.is_ascii_digit())
        && let Some(at) = text.parse().ok().and_then(|secs| Timestamp::from_second(secs).ok())
    {
        return Ok(at);
    }
    let wrong = || Failure::usage_hint(format!("`{text}` is not a time"), TIME_FORMS);
    let beyond =
        || Failure::usage(format!("`{text}` lies beyond the calendar, which ends with the year 9999"));
    let local = |at: DateTime| at.to_zoned(zone.clone()).map(|at| at.timestamp()).map_err(|_| beyond());
    let today = now.to_zoned(zone.clone()).date();
    match text {
        "today" => return local(today.to_datetime(Time::midnight())),
        "yesterday" => {
            return local(today.yesterday().map_err(|_| wrong())?.to_datetime(Time::midnight()));
        }
        "tomorrow" => {
            return local(today.tomorrow().map_err(|_| wrong())?.to_datetime(Time::midnight()));
        }
        _ => {}
    }
    if let Some(time) = clock(text) {
        let days = match side {
            Side::Ahead => [Ok(today), today.tomorrow()],
            Side::Behind => [Ok(today), today.yesterday()],
        };
        for day in days {
            let at = local(day.map_err(|_| wrong())?.to_datetime(time))?;
            if (side == Side::Ahead) == (at > now) {
                return Ok(at);
            }
        }
        return Err(wrong());
    }
    text.parse::<DateTime>().map_err(|_| wrong()).and_then(local)
}

/// Parses a point in the past: as [`instant`], or how long ago (`10m`, `10m ago`, or as in tables: `3 min ago`).
pub(super) fn past(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Failure> {
    instant(text, Side::Behind, now, zone).or_else(|failure| match span(text) {
        Some(ago) => now.checked_sub(ago).map_err(|_| Failure::usage(format!("`{text}` is too long ago"))),
        None => Err(failure),
    })
}

/// Parses a point in the future: as [`instant`], or in how long (`10m`, `in 3 min`).
pub(super) fn coming(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Failure> {
    instant(text, Side::Ahead, now, zone).or_else(|failure| match span(text) {
        Some(span) => now.checked_add(span).map_err(|_| Failure::usage(format!("`{text}` is too long"))),
        None => Err(failure),
    })
}

/// Parses a duration in the form of the configuration, or as displayed: with spaces, `min`, `in` and `ago`.
fn span(text: &str) -> Option<SignedDuration> {
    let text = text.trim();
    let text = text.strip_prefix("in ").unwrap_or(text).trim_end_matches("ago");
    let tight: String = text.split_whitespace().collect();
    crate::config::parse_duration(&tight.replace("min", "m")).ok()
}

/// Returns the end of the period that a time denotes: a whole day, a whole minute if it has no seconds, a whole second
/// if those have no fraction.
pub(super) fn end_of(text: &str, at: Timestamp, zone: &TimeZone) -> Timestamp {
    let text = text.trim();
    // a date denotes the whole day
    let is_day = text.parse::<jiff::civil::Date>().is_ok_and(|day| day.to_string() == text);
    if is_day || ["today", "yesterday"].contains(&text) {
        let next = at.to_zoned(zone.clone()).date().tomorrow().and_then(|next| next.to_zoned(zone.clone()));
        return next.map_or(at, |next| next.timestamp() - SignedDuration::from_micros(1));
    }
    let time = text.rsplit(['T', 't', ' ']).next().unwrap_or_default();
    let time = &time[..time.find(['+', '-', 'Z', 'z', '[']).unwrap_or(time.len())];
    let span = match time.matches(':').count() {
        1 => SignedDuration::from_secs(60),
        2 if !time.contains('.') => SignedDuration::from_secs(1),
        _ => return at,
    };
    at.checked_add(span - SignedDuration::from_micros(1)).unwrap_or(at)
}

/// Parses a duration that is not negative.
pub(super) fn duration(text: &str) -> Result<SignedDuration, Failure> {
    match crate::config::parse_duration(text) {
        Ok(span) if !span.is_negative() => Ok(span),
        Ok(_) => Err(Failure::usage(format!("`{text}` is negative"))),
        Err(error) if error.contains("too long") => Err(Failure::usage(error)),
        Err(_) => {
            Err(Failure::usage_hint(format!("`{text}` is not a duration"), "write 90s, 5m, 1h30m, 24h or 7d"))
        }
    }
}

/// Parses `HH:MM` or `HH:MM:SS`.
fn clock(text: &str) -> Option<Time> {
    let numbers: Vec<i8> = text
        .split(':')
        .map(|part| (1..=2).contains(&part.len()).then(|| part.parse().ok()).flatten())
        .collect::<Option<_>>()?;
    match numbers[..] {
        [hour, minute] => Time::new(hour, minute, 0, 0).ok(),
        [hour, minute, second] => Time::new(hour, minute, second, 0).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_type_them() {
        // 10:30 in Berlin
        let now: Timestamp = "2026-11-24T09:30:00Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let table = [
            ("2026-12-24T18:00:00Z", Side::Ahead, Some("2026-12-24T18:00:00Z")),
            ("2026-12-24T18:00:00+01:00", Side::Ahead, Some("2026-12-24T17:00:00Z")),
            ("2026-12-24T18:00", Side::Ahead, Some("2026-12-24T17:00:00Z")),
            ("2026-12-24 18:00:30", Side::Ahead, Some("2026-12-24T17:00:30Z")),
            ("2026-07-01T18:00", Side::Ahead, Some("2026-07-01T16:00:00Z")),
            ("2026-12-24", Side::Ahead, Some("2026-12-23T23:00:00Z")),
            ("18:00", Side::Ahead, Some("2026-11-24T17:00:00Z")),
            ("10:30", Side::Ahead, Some("2026-11-25T09:30:00Z")),
            ("8:00", Side::Ahead, Some("2026-11-25T07:00:00Z")),
            ("08:00", Side::Behind, Some("2026-11-24T07:00:00Z")),
            ("18:00:05", Side::Behind, Some("2026-11-23T17:00:05Z")),
            ("now", Side::Ahead, Some("2026-11-24T09:30:00Z")),
            ("yesterday", Side::Behind, Some("2026-11-22T23:00:00Z")),
            ("1795512600", Side::Behind, Some("2026-11-24T09:30:00Z")),
            ("20261124", Side::Behind, Some("2026-11-23T23:00:00Z")),
            ("2026-12-24T18:00[Asia/Tokyo]", Side::Ahead, Some("2026-12-24T09:00:00Z")),
            ("2026-12-24T18:00+09:00[Asia/Tokyo]", Side::Ahead, Some("2026-12-24T09:00:00Z")),
            ("2026-12-24T18:00+01:00[Asia/Tokyo]", Side::Ahead, None),
            ("2026-12-24T18:00[Mars/Olympus]", Side::Ahead, None),
            ("9999-12-31T23:59:59", Side::Ahead, None),
            ("24:00", Side::Ahead, None),
            ("-1:00", Side::Ahead, None),
            ("tomorrow", Side::Ahead, Some("2026-11-24T23:00:00Z")),
            ("someday", Side::Ahead, None),
            ("", Side::Ahead, None),
        ];
        for (text, side, expected) in table {
            let got = instant(text, side, now, &zone).ok();
            assert_eq!(got, expected.map(|at| at.parse().unwrap()), "{text:?} {side:?}");
        }
    }

    #[test]
    fn spans_lead_into_the_past_or_the_future() {
        let now: Timestamp = "2026-11-24T09:30:00Z".parse().unwrap();
        for text in ["10m", "10m ago", "600", "10 min ago", "600 s"] {
            assert_eq!(past(text, now, &TimeZone::UTC).unwrap().to_string(), "2026-11-24T09:20:00Z");
        }
        for text in ["10m", "in 10 min"] {
            assert_eq!(coming(text, now, &TimeZone::UTC).unwrap().to_string(), "2026-11-24T09:40:00Z");
        }
        assert!(past("5x ago", now, &TimeZone::UTC).is_err());
        assert_eq!(duration("5x").unwrap_err().what(), "`5x` is not a duration");
    }

    #[test]
    fn a_time_covers_what_it_leaves_out() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at: Timestamp = "2026-11-24T09:30:00Z".parse().unwrap();
        // the ends of days are those of the caller's time zone
        for text in ["2026-11-24", "today", " yesterday "] {
            assert_eq!(end_of(text, at, &zone).to_string(), "2026-11-24T22:59:59.999999Z", "{text}");
        }
        for (text, end) in [
            ("09:30", "2026-11-24T09:30:59.999999Z"),
            ("09:30:00", "2026-11-24T09:30:00.999999Z"),
            ("2026-11-24T10:30:00+01:00", "2026-11-24T09:30:00.999999Z"),
            ("2026-11-24 09:30", "2026-11-24T09:30:59.999999Z"),
            ("2026-11-24T09:30:00.000Z", "2026-11-24T09:30:00Z"),
            ("10m", "2026-11-24T09:30:00Z"),
        ] {
            assert_eq!(end_of(text, at, &zone).to_string(), end, "{text}");
        }
    }

    #[test]
    fn a_local_time_that_the_clock_skips_is_right_after_the_gap() {
        let now: Timestamp = "2026-03-28T20:00:00Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = instant("02:30", Side::Ahead, now, &zone).unwrap();
        assert_eq!(at.to_string(), "2026-03-29T01:30:00Z");
    }
}
