//! `at`: the single instant at which an agent is due. Any part of a time that would not be honoured is
//! refused.
use super::walk::{Item, Section};
use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{AmbiguousOffset, Disambiguation, Offset, TimeZone};
use jiff::{Timestamp, Zoned};

/// Parser of times with a zone in brackets; one that the clock skips or repeats needs its offset, too.
const ZONED_PARSER: DateTimeParser = DateTimeParser::new();

/// Parses a local time in the agent's zone, or one with its offset, or with its zone in brackets.
pub(super) fn at(section: &Section<'_>, item: Item<'_>, zone: &TimeZone) -> Option<Timestamp> {
    let text = match item.value.get_ref() {
        toml::de::DeValue::Datetime(at) => at.to_string(),
        _ => item.text()?.to_owned(),
    };
    // It would be parsed as the second before.
    if text.contains(":60") {
        return item.refuse(format!("`{text}` is a leap second, which clocks here don't have"));
    }
    let own_zone = text.contains('[');
    let found = if own_zone { zoned(item, &text)? } else { text.parse::<Timestamp>().ok() };
    let has_zone = found.is_some();
    let at = found.or_else(|| local(item, &text, zone))?;
    if at.subsec_nanosecond() % 1000 != 0 {
        return item.refuse(format!("`{text}` is finer than a microsecond"));
    }
    if let Some(other) = section.own("timezone").filter(|_| has_zone) {
        let what = if own_zone { "names its own zone" } else { "has its offset" };
        other.file.warn(other.span(), format!("`timezone` has no effect here: `at` {what}"), None);
    }
    Some(at)
}

/// Parses a time with its zone in brackets.
fn zoned(item: Item<'_>, text: &str) -> Option<Option<Timestamp>> {
    let refuse = |hint: &str| item.refuse_with(format!("`{text}` is not a time"), hint.to_owned());
    if text.contains('=') || text.matches('[').count() > 1 {
        return refuse("brackets hold the name of a zone and nothing else");
    }
    let parser = ZONED_PARSER.disambiguation(Disambiguation::Reject);
    match parser.parse_zoned(text) {
        Ok(at) => Some(Some(at.timestamp())),
        // Parsed again without the strictness, to find out whether that is the reason.
        Err(_) if text.parse::<Zoned>().is_ok() => {
            let zone = text.parse::<Zoned>().map_or(TimeZone::UTC, |at| at.time_zone().clone());
            let (local, _) = text.split_once('[').unwrap_or((text, ""));
            clock_change_error(item, local, &zone)
        }
        Err(error) => refuse(&format!("{error}")),
    }
}

fn local(item: Item<'_>, text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let Ok(local) = text.parse::<DateTime>() else {
        return item.refuse_with(
            format!("`{text}` is not a time"),
            "write \"2026-12-24T18:00:00\" (in the agent's zone), \"2026-12-24T18:00:00+01:00\" or \
             \"2026-12-24T18:00:00[Europe/Berlin]\""
                .into(),
        );
    };
    let found = zone.to_ambiguous_timestamp(local);
    if found.is_ambiguous() {
        return clock_change_error(item, text, zone);
    }
    match found.compatible() {
        Ok(at) => Some(at),
        Err(_) => item.refuse_with(
            format!("`{text}` lies beyond the calendar, which ends with the year 9999"),
            "for an agent that is started by hand only, leave the schedule out".into(),
        ),
    }
}

/// Refuses a local time at which the clock changes: it is skipped, or occurs twice.
fn clock_change_error<T>(item: Item<'_>, local: &str, zone: &TimeZone) -> Option<T> {
    let name = zone.iana_name().unwrap_or("this zone");
    let at = local.parse::<DateTime>().ok()?;
    let with = |offset: Offset| format!("\"{local}{}\"", offset_text(offset));
    match zone.to_ambiguous_timestamp(at).offset() {
        AmbiguousOffset::Gap { before, after } => {
            let next = after.to_datetime(before.to_timestamp(at).ok()?);
            item.refuse_with(
                format!("{local} does not exist in {name}: the clock is put forward over it"),
                format!("write the time that the clock shows instead, {}", with_offset(next, after)),
            )
        }
        AmbiguousOffset::Fold { before, after } => item.refuse_with(
            format!("{local} happens twice in {name}: the clock is put back over it"),
            format!("write {} for the first time, {} for the second", with(before), with(after)),
        ),
        AmbiguousOffset::Unambiguous { .. } => {
            item.refuse_with(format!("`{local}` is not a time"), "its offset is not that of its zone".into())
        }
    }
}

fn with_offset(at: DateTime, offset: Offset) -> String {
    format!("\"{at}{}\"", offset_text(offset))
}

/// Formats an offset such as `+01:00`.
fn offset_text(offset: Offset) -> String {
    let secs = offset.seconds();
    let sign = if secs < 0 { '-' } else { '+' };
    let secs = secs.unsigned_abs();
    format!("{sign}{:02}:{:02}", secs / 3600, secs / 60 % 60)
}
