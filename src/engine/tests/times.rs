//! Section 4 of the contract: slots, what is missed, what is made up for.
use super::*;

fn catching_up(policy: CatchUpPolicy) -> impl FnOnce(&mut AgentSpec) {
    move |a| a.catch_up = CatchUp { policy, max: 3, max_age: None, spread: None }
}

#[test]
fn intervals_do_not_drift_and_are_anchored_for_good() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete().pass(secs(63));
    bench.tick().complete().wait(57).complete().crash(30).wait(30);
    bench.expect(&[
        "a 0 ran",
        "a start 1",
        "a completed", //
        "a 60 ran",
        "a start 1",
        "a completed", //
        "a 120 ran",
        "a start 1",
        "a completed", //
        "a 180 ran",
        "a start 1",
    ]);
}

#[test]
fn what_is_missed_is_said_with_its_cause_and_made_up_for_by_the_newest() {
    let made_up = |why: &str, verdict: &str| {
        let _ = verdict;
        vec![
            format!("a 60..120 x2 superseded: {why}; caught up by the newest of them"),
            "a claimed: catch_up".into(),
            format!("a 180 ran: caught up: {why}"),
        ]
    };
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete().quietly().crash(200);
    assert_eq!(bench.said(), made_up("the daemon was not running", "missed_downtime"));
    bench.wait(4).expect(&["a start 1"]);

    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete().quietly().sleep(200);
    assert_eq!(bench.said(), made_up("the machine was asleep", "missed_sleep"));

    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete().quietly().jump(200);
    assert_eq!(bench.said(), made_up("the clock was set forward", "missed_clock"));

    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete().quietly().pass(secs(200));
    bench.input(Input::StorageBack);
    assert_eq!(bench.said(), made_up("the database could not be written", "refused_storage"));
    bench.wait(4).expect(&["a start 1"]);
}

#[test]
fn catch_up_none_starts_nothing() {
    let mut bench = Bench::new(&[agent("a", every(60), catching_up(CatchUpPolicy::None))]);
    bench.complete().quietly().crash(200).wait(10);
    bench.expect(&["a 60..180 x3 missed_downtime: the daemon was not running"]);
}

#[test]
fn catch_up_all_goes_oldest_first_within_its_bounds() {
    let mut bench = Bench::new(&[agent("a", every(60), catching_up(CatchUpPolicy::All))]);
    bench.complete().quietly().crash(310);
    bench.expect(&[
        "a 60..120 x2 missed_downtime: the daemon was not running",
        "a claimed: catch_up",
        "a 180 ran: caught up: the daemon was not running",
        "a claimed: catch_up",
        "a 240 ran: caught up: the daemon was not running",
        "a claimed: catch_up",
        "a 300 ran: caught up: the daemon was not running",
    ]);
    bench.wait(10);
    for slot in [180, 240, 300] {
        let (run, _) = bench.active[0];
        assert_eq!(bench.engine.run(run).unwrap().slot, Some(t(slot)));
        bench.quietly().complete();
    }
    bench.expect(&["a completed"]);
}

#[test]
fn no_catch_up_when_the_next_slot_is_close() {
    let mut bench = Bench::new(&[plain("a", every(600))]);
    bench.complete().quietly().crash(1190);
    bench.expect(&["a 600 superseded: the daemon was not running; the next slot comes soon"]);
    // one that is due right now makes up for the ones before
    bench.wait(10).complete().quietly().crash(1201).expect(&[
        "a 1800 superseded: the daemon was not running; the next slot comes soon",
        "a 2400 ran",
        "a start 1",
    ]);
}

#[test]
fn too_old_is_not_made_up_for() {
    let mut bench = Bench::new(&[agent("a", every(600), |a| a.catch_up.max_age = Some(secs(100)))]);
    bench.complete().quietly().crash(800).expect(&["a 600 missed_downtime: the daemon was not running"]);
}

#[test]
fn a_catch_up_brings_no_fresh_retries_and_waits_for_the_network() {
    let mut bench = Bench::new(&[agent("a", every(600), |a| a.retry = RetrySpec { max: 5, ..a.retry })]);
    bench.complete().quietly().crash(800).wait(2).quietly().wait(2).expect(&["a start 1"]);
    bench.fail(ErrorKind::Network).expect(&["a failed", "a incident critical"]);
}

#[test]
fn many_catch_ups_are_spread() {
    let specs: Vec<AgentSpec> = (0..50).map(|n| plain(&format!("a{n}"), every(6000))).collect();
    let mut bench = Bench::new(&specs);
    while !bench.active.is_empty() {
        bench.complete();
    }
    bench.crash(7000).wait(2);
    assert_eq!(bench.active.len(), 0);
    bench.wait(2);
    assert!((5..20).contains(&bench.active.len()), "{}", bench.active.len());
    bench.wait(10);
    assert_eq!(bench.active.len(), 50);
}

