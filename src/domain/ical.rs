//! iCalendar files (RFC 5545), read as the periods that their events cover.
//!
//! Relevant are the start and end of an event, its recurrences (`RRULE`, `RDATE`, `EXDATE`, `RECURRENCE-ID`), and
//! whether it was cancelled. Its transparency (`TRANSP`) is ignored: holiday calendars mark their events as free
//! time.
mod error;
mod line;
mod rule;

pub use error::CalendarError;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, ToSpan};
use line::{Line, lines};
use rule::Rule;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Maximum number of periods of one calendar.
pub const MOST_PERIODS: usize = 50_000;

/// A time in a calendar: absolute, or local to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Everywhere(Timestamp),
    Local(DateTime),
}

impl Moment {
    fn within(self, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Everywhere(at) => Some(at),
            Self::Local(at) => zone.to_timestamp(at).ok(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    from: Moment,
    until: Moment,
    summary: Arc<str>,
}

/// All occurrences of a calendar's events within some years.
#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    entries: Vec<Entry>,
}

/// A period that an event covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Inclusive start.
    pub from: Timestamp,
    /// Exclusive end.
    pub until: Timestamp,
    /// Title of the event.
    pub summary: Arc<str>,
}

impl Events {
    /// Parses a calendar. Of recurring events, the occurrences that begin within `years` are taken.
    pub fn parse(text: &str, years: (Date, Date)) -> Result<Self, CalendarError> {
        Self::parse_within(text, years, rule::MAX_DAYS)
    }

    /// Does the same with this limit of days that the rules may examine.
    fn parse_within(text: &str, years: (Date, Date), most_days: u64) -> Result<Self, CalendarError> {
        let mut read = Reading { years, left: most_days, ..Reading::default() };
        let mut depth = Vec::new();
        let mut event: Option<Draft> = None;
        let mut begun = false;
        for line in lines(text) {
            let line = line?;
            match (line.name.as_str(), line.value.as_str()) {
                ("BEGIN", part) => {
                    begun |= part == "VCALENDAR";
                    if part == "VEVENT" {
                        event = Some(Draft { line: line.number, ..Draft::default() });
                    }
                    depth.push(part.to_owned());
                }
                ("END", part) => {
                    if depth.pop().as_deref() != Some(part) {
                        return Err(line.error(format!("END:{part} ends nothing that has begun")));
                    }
                    if let ("VEVENT", Some(draft)) = (part, event.take()) {
                        read.take(draft)?;
                    }
                }
                _ => {
                    if let (Some(draft), Some("VEVENT")) = (&mut event, depth.last().map(String::as_str)) {
                        draft.add(&line)?;
                    }
                }
            }
            if !begun {
                return Err(line
                    .error("this is not an iCalendar file: it does not begin with BEGIN:VCALENDAR".into()));
            }
        }
        let end = text.lines().count().max(1);
        if let Some(part) = depth.last() {
            return Err(CalendarError {
                line: end,
                what: format!("the file ends within {part}: it was cut short"),
            });
        }
        if !begun {
            return Err(CalendarError { line: 1, what: "the file is empty".into() });
        }
        read.finish()
    }

    /// Returns the periods that the events cover in `zone`, sorted and disjoint.
    pub fn periods(&self, zone: &TimeZone) -> Vec<Period> {
        let mut all: Vec<Period> = self
            .entries
            .iter()
            .filter_map(|entry| {
                // an end beyond the supported range means no end
                let (from, until) =
                    (entry.from.within(zone)?, entry.until.within(zone).unwrap_or(Timestamp::MAX));
                (from < until).then(|| Period { from, until, summary: entry.summary.clone() })
            })
            .collect();
        all.sort_by_key(|period| (period.from, period.until));
        let mut apart: Vec<Period> = Vec::with_capacity(all.len());
        for mut period in all {
            if let Some(last) = apart.last() {
                period.from = period.from.max(last.until);
            }
            if period.from < period.until {
                apart.push(period);
            }
        }
        apart
    }
}

/// A date or time as written in an event.
#[derive(Clone, Debug, PartialEq)]
struct When {
    at: DateTime,
    /// It is a date, without a time.
    is_day: bool,
    /// `None`: local to the reader.
    zone: Option<TimeZone>,
}

