//! A new configuration, while running and over a restart.
use super::*;

#[test]
fn an_unchanged_agent_keeps_anchor_counters_and_next_slot() {
    let specs = [plain("a", every(60)), plain("b", every(60))];
    let mut bench = Bench::new(&specs);
    bench.complete().complete().wait(30).quietly();
    let before = bench.state("a").record;
    bench.reload(&[specs[0].clone(), plain("b", every(90))]);
    assert_eq!(bench.state("a").record, before);
    // another timeout is no other schedule
    bench.reload(&[agent("a", every(60), |a| a.overlap = Overlap::Parallel), plain("b", every(90))]);
    let after = bench.state("a").record;
    assert_eq!(
        (after.anchor, after.counters, after.next_due),
        (before.anchor, before.counters, before.next_due)
    );
    bench.wait(30).expect(&["a 60 ran", "a start 1"]);
}

#[test]
fn a_changed_schedule_does_not_fire_at_once() {
    for to in [every(45), Schedule::After(secs(45))] {
        for restart in [false, true] {
            let mut bench = Bench::new(&[plain("a", every(60))]);
            bench.complete().wait(30).quietly();
            if restart {
                bench.fleet = fleet(&[plain("a", to.clone())], 64);
                bench.crash(0);
            } else {
                bench.reload(&[plain("a", to.clone())]);
            }
            bench.wait(44).expect(&[]);
            bench.wait(1).expect(&["a 75 ran", "a start 1"]);
        }
    }
}

#[test]
fn schedules_that_differ_by_seconds_differ() {
    let mut bench = Bench::new(&[plain("a", every(90_000))]);
    bench.complete().quietly().wait(50_000);
    bench.fleet = fleet(&[plain("a", every(90_060))], 64);
    bench.crash(0);
    assert_eq!(bench.state("a").next_slot, Some(t(50_000 + 90_060)));
}

#[test]
fn a_removed_agent_is_out_and_comes_back_as_it_was() {
    let specs = [
        plain("a", every(60)),
        agent("b", Schedule::After(secs(60)), |b| b.retry = RetrySpec { max: 1, ..b.retry }),
    ];
    for restart in [false, true] {
        let mut bench = Bench::new(&specs);
        bench.complete().begin(0).quietly();
        bench
            .ok(Command::Want {
                target: one("a"),
                wish: Wish::Pause { until: Some(PauseEnd::At(t(500))) },
                reason: None,
            })
            .quietly();
        bench.reload(&[]).expect(&[
            "a paused -> stopped: removed from the configuration",
            "b active -> stopped: removed from the configuration",
        ]);
        bench.wait(100).expect(&[]);
        if restart {
            bench.crash(0).expect(&["b interrupted"]);
        } else {
            // it is not tried again, and no slot follows
            bench.end(0, AttemptEnd::Failed(RunError::new(ErrorKind::Network, "broken"))).wait(200);
            bench.expect(&["b failed"]);
        }
        bench.reload(&specs);
        let said = bench.said();
        assert_eq!(
            said[..2],
            [
                "a stopped -> paused: it is back in the configuration",
                "b stopped -> active: it is back in the configuration"
            ]
        );
        assert_eq!(bench.state("b").record.counters.errors, 1);
        let back = bench.now.wall;
        bench.wait(60);
        assert!(bench.said().contains(&format!("b {} ran", bench.rel(back + secs(60)))));
        bench.wait(500);
        assert_eq!(bench.state("a").record.desired, Desired::Active, "its pause ended");
    }
}

#[test]
fn a_queued_run_of_an_agent_removed_while_down_is_dropped() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.fleet = fleet(&[], 64);
    bench.quietly().crash(5).expect(&[
        "a active -> stopped: removed from the configuration",
        "a 0 is dropped: its agent is no longer in the configuration",
    ]);
    assert_eq!(bench.agents[&id("a")].counters.skipped, 1);
    assert!(bench.agents[&id("a")].removed);
}

#[test]
fn incidents_end_with_their_agent() {
    for restart in [false, true] {
        let mut bench = Bench::new(&[plain("a", every(60))]);
        bench.find(Level::Warn, 0).quietly();
        if restart {
            bench.fleet = fleet(&[], 64);
            bench.crash(1);
        } else {
            bench.reload(&[]);
        }
        assert!(bench.said().contains(&"a incident over".to_owned()));
        assert!(bench.incidents.is_empty());
    }
}

#[test]
fn a_run_keeps_the_configuration_that_it_started_with() {
    let mut bench = Bench::new(&[agent("a", every(600), |a| a.retry = RetrySpec { max: 1, ..a.retry })]);
    bench.begin(0).quietly().reload(&[plain("a", every(600))]);
    bench.end(0, AttemptEnd::Failed(RunError::new(ErrorKind::Network, "broken")));
    bench.expect(&["a attempt 1 failed: network"]);
}

#[test]
fn enabled_is_asked_only_the_first_time() {
    let off = || agent("a", every(60), |a| a.enabled = false);
    let mut bench = Bench::new(&[off()]);
    bench.wait(100).expect(&[]);
    bench.ok(Command::Want { target: one("a"), wish: Wish::Start, reason: None }).quietly().crash(1);
    assert_eq!(bench.state("a").record.desired, Desired::Active);
    bench.reload(&[agent("a", every(60), |a| (a.enabled, a.overlap) = (false, Overlap::Parallel))]);
    assert_eq!(bench.state("a").record.desired, Desired::Active);
}

#[test]
fn a_restart_says_what_changed_once() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.fleet = fleet(&[agent("a", every(60), |a| a.overlap = Overlap::Queue)], 64);
    bench.crash(0);
    let hash = bench.agents[&id("a")].config_hash;
    assert_eq!(hash, bench.fleet.agents[0].config_hash, "the row knows the new configuration");
}
