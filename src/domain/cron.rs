//! Cron expressions. The only file that knows the cron library, which is asked for one thing: the
//! next local time that a pattern names. Zones and daylight saving are ours.
//!
//! Rules as in crontab(5) of Vixie cron: day-of-month OR day-of-week when both are restricted (do
//! not begin with `*`), `0` and `7` are Sunday. Daylight saving as in cronie, cron(8): a pattern
//! whose minute and hour do not begin with `*` names fixed times. One that the clock skips fires
//! right after the gap, one that it repeats fires once, the first time. All other patterns follow
//! elapsed time: what is skipped is skipped, what is repeated fires again.
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

/// A parsed cron expression in its time zone.
#[derive(Clone, Debug)]
pub struct CronSchedule {
    expression: String,
    zone: TimeZone,
    cron: croner::Cron,
    /// Its minute and hour are no wildcards.
    fixed: bool,
}

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It can't be read.
    #[error("not a cron expression: {0}")]
    Syntax(String),
    /// It can be read, but names no instant at all.
    #[error("never fires")]
    Never,
    /// A step that does not mean what it seems.
    #[error("`{field}` in the {name} field restarts at each {unit}: it fires at {name} {first} only")]
    MisleadingStep {
        /// The field as typed.
        field: String,
        /// `minute`, …
        name: &'static str,
        /// The next larger unit.
        unit: &'static str,
        /// The only value at which it fires.
        first: u32,
        /// What to write instead.
        instead: &'static str,
    },
}

impl PartialEq for CronSchedule {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.zone == other.zone
    }
}

/// What the fields hold (crontab(5)), from the last one.
const FIELDS: [(&str, &str); 6] = [
    ("weekday", "0 to 7 or SUN to SAT"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day", "1 to 31"),
    ("hour", "0 to 23"),
    ("minute", "0 to 59"),
    ("second", "0 to 59"),
];

/// Names the field that is wrong: the first that is also wrong with `*` in the place of all others.
fn wrong_field(fields: &[&str], is_wrong: impl Fn(&str) -> bool) -> Option<String> {
    (0..fields.len()).find_map(|at| {
        let mut alone = vec!["*"; fields.len()];
        alone[at] = fields[at];
        let (name, values) = FIELDS.get(fields.len() - 1 - at)?;
        is_wrong(&alone.join(" ")).then(|| format!("`{}` is no {name}: {values}", fields[at]))
    })
}

impl CronSchedule {
    /// Reads an expression: 5 fields, 6 with seconds first, or `@hourly`, `@daily`, ….
    pub fn parse(expression: &str, zone: TimeZone) -> Result<Self, CronError> {
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let nickname = fields.len() == 1 && fields[0].starts_with('@');
        if !nickname && !(5..=6).contains(&fields.len()) {
            return Err(CronError::Syntax(format!(
                "it has {} fields; 5 are needed (minute hour day month weekday), or 6 with seconds first",
                fields.len()
            )));
        }
        misleading_step(&fields)?;
        let five = &fields[fields.len().saturating_sub(5)..];
        let wild = |field: Option<&&str>| field.is_some_and(|field| field.starts_with(['*', '?']));
        let parser = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Optional)
            .year(croner::parser::Year::Optional)
            // the library takes a bare `*` only as no restriction; crontab(5) also `*/2`
            .dom_and_dow(wild(five.get(2)) || wild(five.get(4)))
            .build();
        let cron = parser.parse(expression).map_err(|error| {
            if nickname {
                return CronError::Syntax(format!(
                    "`{}` is none of @yearly, @monthly, @weekly, @daily and @hourly; what runs when the daemon starts has \
                     on = \"daemon_started\"",
                    fields[0]
                ));
            }
            let found = wrong_field(&fields, |alone| parser.parse(alone).is_err());
            CronError::Syntax(found.unwrap_or_else(|| error.to_string()))
        })?;
        let fixed = if nickname {
            !fields[0].eq_ignore_ascii_case("@hourly")
        } else {
            !wild(five.first()) && !wild(five.get(1))
        };
        let schedule = Self { expression: expression.trim().to_owned(), zone, cron, fixed };
        // a schedule that has no instant in the years from 2000 on has none at all
        let from = Timestamp::from_second(946_684_800).expect("the year 2000 is in range");
        schedule.next_after(from).map(|_| ()).ok_or(CronError::Never)?;
        Ok(schedule)
    }

    /// The expression as typed.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Are both day and weekday restricted? Then it fires where either fits (crontab(5)).
    pub fn is_either_day(&self) -> bool {
        let fields: Vec<&str> = self.expression.split_whitespace().collect();
        let ends = fields.len().checked_sub(3).map(|day| [fields[day], fields[fields.len() - 1]]);
        ends.is_some_and(|ends| ends.iter().all(|field| !field.starts_with(['*', '?'])))
    }

    /// Its time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The IANA name of its zone, for people.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("local time")
    }

    /// The first instant strictly after `after`; `None` if there is none.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        if self.fixed { self.next_fixed(after) } else { self.next_wild(after) }
    }

    /// Each local time fires once: as it comes by, after the gap that skips it, or the first of two
    /// times. So instants grow with local times, and the first one that is late enough is it.
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

    /// Every instant at which a clock on the wall shows a matching time, from one change of the
    /// offset to the next.
    fn next_wild(&self, after: Timestamp) -> Option<Timestamp> {
        let mut start = after;
        let mut inclusive = false;
        let mut found: Option<DateTime> = None;
        loop {
            let offset = self.zone.to_offset(start);
            let local = offset.to_datetime(start);
            // what was found from before the change holds, unless the clock went back or past it
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

    /// Did the local clock go back at `change`?
    fn went_back(&self, change: Timestamp) -> bool {
        self.zone.to_offset(change) < self.zone.to_offset(just_before(change))
    }

    /// The next local time that matches, whatever the zone makes of it.
    fn next_local(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&from, inclusive).ok()
    }

    /// The last instant strictly before `before`, not earlier than `floor`.
    ///
    /// Found by going forward from ever earlier starts, so that it agrees with
    /// [`Self::next_after`] also where the clock skips or repeats.
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

    /// How many instants lie in `first..=until`; `first` is one of them.
    ///
    /// Bounded work also for a year of seconds: whole days and hours in which the clock does not
    /// change are counted, not walked.
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

    /// Start and end of the local day of `at`, if the clock does not change in it.
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

    /// Instants in `first..end`, one by one.
    fn walk(&self, first: Timestamp, end: Timestamp) -> u64 {
        std::iter::successors(Some(first), |slot| self.next_after(*slot))
            .take_while(|slot| *slot < end)
            .count() as u64
    }
}

