//! Agents that wait for several others.
use super::*;

fn join(after: &[&str], status: JoinStatus, within: i64) -> Schedule {
    let after = after.iter().map(|name| id(name)).collect();
    Schedule::Join(Arc::new(Join { after, status, within: secs(within) }))
}

/// Two agents that are started by hand, and one that waits for both.
fn waiting(status: JoinStatus) -> Bench {
    let mut bench = Bench::new(&[
        plain("scan", Schedule::Manual),
        plain("triage", Schedule::Manual),
        plain("x", join(&["scan", "triage"], status, 600)),
    ]);
    bench.quietly();
    bench
}

fn run(bench: &mut Bench, name: &str) {
    bench.ok(Command::Run {
        agent: id(name),
        query: None,
        params: ParamValues::new(),
        mode: RunMode::Normal,
    });
    bench.begin(0);
    let mut outcome = AttemptOutcome::of(AttemptEnd::Completed);
    outcome.result = Some(format!("of {name}"));
    bench.end_with(0, outcome);
}

#[test]
fn it_starts_once_each_has_completed_and_gets_their_results() {
    let mut bench = waiting(JoinStatus::Completed);
    run(&mut bench, "scan");
    bench.expect(&["scan claimed: manual", "scan start 1", "scan completed"]);
    assert_eq!(bench.state("x").waits_for, [(id("scan"), Some(t(0))), (id("triage"), None)]);
    bench.wait(100);
    run(&mut bench, "triage");
    bench.expect(&[
        "triage claimed: manual",
        "triage start 1",
        "triage completed",
        "x claimed: event",
        "x start 1",
    ]);
    let event = bench.engine.run(bench.active[0].0).unwrap().event.clone().unwrap();
    let Payload::AgentsJoined(joined) = &event.payload else { panic!("{event:?}") };
    let results: Vec<_> = joined.after.iter().map(|(of, run)| (of.as_str(), run.result.as_deref())).collect();
    assert_eq!(results, [("scan", Some("of scan")), ("triage", Some("of triage"))]);
    // both are used up
    bench.complete().quietly();
    run(&mut bench, "scan");
    bench.expect(&["scan claimed: manual", "scan start 1", "scan completed"]);
}

#[test]
fn what_ended_is_waited_with_after_the_clock_was_set_to_before_the_start_of_the_agent() {
    let mut bench = waiting(JoinStatus::Completed);
    bench.jump(-5000);
    let anchor = bench.state("x").record.anchor;
    assert!(anchor <= bench.now.wall, "a new life counts what ended since {anchor}");
    run(&mut bench, "scan");
    // it stays there when the clock is right again: what ended before that counts as well
    bench.jump(5000);
    assert_eq!(bench.state("x").record.anchor, anchor);
}

#[test]
fn a_failure_does_not_count_where_completed_is_asked_and_the_other_way_round() {
    let fail = |bench: &mut Bench, name: &str| {
        bench
            .ok(Command::Run {
                agent: id(name),
                query: None,
                params: ParamValues::new(),
                mode: RunMode::Normal,
            })
            .fail(ErrorKind::Config);
    };
    for (status, by_failure, by_success) in
        [(JoinStatus::Completed, 0, 1), (JoinStatus::Failed, 1, 0), (JoinStatus::Ended, 1, 1)]
    {
        let mut bench = waiting(status);
        fail(&mut bench, "scan");
        fail(&mut bench, "triage");
        assert_eq!(bench.active.len(), by_failure, "{status}");
        let mut bench = waiting(status);
        run(&mut bench, "scan");
        run(&mut bench, "triage");
        assert_eq!(bench.active.len(), by_success, "{status}");
    }
}

#[test]
fn what_came_too_long_ago_or_was_overtaken_is_on_record() {
    let mut bench = waiting(JoinStatus::Completed);
    run(&mut bench, "scan");
    run(&mut bench, "scan");
    bench.wait(700).quietly();
    run(&mut bench, "triage");
    bench.expect(&[
        "triage claimed: manual",
        "triage start 1",
        "triage completed",
        "x event passed: dropped",
    ]);
    assert_eq!(
        bench.passed,
        [
            "event background_task_completed: a newer run of scan ended before the others had",
            "event background_task_completed: within 10m of it not all had completed: scan and triage completed"
        ]
    );
    run(&mut bench, "scan");
    assert_eq!(bench.active.len(), 1, "the newer two are within the time");
}

#[test]
fn one_that_is_paused_or_busy_says_so_of_each() {
    let mut bench = waiting(JoinStatus::Completed);
    let pause = Wish::Pause { until: None };
    bench.ok(Command::Want { target: one("x"), wish: pause, reason: None }).quietly();
    run(&mut bench, "scan");
    bench.expect(&[
        "scan claimed: manual",
        "scan start 1",
        "scan completed",
        "x event passed: skipped_paused",
    ]);
    bench.ok(Command::Want { target: one("x"), wish: Wish::Resume, reason: None });
    run(&mut bench, "triage");
    run(&mut bench, "scan");
    assert_eq!(bench.active.len(), 1);
    let busy = bench.active[0];
    bench.quietly();
    for name in ["scan", "triage"] {
        bench
            .ok(Command::Run {
                agent: id(name),
                query: None,
                params: ParamValues::new(),
                mode: RunMode::Normal,
            })
            .begin(1)
            .end(1, AttemptEnd::Completed);
    }
    assert_eq!(bench.active, [busy]);
    assert!(bench.said().iter().any(|line| line == "x event passed: skipped_overlap"));
}

#[test]
fn a_stop_or_another_schedule_uses_up_what_came() {
    let mut bench = waiting(JoinStatus::Completed);
    run(&mut bench, "scan");
    bench.ok(Command::Want {
        target: one("x"),
        wish: Wish::Stop { mode: StopMode::Terminate },
        reason: None,
    });
    bench.ok(Command::Want { target: one("x"), wish: Wish::Start, reason: None }).quietly();
    run(&mut bench, "triage");
    bench.expect(&["triage claimed: manual", "triage start 1", "triage completed"]);
    bench.reload(&[
        plain("scan", Schedule::Manual),
        plain("triage", Schedule::Manual),
        plain("x", join(&["scan", "triage"], JoinStatus::Ended, 600)),
    ]);
    assert_eq!(
        bench.passed,
        [
            "event background_task_completed: the agent was stopped",
            "event background_task_completed: its schedule was changed"
        ]
    );
}