#[test]
fn late_without_a_reason_is_only_late() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete().quietly().pass(secs(170));
    bench.tick().expect(&["a 60 superseded: the daemon was busy", "a 120 ran", "a start 1"]);
    // unless each slot is wanted; and then not more than may wait
    let mut bench = Bench::new(&[agent("a", every(60), |a| {
        a.catch_up.policy = CatchUpPolicy::All;
        a.catch_up.max = 2;
    })]);
    bench.complete().quietly().pass(secs(250));
    bench.tick().expect(&[
        "a 60..120 x2 superseded: the daemon was busy",
        "a claimed: catch_up",
        "a 180 ran: caught up: the daemon was busy",
        "a claimed: catch_up",
        "a 240 ran: caught up: the daemon was busy",
    ]);
    bench.pass(secs(250));
    bench.tick();
    assert!(bench.said().iter().all(|line| !line.contains("caught up: ")), "there are two in line");
}

#[test]
fn after_follows_the_end_of_the_run() {
    let mut bench = Bench::new(&[plain("a", Schedule::After(secs(60)))]);
    bench.begin(0).wait(500).expect(&["a 0 ran", "a start 1"]);
    bench.end(0, AttemptEnd::Completed).wait(60).expect(&["a completed", "a 560 ran", "a start 1"]);
    // a manual run is a run as well
    bench
        .complete()
        .wait(30)
        .ok(Command::Run { agent: id("a"), query: None, params: ParamValues::new(), mode: RunMode::Normal })
        .wait(100)
        .quietly();
    bench.complete().wait(59).expect(&["a completed"]);
    bench.wait(1).expect(&["a 750 ran", "a start 1"]);
    // a pause passes slots, a stop drops them, a start begins at once
    bench
        .complete()
        .ok(Command::Want { target: one("a"), wish: Wish::Pause { until: None }, reason: None })
        .quietly()
        .wait(120);
    bench.expect(&["a 810 skipped_paused: paused", "a 870 skipped_paused: paused +"]);
    bench.ok(Command::Want { target: one("a"), wish: Wish::Resume, reason: None }).wait(60).expect(&[
        "a paused -> active",
        "a 930 ran",
        "a start 1",
    ]);
    bench
        .complete()
        .ok(Command::Want { target: one("a"), wish: Wish::Stop { mode: StopMode::Terminate }, reason: None })
        .wait(600)
        .quietly();
    bench.ok(Command::Want { target: one("a"), wish: Wish::Start, reason: None }).expect(&[
        "a stopped -> active",
        "a 1530 ran",
        "a start 1",
    ]);
    // the end is kept over a restart, and elapsed time counts, not the clock
    bench.complete().quietly().crash(30).wait(30).expect(&["a 1590 ran", "a start 1"]);
    bench.complete().quietly().jump(3600).wait(59).expect(&[]);
    bench.wait(1).expect(&["a 5250 ran", "a start 1"]);
}

#[test]
fn a_one_shot_runs_once_and_is_done() {
    let mut bench =
        Bench::new(&[agent("a", Schedule::At(t(100)), |a| a.retry = RetrySpec { max: 1, ..a.retry })]);
    bench.wait(100).expect(&["a 100 ran", "a active -> stopped: done", "a start 1"]);
    // its run is not given up because the agent is done, not even in another life
    bench.crash(1).expect(&["a start 1"]);
    bench.fail(ErrorKind::Network).crash(0).wait(10).expect(&["a attempt 1 failed: network", "a start 2"]);
    bench.complete().wait(1000).expect(&["a completed"]);
    assert!(bench.command(Command::Want { target: one("a"), wish: Wish::Start, reason: None }).is_err());
    assert!(
        matches!(bench.command(Command::Want { target: Target::All, wish: Wish::Start, reason: None }), Ok(Reply::AllChanged(done)) if done.is_empty())
    );
    // a new time revives it
    bench.reload(&[plain("a", Schedule::At(t(5000)))]).expect(&["a stopped -> active"]);
    assert_eq!(bench.state("a").next_slot, Some(t(5000)));
}

#[test]
fn a_one_shot_has_each_of_its_times_once() {
    let mut bench = Bench::new(&[plain("a", Schedule::At(t(7200)))]);
    bench.wait(7200).complete().jump(-7000).quietly();
    bench.reload(&[plain("a", Schedule::At(t(100)))]).expect(&[]);
    assert_eq!(bench.state("a").record.desired, Desired::Stopped, "never active without a slot");
    bench.reload(&[plain("a", Schedule::At(t(5000)))]).expect(&["a stopped -> active"]);
    bench.reload(&[plain("a", Schedule::At(t(7200)))]);
    assert_eq!(bench.state("a").record.desired, Desired::Stopped, "it ran");
    bench.reload(&[plain("a", Schedule::At(t(9000)))]);
    assert_eq!(bench.state("a").next_slot, Some(t(9000)));
}

