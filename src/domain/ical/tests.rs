//! Calendars as they are written, and what each is read as.
use super::*;

fn years() -> (Date, Date) {
    (Date::constant(2020, 1, 1), Date::constant(2034, 12, 31))
}

fn calendar(events: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{}\r\nEND:VCALENDAR\r\n", events.trim().replace('\n', "\r\n"))
}

fn periods(events: &str, zone: &str) -> Vec<String> {
    let zone = TimeZone::get(zone).unwrap();
    let events = Events::parse(&calendar(events), years()).unwrap();
    let shown = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
    let line = |period: &Period| format!("{} {} {}", shown(period.from), shown(period.until), period.summary);
    events.periods(&zone).iter().map(line).collect()
}

fn error(text: &str) -> String {
    Events::parse(text, years()).unwrap_err().to_string()
}

/// Rules of all kinds, each with its number of times up to 2034, the sum of their days since 2000, and the first of
/// them, as dateutil has them. Weeks with `BYSETPOS` are left out: dateutil cuts the first week off before the first time.
#[test]
fn rules_come_again_as_in_dateutil() {
    let (mut tried, since) = (0, Date::constant(2000, 1, 1));
    for line in include_str!("rules.txt").lines() {
        let parts: Vec<&str> = line.split(' ').collect();
        let [start, rule, count, sum, first] = parts[..] else { panic!("{line}") };
        let (years, mut left) = ((since, years().1), rule::MAX_DAYS);
        let times = Rule::parse(rule).unwrap().times(start.parse().unwrap(), None, years, &mut left).unwrap();
        let days: Vec<String> = times.iter().take(6).map(|at| at.date().to_string()).collect();
        let total: i64 = times.iter().map(|at| i64::from(at.date().since(since).unwrap().get_days())).sum();
        let found = (times.len().to_string(), total.to_string(), days.join(","));
        assert_eq!(found, (count.to_owned(), sum.to_owned(), first.to_owned()), "{line}");
        tried += 1;
    }
    assert_eq!(tried, 300);
}

#[test]
fn a_day_is_that_of_the_reader_and_a_time_with_a_zone_that_of_the_zone() {
    let events = "BEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261227\nSUMMARY:Christmas\\, both days\n\
                  END:VEVENT\nBEGIN:VEVENT\nDTSTART;TZID=Europe/Berlin:20260701T090000\nDURATION:PT2H\nSUMMARY:Fair\nEND:VEVENT";
    assert_eq!(
        periods(events, "America/New_York"),
        ["2026-07-01 03:00 2026-07-01 05:00 Fair", "2026-12-25 00:00 2026-12-27 00:00 Christmas, both days"]
    );
}

#[test]
fn an_event_comes_again_but_where_it_is_left_out_moved_or_cancelled() {
    let events = "BEGIN:VEVENT\nUID:a\nDTSTART:20260105T100000Z\nDTEND:20260105T110000Z\nRRULE:FREQ=WEEKLY;COUNT=5\n\
                  EXDATE:20260112T100000Z\nSUMMARY:Jour\n  fixe\nEND:VEVENT\n\
                  BEGIN:VEVENT\nUID:a\nRECURRENCE-ID:20260119T100000Z\nDTSTART:20260120T150000Z\nDTEND:20260120T160000Z\n\
                  SUMMARY:Moved\nEND:VEVENT\n\
                  BEGIN:VEVENT\nUID:a\nRECURRENCE-ID:20260126T100000Z\nDTSTART:20260126T100000Z\nSTATUS:CANCELLED\nEND:VEVENT\n\
                  BEGIN:VEVENT\nUID:b\nDTSTART:20260301\nRDATE:20260401,20260501\nSUMMARY:First\nEND:VEVENT";
    assert_eq!(
        periods(events, "UTC"),
        [
            "2026-01-05 10:00 2026-01-05 11:00 Jour fixe",
            "2026-01-20 15:00 2026-01-20 16:00 Moved",
            "2026-02-02 10:00 2026-02-02 11:00 Jour fixe",
            "2026-03-01 00:00 2026-03-02 00:00 First",
            "2026-04-01 00:00 2026-04-02 00:00 First",
            "2026-05-01 00:00 2026-05-02 00:00 First",
        ]
    );
}

#[test]
fn periods_are_in_order_and_apart() {
    let events = "BEGIN:VEVENT\nDTSTART:20260105\nDTEND:20260110\nSUMMARY:Week\nEND:VEVENT\n\
                  BEGIN:VEVENT\nDTSTART:20260107\nDTEND:20260112\nSUMMARY:Later\nEND:VEVENT\n\
                  BEGIN:VEVENT\nDTSTART:20260108\nSUMMARY:Within\nEND:VEVENT";
    assert_eq!(
        periods(events, "UTC"),
        ["2026-01-05 00:00 2026-01-10 00:00 Week", "2026-01-10 00:00 2026-01-12 00:00 Later"]
    );
}

#[test]
fn the_summary_is_one_short_line() {
    let long = "x".repeat(500);
    let events = format!("BEGIN:VEVENT\nDTSTART:20260105\nSUMMARY:a\\nb\u{1b}[31m{long}\nEND:VEVENT");
    let found = &periods(&events, "UTC")[0];
    assert!(!found.contains('\u{1b}') && found.contains("a b [31mxxx") && found.len() < 150, "{found}");
}

