//! Cron against an oracle that knows no cron library: a clerk who walks the minutes of a clock on
//! the wall, as crontab(5) and cron(8) describe it.
//!
//! `cron(8)`, on local time changes of less than three hours: jobs with a wildcard in minute or
//! hour run by the time that the clock shows. All other jobs are run once for each local minute:
//! soon after a change forward for those minutes that it skipped, and not again for those that a
//! change back repeats.
use bgagent::domain::CronSchedule;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// One expression of five fields, read by our own rules.
pub struct Oracle {
    minutes: Vec<bool>,
    hours: Vec<bool>,
    days: Vec<bool>,
    months: Vec<bool>,
    weekdays: Vec<bool>,
    /// A wildcard in the day of month or the day of week: then both must match, else one.
    both: bool,
    /// A wildcard in minute or hour.
    wild: bool,
}

impl Oracle {
    pub fn read(expression: &str) -> Self {
        let fields: Vec<&str> = expression.split(' ').collect();
        assert_eq!(fields.len(), 5, "{expression}");
        let star = |n: usize| fields[n].starts_with('*');
        let mut weekdays = field(fields[4], 0, 7, &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], 0);
        weekdays[0] |= weekdays[7];
        const MONTHS: [&str; 12] =
            ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
        Self {
            minutes: field(fields[0], 0, 59, &[], 0),
            hours: field(fields[1], 0, 23, &[], 0),
            days: field(fields[2], 1, 31, &[], 0),
            months: field(fields[3], 1, 12, &MONTHS, 1),
            weekdays,
            both: star(2) || star(4),
            wild: star(0) || star(1),
        }
    }

    fn has_day(&self, date: Date) -> bool {
        let day = self.days[date.day() as usize];
        let weekday = self.weekdays[date.weekday().to_sunday_zero_offset() as usize];
        self.months[date.month() as usize] && if self.both { day && weekday } else { day || weekday }
    }

    /// The instants in `from..until`; both are whole minutes. Nothing of a change of the clock may
    /// be going on at `from`.
    pub fn instants(&self, walls: &[Wall]) -> Vec<Timestamp> {
        let mut found = Vec::new();
        let mut caught_up = walls[0].local - 1;
        for wall in walls {
            let fires = if self.wild || caught_up + 1 == wall.local {
                self.has(wall.local)
            } else {
                (caught_up + 1..=wall.local).any(|skipped| self.has(skipped))
            };
            caught_up = caught_up.max(wall.local);
            if fires {
                found.push(wall.at);
            }
        }
        found
    }

    /// Does it name this local minute, counted from the epoch?
    fn has(&self, minute: i64) -> bool {
        let of_day = minute.rem_euclid(1440) as usize;
        self.minutes[of_day % 60] && self.hours[of_day / 60] && self.has_day(date_of(minute.div_euclid(1440)))
    }
}

/// What a clock on the wall shows at one instant.
pub struct Wall {
    at: Timestamp,
    /// Minutes of local time since the epoch.
    local: i64,
}

/// Each minute of `from..until` as a clock in `zone` shows it. Offsets change at full quarters of
/// an hour only, in all zones that are asked for.
pub fn walls(zone: &TimeZone, from: Timestamp, until: Timestamp) -> Vec<Wall> {
    let (first, last) = (from.as_second() / 60, until.as_second() / 60);
    let mut offset = 0;
    (first..last)
        .map(|minute| {
            let at = Timestamp::from_second(minute * 60).unwrap();
            if minute == first || minute % 15 == 0 {
                offset = i64::from(zone.to_offset(at).seconds());
            }
            Wall { at, local: minute + offset.div_euclid(60) }
        })
        .collect()
}

fn date_of(day: i64) -> Date {
    Timestamp::from_second(day * 86_400).unwrap().to_zoned(TimeZone::UTC).date()
}

fn field(text: &str, low: usize, high: usize, names: &[&str], first_name: usize) -> Vec<bool> {
    let number = |text: &str| {
        names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text))
            .map_or_else(|| text.parse().unwrap(), |at| at + first_name)
    };
    let mut set = vec![false; high + 1];
    for part in text.split(',') {
        let (range, step) =
            part.split_once('/').map_or((part, 1), |(range, step)| (range, step.parse().unwrap()));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from), number(to)),
            None if range == "*" => (low, high),
            None => (number(range), number(range)),
        };
        (from..=to).step_by(step).for_each(|value| set[value] = true);
    }
    set
}