#[test]
fn a_one_shot_that_passed_while_down_paused_or_skipped() {
    let at = || plain("a", Schedule::At(t(100)));
    let mut bench = Bench::new(&[at()]);
    bench.crash(500).wait(5).expect(&[
        "a claimed: catch_up",
        "a 100 ran: caught up: the daemon was not running",
        "a active -> stopped: done",
        "a start 1",
    ]);
    let mut bench = Bench::new(&[at()]);
    bench
        .ok(Command::Want { target: one("a"), wish: Wish::Pause { until: None }, reason: None })
        .quietly()
        .wait(200);
    bench.expect(&["a 100 skipped_paused: paused", "a paused -> stopped: done"]);
    let mut bench = Bench::new(&[at()]);
    bench
        .ok(Command::Skip { agent: id("a") })
        .wait(200)
        .expect(&["a 100 skipped_paused: skipped by hand", "a active -> stopped: done"]);
    assert_eq!(Bench::new(&[plain("a", Schedule::At(t(-5)))]).state("a").record.desired, Desired::Stopped);
}

#[test]
fn what_is_to_come_is_in_the_order_in_which_it_is_due() {
    let specs: Vec<_> =
        (0..20).map(|n| agent(&format!("a{n}"), every(60 + n), |a| a.jitter = secs(55))).collect();
    let bench = Bench::new(&specs);
    let coming = bench.engine.coming(|_| true, bench.now.wall + secs(3600), 200);
    assert_eq!(coming.len(), 200);
    assert!(coming.is_sorted_by_key(|slot| slot.due));
    assert!(!coming.is_sorted_by_key(|slot| slot.slot), "else this shows nothing");
}

#[test]
fn jitter_delays_a_slot_and_keeps_its_name() {
    let mut bench = Bench::new(&[agent("a", every(60), |a| a.jitter = secs(50))]);
    let due = bench.state("a").record.next_due.unwrap();
    assert!(due > t(0) && due < t(50));
    bench.wait(59).complete().expect(&["a 0 ran", "a start 1", "a completed"]);
    // a slot between its instant and its jitter when the agent stops: it was a slot
    bench.pass(secs(1));
    bench.ok(Command::Want {
        target: one("a"),
        wish: Wish::Stop { mode: StopMode::Terminate },
        reason: None,
    });
    bench.expect(&["a 60 dropped: the agent was stopped", "a active -> stopped"]);
}

#[test]
fn events_start_agents_in_chains_of_eight() {
    let on = |event, agent: Option<&str>| {
        Schedule::On(EventTrigger { event, agent: agent.map(id), untrusted: false })
    };
    let done = EventType::TaskCompleted;
    let mut bench = Bench::new(&[
        plain("a", on(done, Some("b"))),
        plain("b", on(done, Some("a"))),
        plain("c", on(EventType::DaemonStarted, None)),
    ]);
    bench.expect(&["c claimed: event", "c start 1"]);
    bench
        .complete()
        .ok(Command::Run { agent: id("a"), query: None, params: ParamValues::new(), mode: RunMode::Normal })
        .quietly();
    let mut runs = 0;
    while !bench.active.is_empty() {
        bench.complete();
        runs += 1;
    }
    assert_eq!(runs, 9, "one by hand and a chain of eight");
    assert_eq!(bench.said().last().map(String::as_str), Some("b event passed: dropped"), "and that is told");
    // a run in flight stands against it, and that is told; a stopped agent is not asked
    bench
        .ok(Command::Run { agent: id("b"), query: None, params: ParamValues::new(), mode: RunMode::Normal })
        .ok(Command::Run { agent: id("a"), query: None, params: ParamValues::new(), mode: RunMode::Normal })
        .quietly();
    bench.begin(1).end(1, AttemptEnd::Completed).expect(&["a completed", "b event passed: skipped_overlap"]);
    bench
        .ok(Command::Want { target: one("a"), wish: Wish::Stop { mode: StopMode::Terminate }, reason: None })
        .quietly()
        .complete()
        .expect(&["b completed"]);
}

