//! Clocks that are set, ahead and back, while the daemon runs and while it does not.
use super::*;
use jiff::tz::TimeZone;

#[test]
fn a_clock_set_back_repeats_nothing() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete();
    for _ in 0..3 {
        bench.wait(60).complete();
    }
    bench.quietly().jump(-170).wait(169).expect(&[]);
    bench.wait(61).expect(&["a 240 ran", "a start 1"]);
    // not after a stop and a start either, which begins a schedule of its own
    bench
        .complete()
        .jump(-170)
        .ok(Command::Want { target: one("a"), wish: Wish::Stop { mode: StopMode::Terminate }, reason: None })
        .wait(50);
    bench
        .quietly()
        .ok(Command::Want { target: one("a"), wish: Wish::Start, reason: None })
        .quietly()
        .wait(179)
        .expect(&[]);
    bench.wait(1).expect(&["a 300 ran", "a start 1"]);
}

#[test]
fn a_clock_set_to_before_the_first_start_goes_on_from_now_and_back() {
    let week = 7 * 86_400;
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete().wait(60).complete().quietly();
    bench.jump(-week - 10).expect(&[]);
    assert_eq!(bench.state("a").silent, None);
    bench.wait(10).expect(&[&format!("a {} ran", 60 - week), "a start 1"]);
    bench.complete().quietly().crash(1);
    // right again: the years in between were never slots
    bench.wait(9).jump(week).expect(&[]);
    bench.wait(50).expect(&["a 120 ran", "a start 1"]);
    assert_eq!(bench.state("a").record.counters.skipped, 0);
}

#[test]
fn a_clock_that_was_ahead_leaves_no_verdict_of_what_never_ran() {
    let day = 86_400;
    for (ahead, restarts) in
        [(3600, false), (2 * day, false), (3650 * day, false), (3600, true), (2 * day, true)]
    {
        let mut bench = Bench::new(&[plain("a", every(60))]);
        bench.complete().wait(90).complete().quietly();
        // the newest of the slots that were passed is made up for; the others never ran
        bench.jump(ahead).wait(10);
        bench.complete().quietly();
        if restarts {
            bench.now.wall -= secs(ahead);
            bench.crash(1);
        } else {
            bench.jump(-ahead);
        }
        let said = bench.said();
        assert!(
            said.iter().any(|line| line.starts_with("a 120..") && line.ends_with("taken back")),
            "{said:?}"
        );
        assert_eq!(bench.state("a").record.counters.skipped, 0, "{ahead}");
        assert_eq!(bench.state("a").silent, None);
        bench.wait(30).expect(&["a 120 ran", "a start 1"]);
        bench.complete().quietly();
        // what ran ahead never runs again, and every slot has one verdict
        bench.wait(2 * 3600);
        let ran = bench.said().iter().filter(|line| line.ends_with(" ran")).count();
        assert!(ran > 0);
    }
}

#[test]
fn what_ran_while_the_clock_was_ahead_is_passed_over_and_said() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete();
    for _ in 0..60 {
        bench.wait(60).complete();
    }
    bench.quietly().jump(-1800).expect(&[]);
    let silent = bench.state("a").silent.expect("half an hour of slots ran already");
    assert_eq!((silent.0, silent.1), (t(1800) - SignedDuration::from_micros(1), t(3660)));
    assert_eq!(bench.state("a").next_slot, Some(t(3660)));
    // over a restart, too
    bench.crash(10);
    assert_eq!(bench.state("a").silent, Some(silent));
    bench.quietly().wait(1849).expect(&[]);
    bench.wait(1).expect(&["a 3660 ran", "a start 1"]);
    assert_eq!(bench.state("a").silent, None);
    let record = bench.state("a").record;
    assert_eq!((record.floor, record.judged_until), (None, Some(t(3660))));
}