fn cron(text: &str, zone: &str) -> CronSchedule {
    CronSchedule::parse(text, TimeZone::get(zone).unwrap()).unwrap()
}

fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The instants of `cron` in `from..until`.
fn instants(cron: &CronSchedule, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    std::iter::successors(cron.next_after(from - SignedDuration::from_secs(1)), |at| cron.next_after(*at))
        .take_while(|at| *at < until)
        .collect()
}

#[test]
fn weekdays_count_from_sunday() {
    let days = |text: &str| {
        let at = instants(&cron(text, "UTC"), t("2026-11-01T00:00:00Z"), t("2026-11-15T00:00:00Z"));
        at.iter().map(|at| at.to_zoned(TimeZone::UTC).weekday().to_sunday_zero_offset()).collect::<Vec<_>>()
    };
    assert_eq!(days("0 9 * * 1-5"), [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
    assert_eq!(days("0 9 * * MON-FRI"), days("0 9 * * 1-5"));
    assert_eq!(days("0 9 * * 0"), [0, 0]);
    assert_eq!(days("0 9 * * 7"), [0, 0]);
}

#[test]
fn day_of_month_or_day_of_week() {
    let days = |text: &str| {
        let at = instants(&cron(text, "UTC"), t("2026-11-01T00:00:00Z"), t("2026-12-01T00:00:00Z"));
        at.iter().map(|at| at.to_zoned(TimeZone::UTC).day()).collect::<Vec<_>>()
    };
    assert_eq!(days("0 9 15 * MON"), [2, 9, 15, 16, 23, 30]);
    assert_eq!(days("0 9 * * MON"), [2, 9, 16, 23, 30]);
    // a step on a wildcard restricts nothing, so both must match
    assert_eq!(days("0 9 */2 * MON"), [9, 23]);
    assert_eq!(days("0 9 1 * */3"), [1]);
}

#[test]
fn a_fixed_time_that_is_skipped_fires_right_after_the_gap() {
    let at = |text: &str| {
        instants(&cron(text, "America/New_York"), t("2027-03-14T05:00:00Z"), t("2027-03-15T04:00:00Z"))
    };
    assert_eq!(at("30 2 * * *"), [t("2027-03-14T03:00:00-04:00")]);
    assert_eq!(at("0,30 2,3 * * *"), [t("2027-03-14T03:00:00-04:00"), t("2027-03-14T03:30:00-04:00")]);
    assert_eq!(at("*/30 2 * * *"), [], "a wildcard follows the clock on the wall");
}

#[test]
fn a_fixed_time_that_is_repeated_fires_once() {
    let at = |text: &str| {
        instants(&cron(text, "America/New_York"), t("2026-11-01T04:00:00Z"), t("2026-11-01T08:00:00Z"))
    };
    assert_eq!(at("30 1 * * *"), [t("2026-11-01T01:30:00-04:00")]);
    assert_eq!(at("15,45 1 * * *"), [t("2026-11-01T01:15:00-04:00"), t("2026-11-01T01:45:00-04:00")]);
}

#[test]
fn a_wildcard_keeps_going_through_a_repeated_hour() {
    let cron = cron("*/30 * * * *", "America/New_York");
    let at = instants(&cron, t("2026-11-01T04:00:00Z"), t("2026-11-01T08:00:00Z"));
    assert_eq!(at.len(), 8);
    assert!(at.windows(2).all(|pair| pair[1].duration_since(pair[0]) == SignedDuration::from_mins(30)));
}

#[test]
fn what_misleads_or_never_fires_is_refused() {
    let parse =
        |text: &str| CronSchedule::parse(text, TimeZone::UTC).map(|_| ()).map_err(|error| error.to_string());
    assert!(parse("*/90 * * * *").unwrap_err().contains("restarts at each hour"));
    assert_eq!(parse("0 9 31 2 *"), Err("never fires".into()));
    assert_eq!(parse("0 9 29 2 *"), Ok(()));
}

#[test]
fn the_oracle_can_tell_right_from_wrong() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let (from, until) = (t("2026-10-24T00:00:00Z"), t("2026-10-27T00:00:00Z"));
    let twice = instants(&cron("*/30 2 * * *", "Europe/Berlin"), from, until);
    let once = Oracle::read("0,30 2 * * *").instants(&walls(&zone, from, until));
    assert_eq!((twice.len(), once.len()), (8, 6));
}

#[test]
fn ten_years_in_six_zones_agree_with_the_oracle() {
    const ZONES: [&str; 6] = [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "Africa/Casablanca",
        "Pacific/Auckland",
    ];
    /// Few instants a day: asked on all days that are looked at.
    const SPARSE: [&str; 27] = [
        "0 9 * * MON-FRI",
        "30 2 * * *",
        "0 3 * * *",
        "59 1 * * *",
        "0 0 * * *",
        "5 0 1 * *",
        "0 9 15 * MON",
        "0 12 */2 * MON",
        "0 12 1-7 * */2",
        "15,45 1 * * *",
        "0,30 2,3 * * *",
        "10 1-3 * * *",
        "0 0-6/2 * * *",
        "30 1 * * SUN",
        "30 2 * * 7",
        "0 2 29 2 *",
        "0 22 * 3,9-11 *",
        "45 23 31 * *",
        "20 4 * JAN-JUN 1",
        "0 0 13 * 5",
        "*/20 2 * * *",
        "*/30 1 * * *",
        "7 */6 * * *",
        "0 * * * SAT",
        "30 * 1 * *",
        "0 */3 1,15 * 3",
        "15 2-2 * * *",
    ];
    /// Many instants a day: asked around changes of the clock.
    const DENSE: [&str; 9] = [
        "* * * * *",
        "*/5 * * * *",
        "*/7 * * * *",
        "0-59/10 * * * *",
        "3-58/11 0-23 * * *",
        "*/15 1-4 * * *",
        "1,2,58,59 * * * *",
        "0-30 2 * * *",
        "* 0-3 * * *",
    ];
    let (mut cases, mut differences) = (0, Vec::new());
    for name in ZONES {
        let zone = TimeZone::get(name).unwrap();
        let (begin, end) = (t("2020-01-01T00:00:00Z"), t("2030-01-01T00:00:00Z"));
        let changes: Vec<Timestamp> = zone
            .following(begin)
            .map(|change| change.timestamp())
            .take_while(|change| *change < end)
            .collect();
        let mut windows: Vec<(Timestamp, Timestamp, bool)> = changes
            .iter()
            .map(|at| (*at - SignedDuration::from_hours(30), *at + SignedDuration::from_hours(30), true))
            .collect();
        let mut day = begin;
        while day < end {
            let far = |change: &Timestamp| change.duration_since(day).abs() > SignedDuration::from_hours(72);
            if changes.iter().all(far) {
                windows.push((day, day + SignedDuration::from_hours(24), false));
            }
            day += SignedDuration::from_hours(24 * 13);
        }
        let read =
            |text: &'static str| (text, Oracle::read(text), CronSchedule::parse(text, zone.clone()).unwrap());
        let sparse: Vec<_> = SPARSE.into_iter().map(read).collect();
        let dense: Vec<_> = DENSE.into_iter().map(read).collect();
        for (from, until, changing) in windows {
            let walls = walls(&zone, from, until);
            for (text, oracle, cron) in sparse.iter().chain(dense.iter().filter(|_| changing)) {
                let expected = oracle.instants(&walls);
                let got = instants(cron, from, until);
                cases += expected.len() + 1;
                if got != expected {
                    differences
                        .push(format!("{text} in {name} from {from}: {got:?}, the oracle says {expected:?}"));
                }
                let (Some(first), Some(last)) = (expected.first(), expected.last()) else { continue };
                if cron.count(*first, *last) != expected.len() as u64
                    || cron.prev_before(until, from) != Some(*last)
                {
                    differences
                        .push(format!("{text} in {name} from {from}: counted or found backwards otherwise"));
                }
            }
        }
    }
    println!("oracle cases: {cases}, differences: {}", differences.len());
    assert!(differences.is_empty(), "{}", differences[..differences.len().min(20)].join("\n"));
}