#[test]
fn of_events_at_one_instant_a_queue_keeps_the_second() {
    let on = Schedule::On(EventTrigger { event: EventType::SlotSkipped, agent: None, untrusted: false });
    for (overlap, expected) in [
        (Overlap::Skip, ["c claimed: event", "c event passed: skipped_overlap"].as_slice()),
        (Overlap::Queue, &["c claimed: event", "c claimed: event"]),
        (Overlap::Parallel, &["c claimed: event", "c claimed: event"]),
    ] {
        let mut listener = plain("c", on.clone());
        listener.overlap = overlap;
        let mut bench = Bench::new(&[plain("a", every(60)), plain("b", every(60)), listener]);
        bench.begin(0).begin(1).quietly();
        bench.wait(60);
        let told = bench.said();
        let of_c: Vec<_> =
            told.iter().filter(|line| line.starts_with("c ") && !line.contains("start")).collect();
        assert_eq!(of_c, expected, "{overlap:?}: {told:?}");
    }
}

#[test]
fn busy_agents_do_not_set_each_other_off() {
    let on = Schedule::On(EventTrigger { event: EventType::SlotSkipped, agent: None, untrusted: false });
    let mut specs: Vec<AgentSpec> = (0..12).map(|n| plain(&format!("on{n:02}"), on.clone())).collect();
    specs.push(plain("a", every(60)));
    let mut bench = Bench::new(&specs);
    bench.wait(60).quietly().wait(60);
    assert_eq!(bench.said().len(), 13);
}

#[test]
fn what_ends_while_going_down_starts_its_listeners_in_the_next_life() {
    let on = Schedule::On(EventTrigger { event: EventType::TaskCompleted, agent: None, untrusted: false });
    for overlap in [Overlap::Skip, Overlap::Queue, Overlap::CancelPrevious] {
        let mut listener = plain("c", on.clone());
        listener.overlap = overlap;
        let mut bench = Bench::new(&[plain("a", every(600)), plain("b", every(600)), listener]);
        bench.begin(0).begin(1).quietly();
        bench.input(Input::ShutDown { reason: "asked".into() }).quietly();
        bench.end(0, AttemptEnd::Completed).expect(&["a completed", "c claimed: event"]);
        bench.end(0, AttemptEnd::Completed).expect(&["b completed", "c claimed: event"]);
        // one after the other, although each is for an event of its own
        bench.crash(1).expect(&["c start 1"]);
        bench.complete().expect(&["c completed", "c start 1"]);
        bench.complete().expect(&["c completed"]);
    }
}

#[test]
fn an_event_passes_a_paused_agent_with_a_word_and_a_stopped_one_without() {
    let on = Schedule::On(EventTrigger { event: EventType::TaskCompleted, agent: None, untrusted: false });
    let mut bench = Bench::new(&[plain("a", every(60)), plain("b", on.clone()), plain("c", on)]);
    bench
        .ok(Command::Want { target: one("b"), wish: Wish::Pause { until: None }, reason: None })
        .ok(Command::Want { target: one("c"), wish: Wish::Stop { mode: StopMode::Drain }, reason: None })
        .quietly();
    bench.complete().expect(&["a completed", "b event passed: skipped_paused"]);
}

#[test]
fn a_slot_that_passed_without_a_daemon_and_is_not_made_up_for_says_both() {
    let mut bench = Bench::new(&[agent("a", every(60), |a| {
        a.retry = RetrySpec { max: 3, initial: secs(500), max_delay: secs(500), ..a.retry };
    })]);
    bench.fail(ErrorKind::Network).quietly().crash(100);
    let said = bench.said();
    let wanted = "a 60 skipped_overlap: the daemon was not running; not caught up";
    assert!(said.iter().any(|line| line == wanted), "{said:?}");
}

#[test]
fn slots_of_a_time_whose_records_were_lost_may_have_run() {
    for (until, downtime) in [(Some(300), false), (Some(200), true), (None, false)] {
        let mut bench = Bench::new(&[agent("a", every(60), catching_up(CatchUpPolicy::None))]);
        bench.complete().quietly();
        bench.lost = Some(LostRecords { since: t(60), until: until.map(t) });
        bench.crash(250);
        let said = bench.said().join("\n");
        assert!(said.contains("what was recorded then is lost, since a copy of "), "{said}");
        assert!(said.contains("it may have run"), "{said}");
        // of slots on both sides of it, both are said
        assert_eq!(said.contains("the daemon was not running, or what"), downtime, "{said}");
    }
    let lost = LostRecords { since: t(60), until: Some(t(200)) };
    assert!(lost.holds(t(60)) && lost.holds(t(200)) && !lost.holds(t(201)) && !lost.holds(t(59)));
    // what comes after it is downtime and no more
    let mut bench = Bench::new(&[agent("a", every(60), catching_up(CatchUpPolicy::None))]);
    bench.complete().quietly();
    bench.lost = Some(LostRecords { since: t(10), until: Some(t(20)) });
    bench.crash(200).expect(&["a 60..180 x3 missed_downtime: the daemon was not running"]);
}
