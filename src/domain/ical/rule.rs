//! Rules by which an event comes again (RFC 5545, 3.3.10), as far as they name days. What they mean where the standard
//! leaves it open is as in dateutil: the first time counts only if the rule names it.
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use std::str::FromStr;

/// No rule is followed past so many times: none of a calendar of days has them.
const MOST_TIMES: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Every {
    Year,
    Month,
    Week,
    Day,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Never,
    After(usize),
    /// By the clock of the event.
    Local(DateTime),
    Instant(Timestamp),
}

/// When an event comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    every: Every,
    interval: i32,
    end: End,
    months: Vec<i8>,
    year_days: Vec<i16>,
    month_days: Vec<i8>,
    weekdays: Vec<(i8, Weekday)>,
    positions: Vec<i32>,
    week_start: Weekday,
}

impl Rule {
    /// Reads the value of an `RRULE`. What can't be followed is refused: a rule that is followed in part would be
    /// another one.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut rule = Self {
            every: Every::Day,
            interval: 1,
            end: End::Never,
            months: Vec::new(),
            year_days: Vec::new(),
            month_days: Vec::new(),
            weekdays: Vec::new(),
            positions: Vec::new(),
            week_start: Weekday::Monday,
        };
        let mut has_freq = false;
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (name, value) =
                part.split_once('=').ok_or_else(|| format!("`{part}` of the RRULE is not NAME=VALUE"))?;
            let (name, value) = (name.trim().to_ascii_uppercase(), value.trim().to_ascii_uppercase());
            let bad = || format!("`{name}={value}` of the RRULE is not valid");
            match name.as_str() {
                "FREQ" => {
                    has_freq = true;
                    rule.every = match value.as_str() {
                        "YEARLY" => Every::Year,
                        "MONTHLY" => Every::Month,
                        "WEEKLY" => Every::Week,
                        "DAILY" => Every::Day,
                        _ => {
                            return Err(format!(
                                "an event that comes FREQ={value} is not supported: DAILY is the most often"
                            ));
                        }
                    };
                }
                "INTERVAL" => rule.interval = value.parse().ok().filter(|n| *n > 0).ok_or_else(bad)?,
                "COUNT" => rule.end = End::After(value.parse().ok().filter(|n| *n > 0).ok_or_else(bad)?),
                "UNTIL" => rule.end = until(&value).ok_or_else(bad)?,
                "WKST" => rule.week_start = weekday(&value).ok_or_else(bad)?,
                "BYMONTH" => rule.months = numbers(&value, 1, 12).ok_or_else(bad)?,
                "BYYEARDAY" => rule.year_days = numbers(&value, -366, 366).ok_or_else(bad)?,
                "BYMONTHDAY" => rule.month_days = numbers(&value, -31, 31).ok_or_else(bad)?,
                "BYSETPOS" => rule.positions = numbers(&value, -366, 366).ok_or_else(bad)?,
                "BYDAY" => {
                    rule.weekdays =
                        value.split(',').map(nth_weekday).collect::<Option<_>>().ok_or_else(bad)?;
                }
                _ => return Err(format!("`{name}` of the RRULE is not supported")),
            }
        }
        if !has_freq {
            return Err("the RRULE has no FREQ".into());
        }
        let has_nth = rule.weekdays.iter().any(|(nth, _)| *nth != 0);
        if has_nth && !matches!(rule.every, Every::Year | Every::Month) {
            return Err("a numbered weekday (BYDAY=1MO) is for FREQ=YEARLY and FREQ=MONTHLY".into());
        }
        Ok(rule)
    }

    /// The times within `years` of an event that begins first at `start`, by the clock of `zone`.
    pub(super) fn times(
        &self,
        start: DateTime,
        zone: Option<&TimeZone>,
        years: (Date, Date),
    ) -> Vec<DateTime> {
        let (first_day, last) = years;
        let mut all = Vec::new();
        let (mut nth, mut count) = (0, 0);
        while let Some((first, days)) = self.period(start.date(), nth).filter(|(first, _)| *first <= last) {
            nth += 1;
            for day in self.chosen(start.date(), first, days) {
                let at = day.to_datetime(start.time());
                if at < start {
                    continue;
                }
                let is_over = match self.end {
                    End::Never => false,
                    End::After(most) => count >= most,
                    End::Local(until) => at > until,
                    End::Instant(until) => {
                        zone.unwrap_or(&TimeZone::UTC).to_timestamp(at).is_ok_and(|at| at > until)
                    }
                };
                if is_over || day > last || all.len() == MOST_TIMES {
                    return all;
                }
                count += 1;
                if day >= first_day {
                    all.push(at);
                }
            }
        }
        all
    }

    /// The first day of a period of the rule, and how many it has; none past the end of the calendar.
    fn period(&self, start: Date, nth: i32) -> Option<(Date, i32)> {
        let step = self.interval.checked_mul(nth)?;
        let later = |from: Date, step: Result<Span, jiff::Error>| from.checked_add(step.ok()?).ok();
        let found = match self.every {
            Every::Year => {
                let first = later(start.first_of_year(), Span::new().try_years(step))?;
                (first, i32::from(first.days_in_year()))
            }
            Every::Month => {
                let first = later(start.first_of_month(), Span::new().try_months(step))?;
                (first, i32::from(first.days_in_month()))
            }
            Every::Week => {
                let since = start.weekday().since(self.week_start);
                let first = start.checked_sub(i32::from(since).days()).ok()?;
                (later(first, Span::new().try_weeks(step))?, 7)
            }
            Every::Day => (later(start, Span::new().try_days(step))?, 1),
        };
        Some(found)
    }

    /// The days of a period that the rule names.
    fn chosen(&self, start: Date, first: Date, days: i32) -> Vec<Date> {
        let all = (0..days).filter_map(|nth| first.checked_add(nth.days()).ok());
        let named: Vec<Date> = all.filter(|day| self.names(start, *day)).collect();
        if self.positions.is_empty() {
            return named;
        }
        let count = named.len() as i32;
        let mut at: Vec<i32> =
            self.positions.iter().map(|nth| if *nth > 0 { nth - 1 } else { count + nth }).collect();
        at.sort_unstable();
        at.dedup();
        at.into_iter().filter_map(|nth| named.get(usize::try_from(nth).ok()?).copied()).collect()
    }

    fn names(&self, start: Date, day: Date) -> bool {
        let is_open = self.year_days.is_empty() && self.month_days.is_empty() && self.weekdays.is_empty();
        let months_fit = match self.every {
            Every::Year if is_open && self.months.is_empty() => day.month() == start.month(),
            _ => self.months.is_empty() || self.months.contains(&day.month()),
        };
        let days_fit = match self.every {
            Every::Year | Every::Month if is_open => day.day() == start.day(),
            Every::Week if is_open => day.weekday() == start.weekday(),
            _ => true,
        };
        let from_end = |nth: i16, of: i16| if nth < 0 { of + 1 + nth } else { nth };
        let is_year_day = |nth: &i16| from_end(*nth, day.days_in_year()) == day.day_of_year();
        let is_month_day =
            |nth: &i8| from_end(i16::from(*nth), i16::from(day.days_in_month())) == i16::from(day.day());
        months_fit
            && days_fit
            && (self.year_days.is_empty() || self.year_days.iter().any(is_year_day))
            && (self.month_days.is_empty() || self.month_days.iter().any(is_month_day))
            && (self.weekdays.is_empty() || self.weekdays.iter().any(|of| self.is_weekday(*of, day)))
    }

    /// Is it that weekday, counted within its year or its month?
    fn is_weekday(&self, (nth, weekday): (i8, Weekday), day: Date) -> bool {
        if day.weekday() != weekday {
            return false;
        }
        let (at, of) = match self.every {
            Every::Year if self.months.is_empty() => (day.day_of_year(), day.days_in_year()),
            _ => (i16::from(day.day()), i16::from(day.days_in_month())),
        };
        match nth {
            0 => true,
            nth if nth > 0 => (at - 1) / 7 + 1 == i16::from(nth),
            nth => (of - at) / 7 + 1 == -i16::from(nth),
        }
    }
}

