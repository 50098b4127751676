//! `at`: the one instant at which an agent is due. Whatever of a time would not be honoured is
//! refused.
use super::walk::{Item, Section};
use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{Disambiguation, TimeZone};
use jiff::{Timestamp, Zoned};

/// With a zone in brackets; a time that the clock skips or repeats needs its offset, too.
const ZONED: DateTimeParser = DateTimeParser::new();

/// A local time in the agent's zone, or one with its offset, or with its zone in brackets.
pub(super) fn at(section: &Section<'_>, item: Item<'_>, zone: &TimeZone) -> Option<Timestamp> {
    let text = match item.value.get_ref() {
        toml::de::DeValue::Datetime(at) => at.to_string(),
        _ => item.text()?.to_owned(),
    };
    // it would be taken for the second before
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

/// With its zone in brackets.
fn zoned(item: Item<'_>, text: &str) -> Option<Option<Timestamp>> {
    let refuse = |hint: &str| item.refuse_with(format!("`{text}` is no time"), hint.to_owned());
    if text.contains('=') || text.matches('[').count() > 1 {
        return refuse("brackets hold the name of a zone and nothing else");
    }
    let parser = ZONED.disambiguation(Disambiguation::Reject);
    match parser.parse_zoned(text) {
        Ok(at) => Some(Some(at.timestamp())),
        // which of the reasons it is, is asked again without what may be it
        Err(_) if text.parse::<Zoned>().is_ok() => ambiguous(item, text, "that zone"),
        Err(error) => refuse(&format!("{error}")),
    }
}

fn local(item: Item<'_>, text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let Ok(local) = text.parse::<DateTime>() else {
        return item.refuse_with(
            format!("`{text}` is no time"),
            "write \"2026-12-24T18:00:00\" (in the agent's zone), \"2026-12-24T18:00:00+01:00\" or \
             \"2026-12-24T18:00:00[Europe/Berlin]\""
                .into(),
        );
    };
    let found = zone.to_ambiguous_timestamp(local);
    if found.is_ambiguous() {
        return ambiguous(item, text, zone.iana_name().unwrap_or("this zone"));
    }
    match found.compatible() {
        Ok(at) => Some(at),
        Err(_) => item.refuse_with(
            format!("`{text}` lies beyond the calendar, which ends with the year 9999"),
            "for an agent that is started by hand only, leave the schedule out".into(),
        ),
    }
}

fn ambiguous<T>(item: Item<'_>, text: &str, zone: &str) -> Option<T> {
    item.refuse_with(
        format!("{text} does not exist or happens twice in {zone}"),
        "the clock is changed then; write it with its offset".into(),
    )
}
