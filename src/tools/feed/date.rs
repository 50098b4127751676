//! Dates as feeds write them: RFC 822 and its successors, RFC 3339, asctime(3), and common deviations.
//!
//! A text is parsed word by word, and each word must have a meaning: a time, a zone, a month, a number. So a
//! text that is not understood is no date, rather than a wrong one. A time without a zone is UTC. The day of
//! the week is ignored.
use crate::tools::feed::date::zone::Zone;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use regex_lite::{Captures, Regex};
use std::sync::LazyLock;

mod zone;

/// Maximum length of a date, in bytes.
const MAX_DATE_BYTES: usize = 96;
/// 1900: dates such as "0000-00-00" or the year 1 are meaningless.
const EARLIEST_SECS: i64 = -2_208_988_800;

/// Parses the instant that a text stands for, if any.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_DATE_BYTES {
        return None;
    }
    let found = seconds_since_1970(text).or_else(|| {
        let mut parts = Parts::default();
        parts.read(text)?;
        parts.instant()
    });
    found.filter(|at| at.as_second() > EARLIEST_SECS)
}

/// Parses `1795514400`, or the same in milliseconds: from 2001 to 2033, where no other form has as many
/// digits.
fn seconds_since_1970(text: &str) -> Option<Timestamp> {
    if !text.starts_with('1') || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match text.len() {
        10 => Timestamp::from_second(text.parse().ok()?).ok(),
        13 => Timestamp::from_millisecond(text.parse().ok()?).ok(),
        _ => None,
    }
}

/// The parts of a date found so far. Each may occur only once.
#[derive(Default)]
struct Parts {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    time: Option<Time>,
    /// `true` for `pm`, `false` for `am`.
    afternoon: Option<bool>,
    zone: Option<Zone>,
    /// Numbers that are a day or a year, in order, each with whether it has four digits.
    numbers: Vec<(i16, bool)>,
}

macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("a pattern"));
    };
}
pattern!(COMMENT, r"\([^)]*\)");
pattern!(ISO, r"^(\d{4})([-/.])(\d{1,2})([-/.])(\d{1,2})(?:[Tt]|$)");
pattern!(COMPACT, r"^(\d{4})(\d{2})(\d{2})(?:[Tt]?(\d{2})(\d{2})(\d{2})?|$)");
pattern!(CLOCK, r"^(\d{1,2})(?::(\d{2})(?::(\d{2})(?:[.,](\d+))?)?|\.(\d{2})\.(\d{2})|[hH](\d{2}))(?:\D|$)");
pattern!(HOUR, r"^(\d{2})(?:[Zz+-]|$)");
pattern!(BY_NAME, r"^(\d{1,2})[-/]([A-Za-z]+)[-/](\d{4}|\d{2})$");
pattern!(NUMBER, r"^(\d{1,2}|\d{4})(?:st|nd|rd|th)?\.?$");