/// What whole hours and days of this schedule hold, once counted.
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

/// `*/90` is accepted by cron and fires hourly. Say so instead.
fn misleading_step(fields: &[&str]) -> Result<(), CronError> {
    const UNITS: [(&str, u32, &str, u32, &str); 6] = [
        ("second", 60, "minute", 0, "`interval = \"…\"` for a period of more than a minute"),
        ("minute", 60, "hour", 0, "`interval = \"90m\"` for a period of more than an hour"),
        ("hour", 24, "day", 0, "`interval = \"…\"` for a period of more than a day"),
        ("day", 31, "month", 1, "`interval = \"…\"` for a period of more than a month, or name the days"),
        ("month", 12, "year", 1, "the months by name"),
        ("weekday", 7, "week", 0, "the weekdays by name"),
    ];
    if fields.len() < 5 {
        return Ok(());
    }
    let units = if fields.len() == 6 { &UNITS[..] } else { &UNITS[1..] };
    for (field, &(name, size, unit, first, instead)) in fields.iter().zip(units) {
        for part in field.split(',') {
            let Some((_, step)) = part.split_once('/') else { continue };
            if step.parse::<u32>().is_ok_and(|step| step >= size) {
                let field = (*field).to_owned();
                return Err(CronError::MisleadingStep { field, name, unit, first, instead });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_is_wrong_is_named() {
        for (text, said) in [
            ("61 * * * *", "`61` is no minute: 0 to 59"),
            ("0 9 * * MON-FRY", "`MON-FRY` is no weekday: 0 to 7 or SUN to SAT"),
            ("0 0 23 32 1 *", "`32` is no day: 1 to 31"),
            ("0 0 24 * * *", "`24` is no hour: 0 to 23"),
        ] {
            let error = CronSchedule::parse(text, TimeZone::UTC).unwrap_err().to_string();
            assert!(error.ends_with(said), "{text}: {error}");
        }
    }

    fn cron(text: &str, zone: &str) -> CronSchedule {
        CronSchedule::parse(text, TimeZone::get(zone).unwrap()).unwrap()
    }

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn counting_agrees_with_walking() {
        check("*/7 * * * *", "2026-03-27T10:00:00Z", "2026-03-31T09:13:00Z");
        check("30 2 * * *", "2026-10-20T00:00:00Z", "2026-10-30T00:00:00Z");
        check("*/20 15 4-9 * * *", "2026-03-25T00:00:00Z", "2026-04-02T07:15:20Z");
        check("0 9 15 * MON", "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z");

        fn check(text: &str, from: &str, until: &str) {
            let cron = cron(text, "Europe/Berlin");
            let first = cron.next_after(t(from)).unwrap();
            let until = t(until);
            let walked = cron.walk(first, until + SignedDuration::from_micros(1));
            assert_eq!(cron.count(first, until), walked, "{text}");
        }
    }

    #[test]
    fn a_year_of_seconds_is_counted_not_walked() {
        let cron = cron("* * * * * *", "UTC");
        let first = t("2026-01-01T00:00:00Z");
        let until = t("2026-12-31T23:59:59Z");
        assert_eq!(cron.count(first, until), 365 * 86_400);
    }

    #[test]
    fn previous_is_the_inverse_of_next() {
        let cron = cron("30 2 * * *", "America/New_York");
        let mut at = t("2027-03-10T00:00:00Z");
        for _ in 0..10 {
            let next = cron.next_after(at).unwrap();
            let after = cron.next_after(next).unwrap();
            assert_eq!(cron.prev_before(after, Timestamp::MIN), Some(next));
            at = next;
        }
    }

    #[test]
    fn what_never_fires_or_misleads_is_refused() {
        let parse = |text: &str| CronSchedule::parse(text, TimeZone::UTC).map(|_| ());
        assert_eq!(parse("0 0 31 2 *"), Err(CronError::Never));
        assert!(matches!(parse("*/90 * * * *"), Err(CronError::MisleadingStep { .. })));
        assert!(matches!(parse("0 */24 * * *"), Err(CronError::MisleadingStep { .. })));
        for text in ["0 0 */31 * *", "0 0 1 */12 *", "0 0 * * */7"] {
            assert!(matches!(parse(text), Err(CronError::MisleadingStep { .. })), "{text}");
        }
        assert!(parse("@reboot").unwrap_err().to_string().contains("daemon_started"));
        assert!(matches!(parse("* * * *"), Err(CronError::Syntax(_))));
        assert!(matches!(parse("61 * * * *"), Err(CronError::Syntax(_))));
        assert!(matches!(parse("@every 5m"), Err(CronError::Syntax(_))));
        assert_eq!(parse("0 0 29 2 *"), Ok(()));
        assert_eq!(parse("@daily"), Ok(()));
    }
}
