//! Slots that hours and calendars leave out, and several schedules of one agent.
use super::*;
use jiff::civil::Time;
use jiff::tz::TimeZone;

/// Only within these seconds of the bench, which begins at 08:00 UTC.
pub(super) fn within(from: i64, until: i64) -> Option<Arc<ActiveTimes>> {
    let time = |at: i64| t(at).to_zoned(TimeZone::UTC).time();
    Some(times(Some((time(from), time(until))), &[], &[]))
}

fn times(hours: Option<(Time, Time)>, except: &[(i64, i64)], only: &[(i64, i64)]) -> Arc<ActiveTimes> {
    let named = |name: &str, periods: &[(i64, i64)]| -> Vec<Arc<NamedPeriods>> {
        let period =
            |(from, until): &(i64, i64)| Period { from: t(*from), until: t(*until), summary: "Feast".into() };
        let periods: Vec<Period> = periods.iter().map(period).collect();
        let digest = String::new();
        (!periods.is_empty())
            .then(|| Arc::new(NamedPeriods { name: name.into(), digest, periods }))
            .into_iter()
            .collect()
    };
    Arc::new(ActiveTimes {
        zone: TimeZone::UTC,
        hours: hours.map(|(from, until)| Hours { from, until }),
        except: named("de", except),
        only: named("market", only),
    })
}

fn feast(from: i64, until: i64) -> impl Fn(&mut AgentSpec) {
    move |a| a.active_times = Some(times(None, &[(from, until)], &[]))
}

#[test]
fn a_slot_that_is_left_out_says_why_and_the_row_of_them_is_one_record() {
    let mut bench = Bench::new(&[agent("a", every(60), feast(100, 250))]);
    bench.complete().quietly().wait(60).complete();
    bench.expect(&["a 60 ran", "a start 1", "a completed"]);
    bench.wait(60).wait(60).wait(60);
    bench.expect(&[
        "a 120 skipped_calendar: calendar de: Feast",
        "a 180 skipped_calendar: calendar de: Feast +",
        "a 240 skipped_calendar: calendar de: Feast +",
    ]);
    assert_eq!(bench.state("a").next_start, Some(t(300)));
    bench.wait(60).expect(&["a 300 ran", "a start 1"]);
}

#[test]
fn what_comes_next_is_past_what_is_left_out() {
    let mut bench = Bench::new(&[agent("a", every(60), feast(50, 250)), plain("b", every(7200))]);
    bench.complete().complete();
    let state = bench.state("a");
    assert_eq!((state.next_slot, state.next_start), (Some(t(60)), Some(t(300))));
    let coming = bench.engine.coming(|name| name == "a", t(400), 10);
    let slots: Vec<Timestamp> = coming.iter().map(|slot| slot.slot).collect();
    assert_eq!(slots, [t(300), t(360)]);
}

#[test]
fn slots_that_passed_unseen_are_told_apart() {
    let mut bench = Bench::new(&[agent("a", every(600), feast(1000, 3000))]);
    bench.complete().quietly().crash(4000);
    bench.expect(&[
        "a 600 superseded: the daemon was not running; caught up by the newest of them",
        "a 1200..2400 x3 skipped_calendar: calendar de: Feast",
        "a 3000 superseded: the daemon was not running; caught up by the newest of them",
        "a claimed: catch_up",
        "a 3600 ran: caught up: the daemon was not running",
    ]);
}

#[test]
fn nothing_is_made_up_for_where_the_agent_does_not_start() {
    let mut bench = Bench::new(&[agent("a", every(600), feast(2000, 9000))]);
    bench.complete().quietly().crash(2500);
    bench.expect(&[
        "a 600..1800 x3 missed_downtime: the daemon was not running; not caught up, since nothing may start now: calendar de: Feast",
        "a 2400 skipped_calendar: calendar de: Feast",
    ]);
}

