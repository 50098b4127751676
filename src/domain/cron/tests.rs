//! Counting, reading, and what is refused.
use super::*;

#[test]
fn the_field_that_is_wrong_is_named() {
    for (text, said) in [
        ("61 * * * *", "`61` is not a valid minute: 0 to 59"),
        ("0 9 * * MON-FRY", "`MON-FRY` is not a valid weekday: 0 to 7 or SUN to SAT"),
        ("0 0 23 32 1 *", "`32` is not a valid day: 1 to 31"),
        ("0 0 24 * * *", "`24` is not a valid hour: 0 to 23"),
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
    assert!(matches!(parse("* * * *"), Err(CronError::Syntax(_))));
    assert!(matches!(parse("61 * * * *"), Err(CronError::Syntax(_))));
    assert_eq!(parse("0 0 29 2 *"), Ok(()));
    assert_eq!(parse("@daily"), Ok(()));
}

/// The first instants after a Thursday, 2027-04-01T00:00:30Z, are the same.
fn same(text: &str, as_text: &str) {
    let first = |text: &str| {
        let cron = CronSchedule::parse(text, TimeZone::UTC).unwrap_or_else(|error| panic!("{text}: {error}"));
        let next = cron.next_after(t("2027-04-01T00:00:30Z"));
        std::iter::successors(next, |at| cron.next_after(*at)).take(40).collect::<Vec<_>>()
    };
    assert_eq!(first(text), first(as_text), "{text} as {as_text}");
}

#[test]
fn ranges_wrap_and_names_may_be_whole() {
    for (text, as_text) in [
        ("0 0 * * FRI-MON", "0 0 * * 0,1,5,6"),
        ("0 0 * * 5-1", "0 0 * * 0,1,5,6"),
        ("0 0 * * sat-sun", "0 0 * * 0,6"),
        ("0 0 * * SUN-TUE", "0 0 * * 0-2"),
        ("0 0 * * 7-2", "0 0 * * 0-2"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 * * 7-7", "0 0 * * 0"),
        ("0 0 * * 0-7", "0 0 * * 0-6"),
        ("0 0 * * MON-SUN", "0 0 * * 0-6"),
        ("0 22-2 * * *", "0 0,1,2,22,23 * * *"),
        ("0 22-4/2 * * *", "0 0,2,4,22 * * *"),
        ("50-10/10 * * * *", "0,10,50 * * * *"),
        ("0 0 * NOV-FEB *", "0 0 * 1,2,11,12 *"),
        ("0 0 28-3 * *", "0 0 1,2,3,28,29,30,31 * *"),
        ("0 9 * * MONDAY", "0 9 * * 1"),
        ("0 9 * * tues,Thurs", "0 9 * * 2,4"),
        ("0 9 1 January-MARCH *", "0 9 1 1-3 *"),
        ("0 9 1 sept *", "0 9 1 9 *"),
        ("0/15 * * * *", "*/15 * * * *"),
        ("5/20 * * * *", "5,25,45 * * * *"),
        ("0 0 * * 1/2", "0 0 * * 1,3,5"),
        ("000 09 * * *", "0 9 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@Weekly", "0 0 * * SUN"),
        ("0 0 12 1/1 * ? *", "0 12 * * *"),
        ("0 0 12 ? * MON-FRI", "0 12 * * MON-FRI"),
        ("0 0 * * 0#2", "0 0 8-14 * +SUN"),
        ("0 0 * * MON#1", "0 0 1-7 * +MON"),
    ] {
        same(text, as_text);
    }
    for text in ["0 0 L * *", "0 0 LW * *", "0 0 15W * *", "0 0 * * FRIL", "0 0 * * 5#L", "*,5 * * * *"] {
        assert!(CronSchedule::parse(text, TimeZone::UTC).is_ok(), "{text}");
    }
}

#[test]
fn a_plus_asks_for_both_days() {
    let fridays = cron("0 0 13 * +FRI", "UTC");
    assert!(fridays.is_both_days() && !fridays.is_either_day());
    assert_eq!(fridays.next_after(t("2027-03-25T00:00:00Z")), Some(t("2027-08-13T00:00:00Z")));
    assert!(cron("0 0 13 * FRI", "UTC").is_either_day());
    for text in ["0 0 */2 * FRI", "0 0 13 * *", "0 0 ? * FRI", "0 0 13 * +*"] {
        let cron = cron(text, "UTC");
        assert!(!cron.is_either_day() && !cron.is_both_days(), "{text}");
    }
}

/// What has a meaning elsewhere is refused with what to write here.
#[test]
fn what_other_schedulers_write_is_explained() {
    for (text, instead) in [
        ("@reboot", "on = \"daemon_started\""),
        ("@every 5m", "interval = \"5m\""),
        ("@every 1h30m", "interval = \"1h30m\""),
        ("every 5 minutes", "interval = \"5m\""),
        ("TZ=Asia/Tokyo 0 9 * * *", "cron = \"0 9 * * *\" and timezone = \"Asia/Tokyo\""),
        ("CRON_TZ=UTC @daily", "cron = \"@daily\" and timezone = \"UTC\""),
        ("H/15 * * * *", "jitter"),
        ("H(0-29) 2 * * *", "jitter"),
        ("0~59 2 * * *", "jitter"),
        ("0 9 * * * /usr/bin/backup --all", "cron = \"0 9 * * *\", and what runs in `command`"),
        ("0 9 * * 1-5 root /usr/bin/backup", "cron = \"0 9 * * 1-5\", and what runs in `command`"),
        ("@daily /usr/bin/backup", "cron = \"@daily\", and what runs in `command`"),
        ("0 12 ? * MON-FRI *", "cron = \"0 12 ? * MON-FRI\""),
        ("0 0 12 * * ? 2027", "cron = \"0 0 12 * * ?\""),
        ("0 9 * * MON\u{2013}FRI", "cron = \"0 9 * * MON-FRI\""),
        ("daily", "cron = \"@daily\""),
        ("weekly", "cron = \"0 0 * * MON\""),
        ("*-*-* 02:30:00", "cron = \"30 2 * * *\""),
        ("Mon..Fri 09:05", "cron = \"5 9 * * MON-FRI\""),
        ("Sat *-*-1..7 18:00:00", "cron = \"0 18 1-7 * +SAT\""),
        ("*:0/15", "cron = \"*/15 * * * *\""),
        ("2027-03-01 09:00", "for example cron"),
        ("9:00 pm", "for example cron"),
    ] {
        let error = CronSchedule::parse(text, TimeZone::UTC).expect_err(text);
        let CronError::Foreign { instead: said, .. } = &error else { panic!("{text}: {error}") };
        assert!(said.contains(instead), "{text}: {said}");
    }
    for text in
        ["", "L * * * *", "0 0 * * L", "0 0 L-3 * *", "*/0 * * * *", "1,,2 * * * *", "0 0 0 * *", "? * * * *"]
    {
        assert!(matches!(CronSchedule::parse(text, TimeZone::UTC), Err(CronError::Syntax(_))), "{text}");
    }
}

#[test]
fn changes_of_the_clock_that_meet_slots_are_found() {
    let now = t("2027-03-25T12:00:00Z");
    let until = t("2028-03-25T12:00:00Z");
    for (text, zone, expected) in [
        ("30 23 * * *", "America/Nuuk", "skipped 2027-03-27T23:30:00 then 2027-03-28T00:00:00 fixed"),
        ("0 30 2 * * *", "Europe/Berlin", "skipped 2027-03-28T02:30:00 then 2027-03-28T03:00:00 fixed"),
        ("30 2,14 * * *", "Europe/Berlin", "skipped 2027-03-28T02:30:00 then 2027-03-28T03:00:00 fixed"),
        ("@daily", "America/Santiago", "skipped 2027-09-05T00:00:00 then 2027-09-05T01:00:00 fixed"),
        ("@midnight", "America/Santiago", "skipped 2027-09-05T00:00:00 then 2027-09-05T01:00:00 fixed"),
        ("30 2 1-27 * *", "Europe/Berlin", "none"),
        ("30 2 * 10 *", "Europe/Berlin", "twice 2027-10-31T02:30:00 then 2027-10-31T02:00:00 fixed"),
        ("0 */2 * * *", "Europe/Berlin", "skipped 2027-03-28T02:00:00 then 2027-03-28T03:00:00"),
        (
            "*/30 2 * * SAT,SUN",
            "Europe/Berlin",
            "skipped 2027-03-28T02:00:00 2027-03-28T02:30:00 then 2027-03-28T03:00:00",
        ),
        ("*/10 * * * *", "Europe/Berlin", "none"),
        ("15 * * * *", "Europe/Berlin", "none"),
        ("@hourly", "Europe/Berlin", "none"),
        ("000 9 * * *", "UTC", "none"),
        ("30 2 * * *", "UTC", "none"),
        ("0 9 * * *", "Europe/Berlin", "none"),
    ] {
        let found = cron(text, zone).clock_change(now, until).map_or_else(
            || "none".to_owned(),
            |change| {
                let kind = if change.skipped { "skipped" } else { "twice" };
                let times: Vec<String> = change.times.iter().map(|time| time.to_string()).collect();
                let fixed = if change.fixed { " fixed" } else { "" };
                format!("{kind} {} then {}{fixed}", times.join(" "), change.then)
            },
        );
        assert_eq!(found, expected, "{text} in {zone}");
    }
}