fn until(value: &str) -> Option<End> {
    if let Ok(day) = Date::strptime("%Y%m%d", value) {
        return Some(End::Local(day.to_datetime(jiff::civil::Time::MAX)));
    }
    let (local, is_utc) = value.strip_suffix('Z').map_or((value, false), |local| (local, true));
    let at = DateTime::strptime("%Y%m%dT%H%M%S", local).ok()?;
    match is_utc {
        true => TimeZone::UTC.to_timestamp(at).ok().map(End::Instant),
        false => Some(End::Local(at)),
    }
}

fn numbers<T: FromStr + TryFrom<i64> + Copy + Into<i64>>(
    value: &str,
    least: i64,
    most: i64,
) -> Option<Vec<T>> {
    let number = |text: &str| {
        let number: T = text.trim().trim_start_matches('+').parse().ok()?;
        let value: i64 = number.into();
        (value != 0 && (least..=most).contains(&value)).then_some(number)
    };
    value.split(',').map(number).collect()
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    })
}

/// `MO`, `1MO`, `-1SU`: the number, 0 for each.
fn nth_weekday(text: &str) -> Option<(i8, Weekday)> {
    let text = text.trim();
    let at = text.len().checked_sub(2).filter(|at| text.is_char_boundary(*at))?;
    let (nth, day) = text.split_at(at);
    let nth = match nth {
        "" => 0,
        nth => nth.trim_start_matches('+').parse().ok().filter(|n: &i8| *n != 0 && n.unsigned_abs() <= 53)?,
    };
    Some((nth, weekday(day)?))
}
