//! Active times of an agent, at which it may start automatically: hours of the day, and days of calendars.
use super::ical::{Events, Period};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use std::sync::Arc;

/// Maximum number of skips in the search for a slot that may start: with hours, two for each day.
const MAX_SKIPS: usize = 800;

/// A calendar in `[calendars.…]`: days on which agents run, or do not run.
#[derive(Clone, Debug, PartialEq)]
pub struct CalendarSpec {
    /// Hash of the file's content: it can change while the path stays.
    pub digest: String,
    pub events: Events,
}

/// Hours of a day. `until` before `from`: past midnight. Both equal: the whole day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Inclusive start.
    pub from: Time,
    /// Exclusive end; midnight means the end of the day.
    pub until: Time,
}

impl Hours {
    fn has(self, time: Time) -> bool {
        if self.from < self.until {
            self.from <= time && time < self.until
        } else {
            self.from <= time || time < self.until
        }
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let until = self.until.strftime("%H:%M").to_string();
        let until = if self.until == Time::midnight() { "24:00" } else { &until };
        write!(f, "{}-{until}", self.from.strftime("%H:%M"))
    }
}

/// The periods of a calendar, resolved for one time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedPeriods {
    /// Name of its `[calendars.…]` table.
    pub name: Arc<str>,
    pub digest: String,
    /// Sorted and disjoint.
    pub periods: Vec<Period>,
}

impl NamedPeriods {
    /// Returns the event that covers an instant, if any, and until when this holds.
    fn at(&self, at: Timestamp) -> (Option<&Period>, Timestamp) {
        let next = self.periods.partition_point(|period| period.until <= at);
        match self.periods.get(next) {
            Some(period) if period.from <= at => (Some(period), period.until),
            Some(period) => (None, period.from),
            None => (None, Timestamp::MAX),
        }
    }
}

/// When an agent may start automatically. A slot at any other time is skipped, with a cause.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveTimes {
    /// Time zone of the hours.
    pub zone: TimeZone,
    /// Only within these hours.
    pub hours: Option<Hours>,
    /// Never within an event of these calendars.
    pub except: Vec<Arc<NamedPeriods>>,
    /// Only within an event of one of these calendars; empty: at any time.
    pub only: Vec<Arc<NamedPeriods>>,
}

impl ActiveTimes {
    /// Returns why nothing may start at an instant, if so; and an instant until which this holds.
    pub fn at(&self, at: Timestamp) -> (Option<String>, Timestamp) {
        let mut until = Timestamp::MAX;
        let mut cause = None;
        for calendar in &self.except {
            let (event, holds) = calendar.at(at);
            until = until.min(holds);
            if let Some(event) = event {
                cause.get_or_insert_with(|| format!("calendar {}: {}", calendar.name, event.summary));
            }
        }
        let mut is_named = self.only.is_empty();
        for calendar in &self.only {
            let (event, holds) = calendar.at(at);
            until = until.min(holds);
            is_named |= event.is_some();
        }
        if !is_named {
            cause.get_or_insert_with(|| {
                let names: Vec<&str> = self.only.iter().map(|calendar| &*calendar.name).collect();
                let word = if names.len() == 1 { "calendar" } else { "the calendars" };
                format!("outside of {word} {}", names.join(", "))
            });
        }
        if let Some(hours) = self.hours {
            let (is_within, holds) = self.within(hours, at);
            until = until.min(holds);
            if !is_within {
                cause.get_or_insert_with(|| format!("outside of its active hours, {hours}"));
            }
        }
        (cause, until)
    }

    /// Returns whether an instant is within these hours, and an instant until which this holds.
    fn within(&self, hours: Hours, at: Timestamp) -> (bool, Timestamp) {
        let local = at.to_zoned(self.zone.clone());
        let is_within = hours.has(local.time());
        // the UTC offset may change before either end
        let change = self.zone.following(at).next().map(|change| change.timestamp());
        let ends = (0..=2).flat_map(|days| {
            let day = local.date().checked_add(days.days()).ok();
            [hours.from, hours.until].into_iter().filter_map(move |time| Some(day?.to_datetime(time)))
        });
        let ends = ends.flat_map(|end| {
            // when the clock is set back, a local time occurs twice
            let both = self.zone.to_ambiguous_timestamp(end);
            [both.earlier(), both.later()].into_iter().flatten()
        });
        let holds = ends.chain(change).filter(|end| *end > at).min().unwrap_or(Timestamp::MAX);
        (is_within, holds)
    }