impl Parts {
    /// Parses all words; `None` if one of them has no meaning.
    fn read(&mut self, text: &str) -> Option<()> {
        let text = COMMENT.replace_all(text, " ").replace('\u{a0}', " ");
        let words: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()).collect();
        let months = words.iter().filter(|word| month(word).is_some()).count();
        for (at, word) in words.iter().enumerate() {
            // A day of the week, in any language; some are spelled like a month.
            let is_name = !word.contains(|c: char| c.is_ascii_digit());
            if at == 0 && is_name && (month(word).is_none() || months > 1) && words.len() > 1 {
                continue;
            }
            self.word(word)?;
        }
        self.sort_numbers()
    }

    fn word(&mut self, word: &str) -> Option<()> {
        if let Some(found) = ISO.captures(word).filter(|found| found[2] == found[4]) {
            self.date(number(&found, 1)?, number(&found, 3)?, number(&found, 5)?)?;
            return self.after_date(&word[found[0].len()..]);
        }
        if let Some(found) = COMPACT.captures(word) {
            self.date(number(&found, 1)?, number(&found, 2)?, number(&found, 3)?)?;
            if found.get(4).is_some() {
                let second = found.get(6).map_or(Some(0), |_| number(&found, 6))?;
                self.clock(number(&found, 4)?, number(&found, 5)?, second, 0)?;
            }
            return self.rest(&word[found[0].len()..]);
        }
        if let Some(found) = CLOCK.captures(word) {
            return self.clock_of(&found, word);
        }
        if let Some(found) = BY_NAME.captures(word) {
            set(&mut self.month, month(&found[2])?)?;
            self.numbers.push((number(&found, 1)?, false));
            self.numbers.push((number(&found, 3)?, found[3].len() == 4));
            return Some(());
        }
        if let Some(found) = NUMBER.captures(word) {
            self.numbers.push((number(&found, 1)?, found[1].len() == 4));
            return (self.numbers.len() <= 2).then_some(());
        }
        if let Some(month) = month(word) {
            return set(&mut self.month, month);
        }
        match word.to_ascii_lowercase().as_str() {
            "at" | "-" | "t" => Some(()),
            _ => self.rest(word),
        }
    }

    /// Parses what follows the `T` of a date.
    fn after_date(&mut self, rest: &str) -> Option<()> {
        if rest.is_empty() {
            return Some(());
        }
        if let Some(found) = CLOCK.captures(rest) {
            return self.clock_of(&found, rest);
        }
        if let Some(found) = HOUR.captures(rest) {
            self.clock(number(&found, 1)?, 0, 0, 0)?;
            return self.rest(&rest[2..]);
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let two = |at: usize| rest[at..at + 2].parse().ok();
        match digits {
            4 => self.clock(two(0)?, two(2)?, 0, 0)?,
            6 => self.clock(two(0)?, two(2)?, two(4)?, 0)?,
            _ => return None,
        }
        self.rest(&rest[digits..])
    }

    fn clock_of(&mut self, found: &Captures<'_>, word: &str) -> Option<()> {
        let get = |places: &[usize]| {
            let found = places.iter().find_map(|place| found.get(*place));
            found.map_or(Some(0), |found| found.as_str().parse().ok())
        };
        let fraction = found.get(4).map_or("", |fraction| fraction.as_str());
        let nanos = format!("{:0<9}", &fraction[..fraction.len().min(9)]).parse().ok()?;
        self.clock(get(&[1])?, get(&[2, 5, 7])?, get(&[3, 6])?, nanos)?;
        let end = (1..=7).filter_map(|group| found.get(group)).map(|group| group.end()).max()?;
        self.rest(&word[end..])
    }

    fn clock(&mut self, hour: i16, minute: i16, second: i16, nanos: i32) -> Option<()> {
        // Some write the first hour of a day as 24. A leap second is mapped to second 59.
        let hour = if hour == 24 { 0 } else { hour };
        let small = |number: i16| i8::try_from(number).ok();
        let time = Time::new(small(hour)?, small(minute)?, small(second.min(60))?.min(59), nanos).ok()?;
        set(&mut self.time, time).filter(|()| second <= 60)
    }

    /// Parses what follows a time: am or pm, a zone.
    fn rest(&mut self, word: &str) -> Option<()> {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "" => return Some(()),
            "am" | "a.m." => return set(&mut self.afternoon, false),
            "pm" | "p.m." => return set(&mut self.afternoon, true),
            _ => {}
        }
        for (start, afternoon) in [("am", false), ("pm", true)] {
            if let Some(zone) = lower.strip_prefix(start).filter(|zone| zone.starts_with(['+', '-', 'z'])) {
                set(&mut self.afternoon, afternoon)?;
                return self.rest(zone);
            }
        }
        self.time?;
        // "+01:00[Europe/Berlin]": the offset is sufficient.
        let word = word.split('[').find(|part| !part.is_empty())?;
        let zone = zone::read(word)?;
        match self.zone.replace(zone.clone()) {
            // "GMT +0100"
            None => Some(()),
            Some(Zone::At(before)) if before == Offset::UTC => Some(()),
            Some(before) => (before == zone).then_some(()),
        }
    }

    fn date(&mut self, year: i16, month: i16, day: i16) -> Option<()> {
        set(&mut self.year, year)?;
        set(&mut self.month, i8::try_from(month).ok()?)?;
        set(&mut self.day, i8::try_from(day).ok()?)
    }

    /// Determines which number is the day, and which the year.
    fn sort_numbers(&mut self) -> Option<()> {
        let (day, year) = match self.numbers[..] {
            [] => return Some(()),
            [(year, true), (day, false)] | [(day, false), (year, true)] => (day, year),
            // RFC 2822, 4.3
            [(day, false), (year, false)] => (day, if year < 50 { year + 2000 } else { year + 1900 }),
            _ => return None,
        };
        set(&mut self.day, i8::try_from(day).ok()?)?;
        set(&mut self.year, year)
    }

    fn instant(self) -> Option<Timestamp> {
        let date = Date::new(self.year?, self.month?, self.day?).ok()?;
        let time = self.time.unwrap_or(Time::midnight());
        let hour = match (self.afternoon, time.hour()) {
            (Some(false), 12) => 0,
            (Some(true), hour @ 0..12) => hour + 12,
            (Some(false), 13..) => return None,
            (_, hour) => hour,
        };
        let time = time.with().hour(hour).build().ok()?;
        let civil: DateTime = date.to_datetime(time);
        match self.zone {
            None => TimeZone::UTC.to_timestamp(civil).ok(),
            Some(Zone::At(offset)) => offset.to_timestamp(civil).ok(),
            Some(Zone::Of(zone)) => zone.to_timestamp(civil).ok(),
        }
    }
}

fn set<T>(part: &mut Option<T>, value: T) -> Option<()> {
    part.replace(value).is_none().then_some(())
}

fn number(found: &Captures<'_>, group: usize) -> Option<i16> {
    found.get(group)?.as_str().parse().ok()
}

/// Returns 1 to 12 for the English name or its abbreviation; names in other languages could be mistaken for
/// others.
fn month(word: &str) -> Option<i8> {
    const ALL: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let word = word.trim_end_matches('.').to_ascii_lowercase();
    let is = |name: &&str| *name == word || word == name[..3] || (*name == "september" && word == "sept");
    (1..).zip(ALL).find(|(_, name)| is(name)).map(|(number, _)| number)
}

#[cfg(test)]
mod tests;
