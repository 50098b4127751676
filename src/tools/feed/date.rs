//! Dates as feeds write them: RFC 2822 and RFC 3339, and what people make of those.
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::TimeZone;

/// The instant that a text means, if any. Without a zone it is taken for UTC.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.is_empty() || text.len() > 64 || !text.is_ascii() {
        return None;
    }
    let found = if text.as_bytes()[0].is_ascii_digit() && text.get(4..5) == Some("-") {
        numbers(text)
    } else {
        words(text)
    };
    // a "0000-00-00" or a year 1 says nothing
    found.filter(|at| at.as_second() > -2_208_988_800)
}

/// `2026-11-24T10:00:00Z`, with a blank for the `T`, without its zone, without its time.
fn numbers(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    // "2026-11-24 10:00:00 +0100", "… UTC"
    let joined = text.replacen(' ', "T", 1).replace(' ', "");
    let joined = joined.strip_suffix("UTC").or_else(|| joined.strip_suffix("GMT")).unwrap_or(&joined);
    if let Ok(at) = joined.parse::<Timestamp>() {
        return Some(at);
    }
    let civil = joined.parse::<DateTime>().ok();
    let civil = civil
        .or_else(|| joined.parse::<Date>().ok().map(|date| date.to_datetime(jiff::civil::time(0, 0, 0, 0))));
    Some(civil?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// `Tue, 24 Nov 2026 10:00:00 +0100`, with any word for the day, long names of months, any zone.
fn words(text: &str) -> Option<Timestamp> {
    let text = text.replace(',', " ");
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split_whitespace() {
        let is_date =
            part.as_bytes()[0].is_ascii_digit() && part.bytes().any(|byte| byte.is_ascii_alphabetic());
        match is_date {
            // "24-Nov-2026"
            true => parts.extend(part.split('-').filter(|part| !part.is_empty())),
            false => parts.push(part),
        }
    }
    let is_word = |part: &&str| part.as_bytes()[0].is_ascii_alphabetic();
    if parts.first().is_some_and(|day| is_word(day) && month(day).is_none()) {
        parts.remove(0);
    }
    if parts.first().is_some_and(is_word) && parts.len() > 1 {
        parts.swap(0, 1);
    }
    let [day, name, year, rest @ ..] = &parts[..] else { return None };
    let time = rest
        .first()
        .filter(|time| time.contains(':'))
        .map_or_else(|| "00:00:00".to_owned(), |time| pad(time));
    let zone = match rest.get(1).copied() {
        None | Some("UTC" | "Z" | "UT" | "GMT") => "+0000".to_owned(),
        Some(other) => other.replace(':', ""),
    };
    let plain = format!("{day} {} {year} {time} {zone}", month(name)?);
    DateTimeParser::new().relaxed_weekday(true).parse_timestamp(plain).ok()
}

/// The short name of a month.
fn month(name: &str) -> Option<&'static str> {
    const ALL: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let start = name.get(..3)?;
    ALL.into_iter().find(|month| month.eq_ignore_ascii_case(start))
}

/// `9:05` as `09:05:00`; `24:…` as the beginning of that day.
fn pad(time: &str) -> String {
    let mut parts = time.split(':');
    let mut next = || parts.next().and_then(|part| part.split('.').next()?.parse::<u32>().ok()).unwrap_or(0);
    let (hours, minutes, seconds) = (next(), next(), next());
    format!("{:02}:{minutes:02}:{seconds:02}", hours % 24)
}

#[cfg(test)]
mod tests {
    //! Tests of dates as they are found.
    use super::*;

    #[test]
    fn dates_are_read_as_they_are_found() {
        for (text, wanted) in [
            ("Tue, 24 Nov 2026 10:00:00 +0100", "2026-11-24T09:00:00Z"),
            ("Tue, 24 Nov 2026 10:00:00 GMT", "2026-11-24T10:00:00Z"),
            ("Wed, 24 Nov 2026 10:00:00 UTC", "2026-11-24T10:00:00Z"),
            ("Tuesday, 24 November 2026 9:05 Z", "2026-11-24T09:05:00Z"),
            ("Di, 24 Nov 2026 10:00:00 +0000", "2026-11-24T10:00:00Z"),
            ("24 Nov 2026 10:00:00 EST", "2026-11-24T15:00:00Z"),
            ("Tue 24 Nov 2026 10:00:00 GMT", "2026-11-24T10:00:00Z"),
            ("Tue, 24 Nov 26 10:00:00 GMT", "2026-11-24T10:00:00Z"),
            ("Tue, 24-Nov-2026 10:00:00 GMT", "2026-11-24T10:00:00Z"),
            ("Tue, 24 Nov 2026 10:00:00 -0500", "2026-11-24T15:00:00Z"),
            ("Tue, 24 Nov 2026 10:00:00 +01:00", "2026-11-24T09:00:00Z"),
            ("November 24, 2026", "2026-11-24T00:00:00Z"),
            ("Tue, 24 Nov 2026", "2026-11-24T00:00:00Z"),
            ("Tue, 24 Nov 2026 24:10:00 GMT", "2026-11-24T00:10:00Z"),
            ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z"),
            ("2026-11-24T10:00:00.5+01:00", "2026-11-24T09:00:00.5Z"),
            ("2026-11-24T10:00:00+0100", "2026-11-24T09:00:00Z"),
            ("2026-11-24 10:00:00", "2026-11-24T10:00:00Z"),
            ("2026-11-24 10:00:00 +0100", "2026-11-24T09:00:00Z"),
            ("2026-11-24 10:00:00 UTC", "2026-11-24T10:00:00Z"),
            ("2026-11-24T10:00", "2026-11-24T10:00:00Z"),
            ("2026-11-24", "2026-11-24T00:00:00Z"),
            (" 2026-11-24 ", "2026-11-24T00:00:00Z"),
        ] {
            assert_eq!(read(text).map(|at| at.to_string()).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_date() {
        for text in [
            "",
            "yesterday",
            "0000-00-00 00:00:00",
            "Tue, 45 Nov 2026 10:00:00 GMT",
            "2026-13-45",
            "24.11.2026",
            "-",
            "T",
            "0001-01-01",
            "Mon, Mon, Mon",
            "ä",
            "9999999999999999999999",
            "- - - -",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
