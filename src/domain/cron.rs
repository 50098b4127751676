//! Cron expressions. The only file that uses the cron library, and only to find the next local time that matches a
//! pattern. Parsing (`text`), time zones and daylight saving are implemented here.
//!
//! Rules as in crontab(5) of Vixie cron: day-of-month OR day-of-week if both are restricted (do not begin with
//! `*`); `0` and `7` are Sunday. Daylight saving as in cronie, cron(8): a pattern whose minute and hour do not
//! begin with `*` has fixed times. One that the clock skips fires right after the gap, one that it repeats fires
//! once, the first time. All other patterns follow elapsed time: skipped times are skipped, repeated ones fire
//! again.
mod change;
mod error;
mod foreign;
mod text;

pub use error::CronError;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};
use text::{Days, Text};

/// A parsed cron expression in its time zone.
#[derive(Clone)]
pub struct CronSchedule {
    expression: String,
    zone: TimeZone,
    text: Text,
    cron: croner::Cron,
}

/// Shows only the source, which determines everything else.
impl std::fmt::Debug for CronSchedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CronSchedule({:?}, {})", self.expression, self.zone_name())
    }
}

impl PartialEq for CronSchedule {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.zone == other.zone
    }
}

impl CronSchedule {
    /// Parses an expression: 5 fields, 6 with seconds first, or `@hourly`, `@daily`, ….
    pub fn parse(expression: &str, zone: TimeZone) -> Result<Self, CronError> {
        let text = text::read(expression)?;
        let parser = croner::parser::CronParser::builder()
            // the library treats only a bare `*` as unrestricted; crontab(5) also `*/2`
            .dom_and_dow(text.days != Days::Either)
            .build();
        let cron =
            parser.parse(&text.fields.join(" ")).map_err(|error| CronError::Syntax(error.to_string()))?;
        let schedule = Self { expression: expression.trim().to_owned(), zone, text, cron };
        // a schedule without an instant from the year 2000 on has none at all
        let from = Timestamp::from_second(946_684_800).expect("the year 2000 is in range");
        schedule.next_after(from).map(|_| ()).ok_or(CronError::Never)?;
        Ok(schedule)
    }

    /// Returns the expression as typed.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Returns whether both day and weekday are restricted, so that it fires if either matches (crontab(5)).
    pub fn is_either_day(&self) -> bool {
        self.text.days == Days::Either
    }

    /// Returns whether both are restricted, and a `+` requires both to match.
    pub fn is_both_days(&self) -> bool {
        self.text.days == Days::Both
    }