    /// Returns the first slot from `slot` on that may start; `None` if it is too far ahead. `next_after` returns
    /// the slot after an instant.
    pub fn first_active(
        &self,
        next_after: impl Fn(Timestamp) -> Option<Timestamp>,
        slot: Timestamp,
    ) -> Option<Timestamp> {
        let mut slot = slot;
        for _ in 0..MAX_SKIPS {
            match self.at(slot) {
                (None, _) => return Some(slot),
                (Some(_), until) if until == Timestamp::MAX => return None,
                (Some(_), until) => slot = next_after(until - SignedDuration::from_micros(1))?,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{Date, time};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn berlin(hours: Option<(Time, Time)>) -> ActiveTimes {
        ActiveTimes {
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            hours: hours.map(|(from, until)| Hours { from, until }),
            except: Vec::new(),
            only: Vec::new(),
        }
    }

    fn named(name: &str, events: &str) -> Arc<NamedPeriods> {
        let text = format!("BEGIN:VCALENDAR\n{events}END:VCALENDAR\n");
        let years = (Date::constant(2020, 1, 1), Date::constant(2030, 1, 1));
        let periods = Events::parse(&text, years).unwrap().periods(&TimeZone::get("Europe/Berlin").unwrap());
        Arc::new(NamedPeriods { name: name.into(), digest: String::new(), periods })
    }

    #[test]
    fn hours_hold_by_the_local_clock_and_over_midnight() {
        let day = berlin(Some((time(7, 0, 0, 0), time(22, 0, 0, 0))));
        assert_eq!(day.at(at("2026-07-01T05:00:00Z")), (None, at("2026-07-01T20:00:00Z")));
        let (cause, until) = day.at(at("2026-07-01T20:00:00Z"));
        assert_eq!(cause.as_deref(), Some("outside of its active hours, 07:00-22:00"));
        assert_eq!(until, at("2026-07-02T05:00:00Z"));
        let night = berlin(Some((time(22, 0, 0, 0), time(6, 0, 0, 0))));
        assert_eq!(night.at(at("2026-07-01T21:59:00Z")), (None, at("2026-07-02T04:00:00Z")));
        assert!(night.at(at("2026-07-01T12:00:00Z")).0.is_some());
        let late = berlin(Some((time(18, 0, 0, 0), time(0, 0, 0, 0))));
        assert_eq!(late.at(at("2026-07-01T17:00:00Z")), (None, at("2026-07-01T22:00:00Z")));
        assert_eq!(
            late.at(at("2026-07-01T22:00:00Z")).0.unwrap(),
            "outside of its active hours, 18:00-24:00"
        );
    }

    /// What holds up to an instant holds at each one before it, also where the clock is changed.
    #[test]
    fn what_is_said_of_a_time_holds_until_then() {
        let mut times = berlin(Some((time(2, 15, 0, 0), time(2, 45, 0, 0))));
        let day = "BEGIN:VEVENT\nDTSTART:20261025\nSUMMARY:Change\nEND:VEVENT\n";
        for with_calendar in [false, true] {
            if with_calendar {
                times.except.push(named("de", day));
            }
            for start in ["2026-10-23T00:00:00Z", "2027-03-26T00:00:00Z"] {
                let (mut now, mut until, mut said) = (at(start), at(start), None);
                for _ in 0..4 * 24 * 12 {
                    if now >= until {
                        (said, until) = times.at(now);
                        assert!(until > now);
                    }
                    assert_eq!(times.at(now).0, said, "{now}");
                    now += SignedDuration::from_mins(5);
                }
            }
        }
    }

    #[test]
    fn calendars_keep_from_their_days_or_to_them() {
        let holidays =
            named("de", "BEGIN:VEVENT\nDTSTART:20261225\nDTEND:20261227\nSUMMARY:Christmas\nEND:VEVENT\n");
        let mut times = berlin(None);
        times.except.push(holidays.clone());
        assert_eq!(
            times.at(at("2026-12-25T12:00:00Z")),
            (Some("calendar de: Christmas".into()), at("2026-12-26T23:00:00Z"))
        );
        assert_eq!(times.at(at("2026-12-01T12:00:00Z")), (None, at("2026-12-24T23:00:00Z")));
        let mut times = berlin(None);
        times.only.push(holidays);
        assert_eq!(times.at(at("2026-12-25T12:00:00Z")).0, None);
        assert_eq!(
            times.at(at("2026-12-27T12:00:00Z")),
            (Some("outside of calendar de".into()), Timestamp::MAX)
        );
    }

    #[test]
    fn the_next_slot_that_may_start_is_found_past_the_others() {
        let each_second = |after: Timestamp| Timestamp::from_second(after.as_second() + 1).ok();
        let mut times = berlin(Some((time(7, 0, 0, 0), time(22, 0, 0, 0))));
        times
            .except
            .push(named("de", "BEGIN:VEVENT\nDTSTART:20261225\nDTEND:20261227\nSUMMARY:X\nEND:VEVENT\n"));
        let first = times.first_active(each_second, at("2026-12-24T21:00:00Z"));
        assert_eq!(first, Some(at("2026-12-27T06:00:00Z")));
        times.only.push(named("none", ""));
        assert_eq!(times.first_active(each_second, at("2026-12-24T00:00:00Z")), None);
    }
}