#[test]
fn what_is_no_calendar_is_refused_with_its_line() {
    let event = |line: &str| calendar(&format!("BEGIN:VEVENT\nDTSTART:20260101\n{line}\nEND:VEVENT"));
    let cases = [
        ("", "line 1: the file is empty"),
        ("<html>\n", "line 1: `<html>` is not a line of an iCalendar file (NAME:VALUE)"),
        (
            "BEGIN:VCARD\nEND:VCARD\n",
            "line 1: this is not an iCalendar file: it does not begin with BEGIN:VCALENDAR",
        ),
        (
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101\n",
            "line 3: the file ends within VEVENT: it was cut short",
        ),
        ("BEGIN:VCALENDAR\nEND:VEVENT\n", "line 2: END:VEVENT ends nothing that has begun"),
        (&calendar("BEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT"), "line 3: this event has no DTSTART"),
        (
            &event("RRULE:FREQ=HOURLY"),
            "line 5: FREQ=HOURLY is not supported; DAILY is the most frequent that is",
        ),
        (&event("RRULE:FREQ=YEARLY;BYEASTER=1"), "line 5: `BYEASTER` of the RRULE is not supported"),
        (&event("RRULE:FREQ=YEARLY;BYMONTH=13"), "line 5: `BYMONTH=13` of the RRULE is not valid"),
        (
            &event("RRULE:FREQ=WEEKLY;BYDAY=1MO"),
            "line 5: a numbered weekday (BYDAY=1MO) is for FREQ=YEARLY and FREQ=MONTHLY",
        ),
        (&event("RRULE:COUNT=2"), "line 5: the RRULE has no FREQ"),
        (
            &event("DTEND:2026-01-02"),
            "line 5: `2026-01-02` is not a time of an iCalendar file, such as 20261224 or 20261224T180000Z",
        ),
        (&event("DTEND:20251224"), "line 3: this event ends before it begins, or beyond the year 9999"),
        (
            &event("DTSTART;TZID=W. Europe Standard Time:20260101T000000"),
            "line 5: there is no time zone `W. Europe Standard Time` in the IANA database: export the calendar with IANA \
             names such as Europe/Berlin",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn what_other_programs_write_is_understood() {
    let found = |lines: &str| {
        periods(&format!("BEGIN:VEVENT\nUID:a\nSUMMARY:x\n{lines}\nEND:VEVENT"), "Europe/Berlin")
    };
    // a day that ends on itself, and one that never ends
    assert_eq!(found("DTSTART:20261225\nDTEND:20261225"), ["2026-12-25 00:00 2026-12-26 00:00 x"]);
    assert_eq!(found("DTSTART:20261225\nDTEND:99991231").len(), 1);
    // a time in another zone than the event's (RFC 5545, 3.8.5.2)
    let berlin = "DTSTART;TZID=Europe/Berlin:20260301T090000\nDURATION:PT1H\n";
    assert_eq!(
        found(&format!("{berlin}RDATE:20260401T100000Z")),
        ["2026-03-01 09:00 2026-03-01 10:00 x", "2026-04-01 12:00 2026-04-01 13:00 x"]
    );
    let daily = format!("{berlin}RRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260302T080000Z\nEXDATE:20260303T090000");
    assert_eq!(found(&daily), ["2026-03-01 09:00 2026-03-01 10:00 x"]);
    let days = "DTSTART:20261224\nRRULE:FREQ=DAILY;COUNT=2\nEXDATE;TZID=Europe/Berlin:20261225T000000";
    assert_eq!(found(days), ["2026-12-24 00:00 2026-12-25 00:00 x"]);
    // a day by the clock, also where it is set back
    assert_eq!(
        found("DTSTART;TZID=Europe/Berlin:20261024T120000\nDURATION:P1D"),
        ["2026-10-24 12:00 2026-10-25 12:00 x"]
    );
    let zone = "DTSTART;TZID=/freeassociation.sourceforge.net/America/Argentina/Ushuaia:20260301T090000\nDURATION:PT1H";
    assert_eq!(found(zone), ["2026-03-01 13:00 2026-03-01 14:00 x"]);
}

#[test]
fn a_calendar_has_an_upper_bound() {
    let daily = "BEGIN:VEVENT\nDTSTART:20200101\nRRULE:FREQ=DAILY\nEND:VEVENT\n";
    assert!(error(&calendar(&daily.repeat(12))).contains("has more than 50000 events up to this line"));
}

/// Whatever a file says, reading it ends: with the days that its rules look at. A twentieth of them is enough to see it.
#[test]
fn extreme_values_are_read_in_bounded_time() {
    let long = format!("RRULE:FREQ=DAILY;BYYEARDAY={}", vec!["1"; 100_000].join(","));
    let path = format!("DTSTART;TZID={}:20260101T000000", "a/".repeat(500_000));
    for line in [
        &long[..],
        &path,
        "RRULE:FREQ=DAILY;INTERVAL=2147483647",
        "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "RRULE:FREQ=DAILY;COUNT=18446744073709551615",
        "RRULE:FREQ=MONTHLY;BYDAY=5MO;BYSETPOS=-366",
        "DURATION:P9999Y",
        "DTEND:99991231T235959Z",
    ] {
        let text = calendar(&format!("BEGIN:VEVENT\nDTSTART:00010101\n{line}\nEND:VEVENT"));
        if let Ok(events) = Events::parse_within(&text, years(), rule::MAX_DAYS / 20) {
            events.periods(&TimeZone::UTC);
        }
    }
    let mut many = String::new();
    for _ in 0..1000 {
        many.push_str(
            "BEGIN:VEVENT\nDTSTART:00010101\nRRULE:FREQ=DAILY;COUNT=9;BYMONTH=2;BYMONTHDAY=30\nEND:VEVENT\n",
        );
    }
    let refused = Events::parse_within(&calendar(&many), years(), rule::MAX_DAYS / 20);
    assert!(refused.is_err_and(|error| error.to_string().contains("name too many days")));
}