    /// Returns its time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Returns the IANA name of its time zone, for people.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("local time")
    }

    /// Returns the `Debug` output of 0.1, for hashes stored then. `None`: 0.1 could not parse it.
    pub(super) fn debug_of_0_1(&self) -> Option<String> {
        let fields: Vec<&str> = self.expression.split_whitespace().collect();
        let five = &fields[fields.len().saturating_sub(5)..];
        let wild = |field: Option<&&str>| field.is_some_and(|field| field.starts_with(['*', '?']));
        let parser = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Optional)
            .year(croner::parser::Year::Optional)
            .dom_and_dow(wild(five.get(2)) || wild(five.get(4)))
            .build();
        let cron = parser.parse(&self.expression).ok()?;
        let fixed = match fields[..] {
            [nickname] => !nickname.eq_ignore_ascii_case("@hourly"),
            _ => !wild(five.first()) && !wild(five.get(1)),
        };
        let (expression, zone) = (&self.expression, &self.zone);
        Some(format!(
            "CronSchedule {{ expression: {expression:?}, zone: {zone:?}, cron: {cron:?}, fixed: {fixed:?} }}"
        ))
    }

    /// Returns the first instant strictly after `after`; `None` if there is none.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        if self.text.fixed { self.next_fixed(after) } else { self.next_wild(after) }
    }

    /// Finds the next fixed time. Each local time fires once: when it occurs, after the gap that skips it, or at
    /// the first of two occurrences. So instants increase with local times, and the first one after `after` is the
    /// result.
    fn next_fixed(&self, after: Timestamp) -> Option<Timestamp> {
        let mut local = self.zone.to_datetime(after);
        loop {
            local = self.next_local(local, false)?;
            let ambiguous = self.zone.to_ambiguous_timestamp(local);
            let instant = match ambiguous.offset() {
                AmbiguousOffset::Gap { before, .. } => {
                    let inside = before.to_timestamp(local).ok()?;
                    self.zone.preceding(inside.checked_add(1.nanosecond()).ok()?).next()?.timestamp()
                }
                AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                    ambiguous.earlier().ok()?
                }
            };
            if instant > after {
                return Some(instant);
            }
        }
    }

    /// Finds the next instant at which the local time matches, from one change of the offset to the next.
    fn next_wild(&self, after: Timestamp) -> Option<Timestamp> {
        let mut start = after;
        let mut inclusive = false;
        let mut found: Option<DateTime> = None;
        loop {
            let offset = self.zone.to_offset(start);
            let local = offset.to_datetime(start);
            // the result from before the change is valid, unless the clock went back or past it
            let next = match found.filter(|found| *found >= local && inclusive) {
                Some(next) if !self.went_back(start) => next,
                _ => self.next_local(local, inclusive)?,
            };
            let instant = offset.to_timestamp(next).ok()?;
            match self.zone.following(start).next().map(|change| change.timestamp()) {
                Some(change) if instant >= change => {
                    found = Some(next);
                    start = change;
                    inclusive = true;
                }
                _ => return Some(instant),
            }
        }
    }

    /// Returns whether the local clock went back at `change`.
    fn went_back(&self, change: Timestamp) -> bool {
        self.zone.to_offset(change) < self.zone.to_offset(just_before(change))
    }

    /// Returns the next local time that matches, regardless of the time zone.
    fn next_local(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&from, inclusive).ok()
    }

    /// Returns the last instant strictly before `before`, not earlier than `floor`.
    ///
    /// Searches forward from ever earlier starts, so that it agrees with [`Self::next_after`] even where the clock
    /// skips or repeats.
    pub fn prev_before(&self, before: Timestamp, floor: Timestamp) -> Option<Timestamp> {
        let mut reach = SignedDuration::from_mins(1);
        loop {
            let start = before.checked_sub(reach).unwrap_or(Timestamp::MIN).max(floor);
            let just_before = start.checked_sub(1.microsecond()).unwrap_or(Timestamp::MIN);
            let mut found = None;
            let mut at = self.next_after(just_before);
            while let Some(slot) = at.filter(|slot| *slot < before) {
                found = Some(slot);
                at = self.next_after(slot);
            }
            if found.is_some() || start == floor || start == Timestamp::MIN {
                return found;
            }
            reach *= 4;
        }
    }

    /// Returns the number of instants in `first..=until`; `first` is one of them.
    ///
    /// The work is bounded even for a year of seconds: whole days and hours without a clock change are counted
    /// once, not walked.
    pub fn count(&self, first: Timestamp, until: Timestamp) -> u64 {
        let mut count = 0;
        let mut per = Repeats::default();
        let mut at = Some(first);
        while let Some(slot) = at.filter(|slot| *slot <= until) {
            let local = slot.to_zoned(self.zone.clone());
            if let Some((start, end)) = self.plain_day(&local) {
                if slot == self.first_from(start) && end <= until {
                    count += *per.day.get_or_insert_with(|| self.count_day(start, &mut per.hour));
                    at = self.next_after(just_before(end));
                    continue;
                }
                let hour = hour_start(&local);
                let next_hour = hour + SignedDuration::from_hours(1);
                if slot == self.first_from(hour) && next_hour <= until {
                    count += *per.hour.get_or_insert_with(|| self.walk(slot, next_hour));
                    at = self.next_after(just_before(next_hour));
                    continue;
                }
            }
            count += 1;
            at = self.next_after(slot);
        }
        count
    }

    /// Returns start and end of the local day of `at`, if the clock does not change in it.
    fn plain_day(&self, at: &Zoned) -> Option<(Timestamp, Timestamp)> {
        let start = at.start_of_day().ok()?;
        let end = at.tomorrow().ok()?.start_of_day().ok()?;
        let plain = start.offset() == end.offset()
            && start.hour() == 0
            && end.hour() == 0
            && end.timestamp().duration_since(start.timestamp()) == SignedDuration::from_hours(24);
        plain.then(|| (start.timestamp(), end.timestamp()))
    }

    fn count_day(&self, start: Timestamp, per_hour: &mut Option<u64>) -> u64 {
        let hours = (0..24).map(|h| start + SignedDuration::from_hours(h));
        hours
            .map(|hour| {
                let end = hour + SignedDuration::from_hours(1);
                let first = self.first_from(hour);
                if first >= end { 0 } else { *per_hour.get_or_insert_with(|| self.walk(first, end)) }
            })
            .sum()
    }

    fn first_from(&self, start: Timestamp) -> Timestamp {
        self.next_after(just_before(start)).unwrap_or(Timestamp::MAX)
    }

    /// Counts the instants in `first..end`, one by one.
    fn walk(&self, first: Timestamp, end: Timestamp) -> u64 {
        std::iter::successors(Some(first), |slot| self.next_after(*slot))
            .take_while(|slot| *slot < end)
            .count() as u64
    }
}

/// Cached counts for whole hours and days of this schedule.
#[derive(Default)]
struct Repeats {
    hour: Option<u64>,
    day: Option<u64>,
}

fn just_before(at: Timestamp) -> Timestamp {
    at - SignedDuration::from_micros(1)
}

fn hour_start(at: &Zoned) -> Timestamp {
    let into = SignedDuration::from_mins(at.minute().into())
        + SignedDuration::from_secs(at.second().into())
        + SignedDuration::from_nanos(at.subsec_nanosecond().into());
    at.timestamp() - into
}

/// The first clock change that affects slots of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockChange {
    /// The first few local times of slots that the change skips or repeats.
    pub times: Vec<DateTime>,
    /// Whether there are more than in `times`.
    pub more: bool,
    /// True: they don't exist; false: they occur twice.
    pub skipped: bool,
    /// Local time right after the change.
    pub then: DateTime,
    /// The slots have fixed times: a skipped one fires right after the change, a repeated one fires once. False:
    /// skipped ones are left out, repeated ones fire twice.
    pub fixed: bool,
}

#[cfg(test)]
mod tests;