#[test]
fn all_are_made_up_for_within_the_bound_wherever_they_lie() {
    let rule = |a: &mut AgentSpec| {
        feast(1000, 3000)(a);
        a.catch_up = CatchUp { policy: CatchUpPolicy::All, max: 3, ..a.catch_up };
    };
    let mut bench = Bench::new(&[agent("a", every(400), rule)]);
    bench.complete().quietly().crash(3700);
    bench.expect(&[
        "a 400 missed_downtime: the daemon was not running",
        "a claimed: catch_up",
        "a 800 ran: caught up: the daemon was not running",
        "a 1200..2800 x5 skipped_calendar: calendar de: Feast",
        "a claimed: catch_up",
        "a 3200 ran: caught up: the daemon was not running",
        "a claimed: catch_up",
        "a 3600 ran: caught up: the daemon was not running",
    ]);
}

#[test]
fn too_old_is_not_made_up_for_by_a_newer_one_that_is_left_out() {
    let rule = |a: &mut AgentSpec| {
        feast(1000, 3000)(a);
        a.catch_up.max_age = Some(secs(100));
    };
    let mut bench = Bench::new(&[agent("a", every(600), rule)]);
    bench.complete().quietly().crash(2900).expect(&[
        "a 600 missed_downtime: the daemon was not running; not caught up, since nothing may start now: calendar de: Feast",
        "a 1200..2400 x3 skipped_calendar: calendar de: Feast",
    ]);
}

#[test]
fn hours_hold_for_slots_and_for_events_but_not_for_a_person() {
    let on = Schedule::On(EventTrigger {
        event: EventType::TaskCompleted,
        agent: Some(id("a")),
        untrusted: false,
    });
    let mut bench = Bench::new(&[
        agent("a", every(60), |a| a.active_times = within(0, 120)),
        agent("b", on, |a| a.active_times = within(60, 120)),
    ]);
    bench.complete();
    bench.expect(&["a 0 ran", "a start 1", "a completed", "b event passed: skipped_calendar"]);
    assert_eq!(bench.passed, ["event background_task_completed: outside of its active hours, 08:01-08:02"]);
    bench.wait(60).complete();
    bench.expect(&["a 60 ran", "a start 1", "a completed", "b claimed: event", "b start 1"]);
    bench.complete().quietly().wait(60);
    bench.expect(&["a 120 skipped_calendar: outside of its active hours, 08:00-08:02"]);
    bench.ok(Command::Run { agent: id("a"), query: None, params: ParamValues::new(), mode: RunMode::Normal });
    bench.expect(&["a claimed: manual", "a start 1"]);
}

#[test]
fn a_slot_that_is_skipped_by_hand_is_one_that_would_have_started() {
    let mut bench = Bench::new(&[agent("a", every(60), feast(50, 130))]);
    bench.complete().ok(Command::Skip { agent: id("a") }).quietly().wait(180);
    bench.expect(&[
        "a 60 skipped_calendar: calendar de: Feast",
        "a 120 skipped_calendar: calendar de: Feast +",
        "a 180 skipped_paused: skipped by hand",
    ]);
}

#[test]
fn one_that_only_starts_within_a_calendar_waits_for_it() {
    let mut bench = Bench::new(&[agent("a", Schedule::After(secs(60)), |a| {
        a.active_times = Some(times(None, &[], &[(100, 200)]));
    })]);
    bench.expect(&["a 0 skipped_calendar: outside of calendar market"]);
    bench.wait(120).expect(&[
        "a 60 skipped_calendar: outside of calendar market +",
        "a 120 ran",
        "a start 1",
    ]);
}

fn several() -> Schedule {
    let cron = CronSchedule::parse("*/5 * * * *", TimeZone::UTC).unwrap();
    Schedule::Any([every(120), Schedule::Cron(Arc::new(cron))].into())
}