#[test]
fn a_jump_over_what_ran_ahead_leaves_it_its_verdict() {
    let mut bench = Bench::new(&[agent("a", every(60), |a| a.catch_up.policy = CatchUpPolicy::None)]);
    bench.complete().jump(86_400).wait(120);
    bench.begin(0).end(0, AttemptEnd::Completed).wait(60).quietly();
    bench.jump(-86_400).wait(60);
    bench.active.clear();
    // forward again, past all of it
    bench.quietly().jump(3 * 86_400);
    let said = bench.said();
    let missed = said.iter().filter(|line| line.contains("missed_clock")).count();
    assert!(missed >= 2, "before and behind what ran: {said:?}");
    assert_eq!(bench.ledger.slots("a"), 3 * 1440 + 1 + 4, "each slot once");
}

#[test]
fn after_does_not_wait_for_a_clock_that_was_set_back() {
    for back in [3000, 200_000] {
        let mut bench = Bench::new(&[plain("a", Schedule::After(secs(60)))]);
        bench.complete().wait(60).complete().wait(20).quietly();
        bench.jump(-back).wait(39).expect(&[]);
        bench.wait(1);
        assert_eq!(bench.active.len(), 1, "40 s after the jump, a minute after the run");
        bench.complete();
        assert_eq!(bench.state("a").silent, None, "its runs of before are no silence");
    }
}

#[test]
fn a_one_shot_that_only_a_wrong_clock_passed_is_to_come() {
    let at = || agent("a", Schedule::At(t(5000)), |a| a.catch_up.policy = CatchUpPolicy::None);
    let mut bench = Bench::new(&[at()]);
    bench.jump(90_000).quietly();
    assert_eq!(bench.state("a").record.desired, Desired::Stopped);
    bench.jump(-90_000);
    assert!(bench.said().iter().any(|line| line.starts_with("a stopped -> active")));
    bench.wait(5000);
    assert_eq!(bench.active.len(), 1);
    // taken up by a clock that was ahead
    let mut bench = Bench::new(&[plain("b", every(3600))]);
    bench.complete().jump(90_000).reload(&[at(), plain("b", every(3600))]);
    assert_eq!(bench.state("a").record.desired, Desired::Stopped);
    bench.jump(-90_000);
    assert_eq!(bench.state("a").next_slot, Some(t(5000)));
    // one that ran is over
    let mut bench = Bench::new(&[plain("a", Schedule::At(t(100)))]);
    bench.wait(100).complete().jump(-100);
    assert_eq!(bench.state("a").record.desired, Desired::Stopped);
}

/// What was claimed while the clock was ahead and waits to be made up for, or for its place, has not run.
#[test]
fn what_waits_while_the_clock_is_ahead_does_not_start_early() {
    let spread = |a: &mut AgentSpec| a.catch_up.spread = Some(secs(600));
    let specs = || {
        let mut fleet = fleet(
            &[
                plain("busy", every(100_000)),
                agent("at", Schedule::At(t(5000)), spread),
                agent("iv", every(3600), spread),
            ],
            1,
        );
        Arc::get_mut(&mut fleet).unwrap().daemon.max_parallel_runs = 1;
        fleet
    };
    for restarts in [false, true] {
        let mut bench = Bench::with_fleet(specs());
        bench.begin(0).wait(1).quietly();
        bench.jump(7200).wait(5);
        let started = bench.said().iter().filter(|line| line.contains(" start ")).count();
        assert_eq!(started, 0, "they wait");
        if restarts {
            bench.now.wall -= secs(7200);
            bench.crash(0);
        } else {
            bench.jump(-7200);
        }
        assert_eq!(bench.state("at").record.desired, Desired::Active, "restarts: {restarts}");
        assert_eq!(bench.state("at").next_slot, Some(t(5000)));
        assert_eq!(bench.state("iv").next_slot, Some(t(3600)));
        bench.quietly().end(0, AttemptEnd::Completed).wait(700);
        let said = bench.said();
        // the first slot of `iv` is behind: that one starts
        assert!(!said.iter().any(|line| line.starts_with("at start")), "{said:?}");
        assert_eq!(bench.state("iv").next_slot, Some(t(3600)));
    }
}