impl When {
    /// Converts to the clock of an event that first begins at `start`; a date gets its time of day.
    fn by_clock_of(&self, start: &Self) -> DateTime {
        let local = match (&self.zone, &start.zone) {
            (Some(own), Some(zone)) if !self.is_day => {
                own.to_timestamp(self.at).map_or(self.at, |at| zone.to_datetime(at))
            }
            _ => self.at,
        };
        if self.is_day || start.is_day { local.date().to_datetime(start.at.time()) } else { local }
    }

    fn moment(&self, at: DateTime) -> Moment {
        match &self.zone {
            Some(zone) => zone.to_timestamp(at).map_or(Moment::Local(at), Moment::Everywhere),
            None => Moment::Local(at),
        }
    }
}

/// A partially parsed event.
#[derive(Default)]
struct Draft {
    line: usize,
    uid: String,
    summary: String,
    start: Option<When>,
    end: Option<When>,
    lasts: Option<Span>,
    rule: Option<(usize, Rule)>,
    also: Vec<When>,
    except: Vec<When>,
    instead_of: Option<When>,
    is_cancelled: bool,
}

impl Draft {
    fn add(&mut self, line: &Line) -> Result<(), CalendarError> {
        match line.name.as_str() {
            "UID" => self.uid.clone_from(&line.value),
            "SUMMARY" => self.summary = line.text(),
            "STATUS" => self.is_cancelled = line.value.eq_ignore_ascii_case("CANCELLED"),
            "DTSTART" => self.start = Some(when(line, &line.value)?),
            "DTEND" => self.end = Some(when(line, &line.value)?),
            "RECURRENCE-ID" if line.param("RANGE").is_some() => {
                return Err(line
                    .error("RECURRENCE-ID with RANGE is not supported: export each event by itself".into()));
            }
            "RECURRENCE-ID" => self.instead_of = Some(when(line, &line.value)?),
            "DURATION" => {
                let lasts = line.value.parse::<Span>();
                self.lasts =
                    Some(lasts.map_err(|_| line.error(format!("`{}` is not a duration", line.value)))?);
            }
            "RRULE" if self.rule.is_some() => {
                return Err(line.error("this event has a second RRULE, which is not supported".into()));
            }
            "RRULE" => {
                let rule = Rule::parse(&line.value).map_err(|what| line.error(what))?;
                self.rule = Some((line.number, rule));
            }
            "EXRULE" => {
                return Err(line.error("EXRULE is not supported (RFC 5545 has done away with it)".into()));
            }
            "RDATE" | "EXDATE" => {
                let list = if line.name == "RDATE" { &mut self.also } else { &mut self.except };
                if line.param("VALUE") == Some("PERIOD") {
                    return Err(line.error(format!("{} of periods is not supported", line.name)));
                }
                for value in line.value.split(',') {
                    list.push(when(line, value)?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[derive(Default)]
struct Reading {
    years: (Date, Date),
    /// Number of days that the rules may still examine.
    left: u64,
    entries: Vec<(String, Moment, Entry)>,
    /// Occurrences replaced by other events: the uid, and the original time.
    replaced: BTreeSet<(String, Moment)>,
}

impl Reading {
    fn take(&mut self, draft: Draft) -> Result<(), CalendarError> {
        let line = draft.line;
        if let Some(of) = &draft.instead_of {
            self.replaced.insert((draft.uid.clone(), of.moment(of.at)));
        }
        if draft.is_cancelled {
            return Ok(());
        }
        let Some(start) = &draft.start else {
            return Err(CalendarError { line, what: "this event has no DTSTART".into() });
        };
        let summary: Arc<str> =
            if draft.summary.is_empty() { "unnamed event".into() } else { draft.summary.into() };
        let except: BTreeSet<DateTime> = draft.except.iter().map(|when| when.by_clock_of(start)).collect();
        let mut times: Vec<DateTime> = match &draft.rule {
            Some((line, rule)) if draft.instead_of.is_none() => {
                let times = rule.times(start.at, start.zone.as_ref(), self.years, &mut self.left);
                let what = "the rules of this calendar name too many days: split it into several".to_owned();
                times.ok_or(CalendarError { line: *line, what })?
            }
            _ => vec![start.at],
        };
        times.extend(draft.also.iter().map(|when| when.by_clock_of(start)));
        times.sort_unstable();
        times.dedup();
        let first = self.years.0;
        for at in times.into_iter().filter(|at| at.date() >= first || draft.rule.is_none()) {
            let from = start.moment(at);
            if except.contains(&at) {
                continue;
            }
            if self.entries.len() == MOST_PERIODS {
                let what = format!(
                    "the calendar has more than {MOST_PERIODS} events up to this line: split it into several"
                );
                return Err(CalendarError { line, what });
            }
            let until = end_of(start, draft.end.as_ref(), draft.lasts, at).ok_or_else(|| CalendarError {
                line,
                what: "this event ends before it begins, or beyond the year 9999".into(),
            })?;
            let entry = Entry { from, until, summary: summary.clone() };
            // a replacement is not replaced itself
            let uid = if draft.instead_of.is_some() { String::new() } else { draft.uid.clone() };
            self.entries.push((uid, from, entry));
        }
        Ok(())
    }

    fn finish(self) -> Result<Events, CalendarError> {
        let Self { entries, replaced, .. } = self;
        let stays = |(uid, from, _): &(String, Moment, Entry)| {
            uid.is_empty() || !replaced.contains(&(uid.clone(), *from))
        };
        Ok(Events { entries: entries.into_iter().filter(stays).map(|(.., entry)| entry).collect() })
    }
}

/// Returns the end of an event that begins at `at`: by `DTEND`, by `DURATION`, or after its day (RFC 5545, 3.6.1).
/// A day that ends on itself counts as one day, since some programs write it so.
fn end_of(start: &When, end: Option<&When>, lasts: Option<Span>, at: DateTime) -> Option<Moment> {
    let from = start.moment(at);
    match (end, lasts) {
        (Some(end), _) if start.is_day && end.at == start.at => {
            Some(start.moment(at.checked_add(1.day()).ok()?))
        }
        (Some(end), _) => {
            let (Moment::Everywhere(begins), Moment::Everywhere(ends)) =
                (start.moment(start.at), end.moment(end.at))
            else {
                let lasts = end.at.duration_since(start.at);
                return after(from, lasts);
            };
            after(from, ends.duration_since(begins))
        }
        // days are calendar days, whatever their length (3.8.5.3)
        (None, Some(lasts)) => {
            let until = at.checked_add(lasts).ok().filter(|until| *until >= at)?;
            Some(start.moment(until))
        }
        (None, None) if start.is_day => Some(start.moment(at.checked_add(1.day()).ok()?)),
        (None, None) => Some(from),
    }
}

fn after(from: Moment, lasts: SignedDuration) -> Option<Moment> {
    if lasts.is_negative() {
        return None;
    }
    match from {
        Moment::Everywhere(at) => at.checked_add(lasts).ok().map(Moment::Everywhere),
        Moment::Local(at) => at.checked_add(lasts).ok().map(Moment::Local),
    }
}

/// Parses `20261225`, `20261225T080000` or `20261225T080000Z`, in the time zone that `TZID` names.
fn when(line: &Line, value: &str) -> Result<When, CalendarError> {
    let value = value.trim();
    let bad = || {
        line.error(format!(
            "`{value}` is not a time of an iCalendar file, such as 20261224 or 20261224T180000Z"
        ))
    };
    if !value.starts_with(|first: char| first.is_ascii_digit()) || value.starts_with("0000") {
        return Err(bad());
    }
    if let Ok(day) = Date::strptime("%Y%m%d", value) {
        return Ok(When { at: day.to_datetime(jiff::civil::Time::midnight()), is_day: true, zone: None });
    }
    let (local, is_utc) = value.strip_suffix('Z').map_or((value, false), |local| (local, true));
    let at = DateTime::strptime("%Y%m%dT%H%M%S", local).map_err(|_| bad())?;
    let zone = match (is_utc, line.param("TZID")) {
        (true, _) => Some(TimeZone::UTC),
        (false, None) => None,
        (false, Some(name)) => Some(zone_named(name).ok_or_else(|| {
            line.error(format!(
                "there is no time zone `{name}` in the IANA database: export the calendar with IANA names such as Europe/Berlin"
            ))
        })?),
    };
    Ok(When { at, is_day: false, zone })
}

/// Returns the time zone for a name in a calendar: an IANA name, alone or at the end of a longer one.
fn zone_named(name: &str) -> Option<TimeZone> {
    let is_start = |at: usize| name[..at].ends_with('/') || at == 0;
    // the longest IANA names have three parts: America/Argentina/Ushuaia
    let starts: Vec<usize> = name.char_indices().map(|(at, _)| at).filter(|at| is_start(*at)).collect();
    starts.iter().rev().take(3).rev().find_map(|at| TimeZone::get(&name[*at..]).ok())
}

#[cfg(test)]
mod tests;