#[test]
fn several_schedules_are_one_row_of_slots() {
    let mut bench = Bench::new(&[plain("a", several())]);
    let mut slots = Vec::new();
    for _ in 0..9 {
        let (run, _) = bench.active[0];
        slots.push(bench.engine.run(run).unwrap().slot.unwrap().duration_since(t(0)).as_secs());
        bench.complete();
        let wait = bench.state("a").next_slot.unwrap().duration_since(bench.now.wall).as_secs();
        bench.wait(wait);
    }
    assert_eq!(slots, [0, 120, 240, 300, 360, 480, 600, 720, 840], "0 and 600 are named twice");
    assert_eq!(bench.state("a").spec.schedule.describe(), "every 2m, or cron */5 * * * * (UTC)");
}

#[test]
fn several_schedules_that_passed_unseen_are_counted_once() {
    let mut bench = Bench::new(&[agent("a", several(), |a| a.catch_up.policy = CatchUpPolicy::None)]);
    bench
        .complete()
        .quietly()
        .crash(1000)
        .expect(&["a 120..960 x10 missed_downtime: the daemon was not running"]);
}

#[test]
fn an_edit_to_several_schedules_starts_nothing() {
    let mut bench = Bench::new(&[plain("a", every(7200))]);
    bench.complete().quietly().wait(30).reload(&[plain("a", several())]).wait(100);
    bench.expect(&[]);
    bench.wait(20).expect(&["a 150 ran", "a start 1"]);
}

#[test]
fn the_newest_is_not_in_the_way_of_the_older_ones_that_are_made_up_for() {
    let rule = |a: &mut AgentSpec| {
        feast(600, 1800)(a);
        a.catch_up.policy = CatchUpPolicy::All;
    };
    let mut bench = Bench::new(&[agent("a", every(300), rule)]);
    bench.complete().quietly().crash(1802);
    bench.expect(&[
        "a claimed: catch_up",
        "a 300 ran: caught up: the daemon was not running",
        "a 600..1500 x4 skipped_calendar: calendar de: Feast",
        "a claimed: catch_up",
        "a 1800 ran: caught up: the daemon was not running",
    ]);
}

#[test]
fn what_was_missed_on_many_days_is_told_once() {
    let rule = |a: &mut AgentSpec| {
        a.active_times = within(0, 3600);
        a.notify = Some(Arc::new(NotifySpec {
            to: vec!["ops".into()],
            on: TellOn::ALL.to_vec(),
            repeat: secs(3600),
        }));
    };
    let mut bench = Bench::new(&[agent("a", every(1800), rule)]);
    bench.complete().quietly().crash(5 * 86_400 + 7200);
    let missed: Vec<&String> =
        bench.messages.iter().map(|(subject, _)| subject).filter(|one| one.contains("missed")).collect();
    assert_eq!(missed.len(), 1, "{:?}", bench.messages);
    assert!(missed[0].contains("11"), "{missed:?}");
}

#[test]
fn an_agent_of_several_moments_is_done_after_the_last() {
    let moments = Schedule::Any([Schedule::At(t(100)), Schedule::At(t(300))].into());
    let mut bench = Bench::new(&[plain("a", moments.clone())]);
    bench.wait(100).complete().quietly().wait(100).expect(&[]);
    bench.wait(100).complete();
    bench.expect(&["a 300 ran", "a active -> stopped: done", "a start 1", "a completed"]);
    let mut bench = Bench::new(&[plain("b", every(7200))]);
    bench.wait(400).reload(&[plain("a", moments), plain("b", every(7200))]);
    assert_eq!(bench.state("a").record.desired, Desired::Stopped);
}

#[test]
fn one_that_waits_after_each_run_says_when_it_starts_again() {
    let mut bench = Bench::new(&[agent("a", Schedule::After(secs(60)), feast(100, 1000))]);
    bench.wait(50).complete();
    let state = bench.state("a");
    assert_eq!((state.next_slot, state.next_start), (Some(t(110)), Some(t(1010))));
}
