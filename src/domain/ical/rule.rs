//! Recurrence rules of events (RFC 5545, 3.3.10), as far as they select days. Where the standard leaves the meaning
//! open, it is as in dateutil: the first time counts only if the rule matches it.
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use std::str::FromStr;

/// Maximum number of days that the rules of one calendar may examine in total.
pub(super) const MAX_DAYS: u64 = 20_000_000;

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

/// A recurrence rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    every: Every,
    interval: i32,
    end: End,
    months: Vec<i8>,
    year_days: Vec<i16>,
    month_days: Vec<i16>,
    /// Ordinal of a weekday (0: each), and the weekday from Monday on.
    weekdays: Vec<(i16, i8)>,
    positions: Vec<i32>,
    week_start: Weekday,
}

impl Rule {
    /// Parses the value of an `RRULE`. Unsupported parts are rejected: following a rule in part would change its
    /// meaning.
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
                                "FREQ={value} is not supported; DAILY is the most frequent that is"
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
        rule.year_days.sort_unstable();
        rule.month_days.sort_unstable();
        rule.weekdays.sort_unstable();
        rule.positions.sort_unstable();
        rule.positions.dedup();
        let has_nth = rule.weekdays.iter().any(|(nth, _)| *nth != 0);
        if has_nth && !matches!(rule.every, Every::Year | Every::Month) {
            return Err("a numbered weekday (BYDAY=1MO) is for FREQ=YEARLY and FREQ=MONTHLY".into());
        }
        Ok(rule)
    }

    /// Returns the occurrences within `years` of an event that first begins at `start`, by the clock of `zone`.
    /// Each day examined is subtracted from `left`; `None`: too many.
    pub(super) fn times(
        &self,
        start: DateTime,
        zone: Option<&TimeZone>,
        years: (Date, Date),
        left: &mut u64,
    ) -> Option<Vec<DateTime>> {
        let (first_day, last) = years;
        let mut all = Vec::new();
        let (mut nth, mut count) = (self.first_period(start.date(), first_day), 0);
        while let Some((first, days)) = self.period(start.date(), nth).filter(|(first, _)| *first <= last) {
            nth += 1;
            *left = left.checked_sub(days.unsigned_abs().into())?;
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
                if is_over || day > last {
                    return Some(all);
                }
                count += 1;
                if day >= first_day {
                    all.push(at);
                }
            }
        }
        Some(all)
    }

    /// Returns the first period that can contain occurrences from `from` on. A rule with a count must start at its
    /// beginning.
    fn first_period(&self, start: Date, from: Date) -> i32 {
        if matches!(self.end, End::After(_)) || from <= start {
            return 0;
        }
        let days = start.until(from).map_or(0, |span| span.get_days());
        let step = match self.every {
            Every::Year => 366,
            Every::Month => 31,
            Every::Week => 7,
            Every::Day => 1,
        };
        (days / step / self.interval - 1).max(0)
    }

    /// Returns the first day of a period of the rule, and its number of days; `None` past the supported range.
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

    /// Returns the days of a period that the rule selects.
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
        let (year, month) = (day.days_in_year(), i16::from(day.days_in_month()));
        let (of_year, of_month) = (day.day_of_year(), i16::from(day.day()));
        // the lists are sorted, since they may be long
        let has = |list: &[i16], at: i16, of: i16| {
            list.is_empty() || list.binary_search(&at).is_ok() || list.binary_search(&(at - of - 1)).is_ok()
        };
        months_fit
            && days_fit
            && has(&self.year_days, of_year, year)
            && has(&self.month_days, of_month, month)
            && (self.weekdays.is_empty() || self.is_weekday(day))
    }

    /// Returns whether the day is one of the weekdays, counted within its year or its month.
    fn is_weekday(&self, day: Date) -> bool {
        let (at, of) = match self.every {
            Every::Year if self.months.is_empty() => (day.day_of_year(), day.days_in_year()),
            _ => (i16::from(day.day()), i16::from(day.days_in_month())),
        };
        let (nth, from_end) = ((at - 1) / 7 + 1, -((of - at) / 7 + 1));
        let weekday = day.weekday().to_monday_zero_offset();
        [0, nth, from_end].iter().any(|nth| self.weekdays.binary_search(&(*nth, weekday)).is_ok())
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

/// Parses `MO`, `1MO`, `-1SU`: the ordinal (0 for each) and the weekday.
fn nth_weekday(text: &str) -> Option<(i16, i8)> {
    let text = text.trim();
    let at = text.len().checked_sub(2).filter(|at| text.is_char_boundary(*at))?;
    let (nth, day) = text.split_at(at);
    let nth = match nth {
        "" => 0,
        nth => {
            nth.trim_start_matches('+').parse().ok().filter(|n: &i16| *n != 0 && n.unsigned_abs() <= 53)?
        }
    };
    Some((nth, weekday(day)?.to_monday_zero_offset()))
}
