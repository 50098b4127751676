//! Names of time zones in dates of feeds.
use jiff::tz::{Offset, TimeZone};
use regex_lite::Regex;
use std::sync::LazyLock;

/// Abbreviations with their offset from UTC in minutes. Those of RFC 822 have the meaning defined there;
/// others are included if they are used for one zone only, or for one far more than for all others. The
/// single letters of RFC 822 are not included: their signs were wrong there, so their meaning is ambiguous
/// (RFC 2822, 4.3).
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("Z", 0),
    ("UT", 0),
    ("UTC", 0),
    ("GMT", 0),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("AKST", -540),
    ("AKDT", -480),
    ("HST", -600),
    ("AST", -240),
    ("ADT", -180),
    ("NST", -210),
    ("NDT", -150),
    ("BRT", -180),
    ("BRST", -120),
    ("ART", -180),
    ("CLT", -240),
    ("CLST", -180),
    ("COT", -300),
    ("PET", -300),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("CET", 60),
    ("MET", 60),
    ("MEZ", 60),
    ("CEST", 120),
    ("MEST", 120),
    ("MESZ", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("TRT", 180),
    ("IDT", 180),
    ("WAT", 60),
    ("CAT", 120),
    ("SAST", 120),
    ("EAT", 180),
    ("GST", 240),
    ("PKT", 300),
    ("IST", 330),
    ("NPT", 345),
    ("ICT", 420),
    ("WIB", 420),
    ("HKT", 480),
    ("SGT", 480),
    ("PHT", 480),
    ("AWST", 480),
    ("JST", 540),
    ("KST", 540),
    ("ACST", 570),
    ("ACDT", 630),
    ("AEST", 600),
    ("AEDT", 660),
    ("NZST", 720),
    ("NZDT", 780),
];

/// Parses an offset, an abbreviation, both ("GMT+1"), or a name from the time zone database.
pub(super) fn read(word: &str) -> Option<Zone> {
    static OFFSET: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^(?:GMT|UTC|UT)?([+-]|−)(\d{1,2})(?::?(\d{2}))?$").expect("a pattern"));
    let word = word.trim_matches(['[', ']']);
    let upper = word.to_ascii_uppercase();
    let minutes = if let Some((_, minutes)) = ABBREVIATIONS.iter().find(|(name, _)| *name == upper) {
        *minutes
    } else if let Some(found) = OFFSET.captures(&upper) {
        let hours: i32 = found[2].parse().ok()?;
        let minutes: i32 = found.get(3).map_or(Ok(0), |minutes| minutes.as_str().parse()).ok()?;
        if hours > 14 || minutes > 59 {
            return None;
        }
        (hours * 60 + minutes) * if &found[1] == "+" { 1 } else { -1 }
    } else if word.contains('/') {
        return TimeZone::get(word).ok().map(Zone::Of);
    } else {
        return None;
    };
    Offset::from_seconds(minutes * 60).ok().map(Zone::At)
}

#[derive(Clone, PartialEq)]
pub(super) enum Zone {
    At(Offset),
    Of(TimeZone),
}