#[test]
fn what_waits_for_elapsed_time_moves_with_the_clock() {
    let spec = || agent("a", every(60), |a| a.circuit = CircuitSpec { open_after: 1, cooldown: secs(600) });
    for (jump, restarts) in [(-1_000_000, false), (1_000_000, false), (-1_000_000, true)] {
        let mut bench = Bench::new(&[spec()]);
        bench.fail(ErrorKind::Auth).quietly();
        if restarts {
            bench.now.wall += secs(jump);
            bench.crash(0);
        } else {
            bench.jump(jump);
        }
        let until = bench.state("a").record.circuit.unwrap().until;
        assert_eq!(until.duration_since(bench.now.wall), secs(600), "{jump}");
    }
}

#[test]
fn a_pause_for_a_while_lasts_that_long_whatever_the_clock_says() {
    let year = 365 * 86_400;
    let end = |bench: &Bench| bench.state("a").record.resume_at.unwrap().duration_since(bench.now.wall);
    for ahead in [year, -year] {
        let mut bench = Bench::new(&[plain("a", every(60))]);
        bench.complete().jump(ahead);
        bench.ok(Command::Want {
            target: one("a"),
            wish: Wish::Pause { until: Some(PauseEnd::After(secs(7200))) },
            reason: Some("tea".into()),
        });
        // a new reason leaves the end as it is
        bench.wait(200).ok(Command::Want {
            target: one("a"),
            wish: Wish::Pause { until: None },
            reason: Some("cake".into()),
        });
        bench.jump(-ahead);
        assert_eq!(end(&bench), secs(7000));
        // where nobody saw the clock being set, it ends no later than it would if it began now
        bench.now.wall += secs(-year);
        bench.crash(0);
        assert_eq!(end(&bench), secs(7200));
        bench.quietly().wait(7200);
        assert!(bench.said().contains(&"a paused -> active: the pause ended".to_owned()));
    }
    // an agent that is removed meanwhile is not resumed, and is as long away from it when it comes back
    let mut bench = Bench::new(&[plain("a", every(60)), plain("b", every(3600))]);
    bench.complete().complete().ok(Command::Want {
        target: one("a"),
        wish: Wish::Pause { until: Some(PauseEnd::After(secs(600))) },
        reason: None,
    });
    bench.reload(&[plain("b", every(3600))]).quietly();
    let said = bench.jump(-3000).wait(900).said();
    assert!(!said.iter().any(|line| line.starts_with("a ")), "{said:?}");
    // one until a time ends at that time
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete().ok(Command::Want {
        target: one("a"),
        wish: Wish::Pause { until: Some(PauseEnd::At(t(7200))) },
        reason: None,
    });
    bench.jump(3600);
    assert_eq!(end(&bench), secs(3600));
    for end in [PauseEnd::After(secs(0)), PauseEnd::After(SignedDuration::MAX), PauseEnd::At(t(0))] {
        assert!(
            bench
                .command(Command::Want {
                    target: one("a"),
                    wish: Wish::Pause { until: Some(end) },
                    reason: None
                })
                .is_err(),
            "{end:?}"
        );
    }
}

#[test]
fn an_attempt_that_waits_does_not_wait_for_a_clock_that_was_wrong() {
    let day = 86_400;
    let spec = || {
        agent("a", every(60), |a| {
            a.retry = RetrySpec { max: 5, initial: secs(60), max_delay: secs(60), ..a.retry };
            a.limits = Arc::new(Limits { total_timeout: Some(secs(3600)), ..(*a.limits).clone() });
        })
    };
    for jump in [-day, day] {
        let mut bench = Bench::new(&[spec()]);
        bench.fail(ErrorKind::Network).quietly();
        let before = bench.open[0].not_before.unwrap().duration_since(bench.now.wall);
        bench.jump(jump);
        assert_eq!(bench.open[0].not_before.unwrap().duration_since(bench.now.wall), before, "{jump}");
        // what it has lasted is no longer than it was there, either: it is not timed out
        bench.quietly().crash(0).wait(61);
        let said = bench.said();
        assert!(
            said.contains(&"a start 2".to_owned()) && !said.join(" ").contains("timed"),
            "{jump}: {said:?}"
        );
        // where nobody saw it, the wait is no longer than the longest that there is
        bench.fail(ErrorKind::Network).quietly();
        bench.now.wall += secs(-day);
        bench.crash(0).wait(700);
        assert!(bench.said().contains(&"a start 3".to_owned()), "{jump}");
    }
}

#[test]
fn a_start_with_a_clock_far_ahead_does_not_wait_for_years() {
    let mut bench = Bench::new(&[agent("a", every(60), |a| a.first_run = FirstRun::AfterInterval)]);
    bench.jump(-400 * 86_400).wait(60);
    assert_eq!(bench.active.len(), 1);
}

#[test]
fn a_clock_set_back_begins_a_new_row_of_verdicts() {
    let day = 86_400;
    for schedule in [every(60), Schedule::After(secs(60))] {
        let mut bench = Bench::new(&[plain("a", schedule)]);
        bench
            .complete()
            .ok(Command::Want { target: one("a"), wish: Wish::Pause { until: None }, reason: None })
            .wait(120)
            .quietly();
        bench.jump(-2 * day).wait(120);
        let mut said = bench.said();
        assert!(said.remove(0).ends_with(" taken back"), "{said:?}");
        let news = said.iter().filter(|line| !line.ends_with('+')).count();
        assert!(news == 1 && said.len() >= 2 && !said[0].ends_with('+'), "{said:?}");
    }
}

#[test]
fn what_ran_ahead_ends_a_row_of_verdicts_however_its_slots_are_passed() {
    let mut bench = Bench::new(&[plain("a", Schedule::After(secs(60)))]);
    bench.complete().jump(3600).wait(60).complete().wait(60).complete().quietly();
    bench.jump(-3560);
    bench.ok(Command::Want { target: one("a"), wish: Wish::Pause { until: None }, reason: None });
    bench.wait(3400).quietly();
    // a run by hand puts the next slot off, past those that ran while the clock was ahead
    let by_hand = Command::Run {
        agent: "a".parse().unwrap(),
        query: None,
        params: ParamValues::new(),
        mode: RunMode::Normal,
    };
    bench.ok(by_hand).wait(300).complete().quietly();
    bench.wait(120).expect(&["a 3920 skipped_paused: paused", "a 3980 skipped_paused: paused +"]);
}

#[test]
fn a_record_that_is_cut_ends_at_a_slot_wherever_the_anchor_is_by_now() {
    let half_past = CronSchedule::parse("30 * * * *", TimeZone::UTC).unwrap();
    let schedule = Schedule::Any([Schedule::Cron(Arc::new(half_past)), every(3600)].into());
    for (schedule, count, left) in [(schedule, 5, (t(5400), 3)), (every(1800), 5, (t(5400), 3))] {
        for first_run in [FirstRun::Now, FirstRun::AfterInterval] {
            let spec = agent("a", schedule.clone(), |spec| spec.first_run = first_run);
            let look = LookAhead {
                spec: Arc::new(spec),
                anchor: t(7200),
                origin: None,
                floor: t(0),
                behind: t(6000),
            };
            let mut ahead = Ahead::new(look, None);
            ahead.add(AheadRow { first: t(1800), last: t(9000), count, ran: false });
            let (_, taken) = ahead.into_parts();
            assert_eq!(taken.unwrap().cut, Some(left), "{}", schedule.describe());
        }
    }
}
