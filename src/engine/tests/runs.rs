//! Overlap, the queue, locks, retries, the circuit, gates, and what a restart makes of runs.
use super::*;

#[test]
fn overlap_skip_skips() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.begin(0).wait(120).complete_nth();
    bench.expect(&["a 0 ran", "a start 1", "a 60 skipped_overlap", "a 120 skipped_overlap +", "a completed"]);
}

#[test]
fn overlap_queue_lets_one_wait() {
    let mut bench = Bench::new(&[agent("a", every(60), |a| a.overlap = Overlap::Queue)]);
    bench.begin(0).wait(60).expect(&["a 0 ran", "a start 1", "a 60 ran"]);
    bench.wait(60);
    assert!(bench.said().concat().starts_with("a 120 dropped: the queue is full"));
    bench.complete_nth().expect(&["a completed", "a start 1"]);
}

#[test]
fn overlap_cancel_previous_ends_the_one_in_flight() {
    let mut bench = Bench::new(&[agent("a", every(60), |a| a.overlap = Overlap::CancelPrevious)]);
    bench.begin(0).wait(60).expect(&["a 0 ran", "a start 1", "a 60 ran", "a term"]);
    bench.wait(60).expect(&["a 60 is dropped: a newer slot takes its place", "a 120 ran", "a term"]);
    bench.end(0, AttemptEnd::Cancelled).expect(&["a cancelled", "a start 1"]);
    assert_eq!(bench.state("a").record.counters.errors, 0);
}

#[test]
fn overlap_parallel_runs_both() {
    let mut bench = Bench::new(&[agent("a", every(60), |a| a.overlap = Overlap::Parallel)]);
    bench.wait(60).expect(&["a 0 ran", "a start 1", "a 60 ran", "a start 1"]);
}

#[test]
fn the_queue_is_fair_and_bounded() {
    let specs = ["a", "b", "c", "d"].map(|name| plain(name, every(600)));
    let mut bench = Bench::with_fleet(fleet(&specs, 2));
    let mut order = bench.said();
    for _ in 0..4 {
        assert!(bench.active.len() <= 2 && bench.engine.active_runs() == bench.active.len());
        bench.complete();
        order.append(&mut bench.said());
    }
    order.retain(|line| line.contains("start"));
    assert_eq!(order, ["a start 1", "b start 1", "c start 1", "d start 1"]);
}

#[test]
fn a_lock_has_one_holder_and_a_fair_line() {
    let specs = ["a", "b", "c"].map(|name| {
        agent(name, every(600), |a| {
            a.lock = Some("db".into());
            a.retry = RetrySpec { max: 1, initial: secs(100), ..a.retry };
        })
    });
    let mut bench = Bench::new(&specs);
    bench.expect(&["a 0 ran", "b 0 ran", "c 0 ran", "a start 1"]);
    bench.fail(ErrorKind::Network).expect(&["a attempt 1 failed: network", "b start 1"]);
    // a is behind c when its next attempt is due
    bench.wait(150).complete().expect(&["b completed", "c start 1"]);
    bench.complete().expect(&["c completed", "a start 2"]);
}

#[test]
fn who_came_first_is_first_whoever_held_the_place() {
    let busy = |name: &str, overlap| {
        agent(name, every(60), |a| {
            a.overlap = overlap;
            a.lock = Some("db".into());
        })
    };
    // by a lock, and by the only place
    let specs = [busy("a", Overlap::Queue), busy("b", Overlap::Skip)];
    for places in [64, 1] {
        let mut bench = Bench::with_fleet(fleet(&specs, places));
        bench.expect(&["a 0 ran", "b 0 ran", "a start 1"]);
        bench.wait(60).expect(&["a 60 ran", "b 60 skipped_overlap"]);
        bench.complete().expect(&["a completed", "b start 1"]);
        bench.complete().expect(&["b completed", "a start 1"]);
    }
    // one that is replaced while it waits does not lose its turn
    let mut bench = Bench::new(&[busy("a", Overlap::Queue), busy("b", Overlap::CancelPrevious)]);
    bench.expect(&["a 0 ran", "b 0 ran", "a start 1"]);
    bench.wait(60).expect(&["a 60 ran", "b 0 is dropped: a newer slot takes its place", "b 60 ran"]);
    bench.complete().expect(&["a completed", "b start 1"]);
}

#[test]
fn only_some_failures_are_tried_again() {
    use ErrorKind::*;
    for (kind, explicit, again) in [
        (Timeout, false, true),
        (RateLimit, false, true),
        (Provider, false, true),
        (Network, false, true),
        (ExitStatus, false, false),
        (ExitStatus, true, true),
        (Auth, true, false),
        (Config, true, false),
        (Budget, true, false),
        (RequestLimit, true, false),
        (TokenLimit, true, false),
        (StepLimit, true, false),
        (CostLimit, true, false),
        (EmptyAnswer, true, false),
        (BadResponse, true, false),
        (CallAsText, true, false),
        (Tool, true, false),
        (Signal, true, false),
        (Spawn, true, false),
        (Unverified, true, false),
    ] {
        let mut bench =
            Bench::new(&[agent("a", every(6000), |a| a.retry = RetrySpec { max: 2, explicit, ..a.retry })]);
        bench.fail(kind);
        let said = bench.said();
        assert_eq!(said[2].contains("attempt 1 failed"), again, "{kind} {explicit}: {said:?}");
    }
}

#[test]
fn retries_end_and_count_as_one_run() {
    let mut bench = Bench::new(&[agent("a", every(6000), |a| {
        a.retry = RetrySpec { max: 2, backoff: Backoff::Exponential, ..a.retry };
    })]);
    bench.fail(ErrorKind::Timeout).wait(11).fail(ErrorKind::Timeout).wait(21).fail(ErrorKind::Timeout);
    bench.expect(&[
        "a 0 ran",
        "a start 1",
        "a attempt 1 failed: timeout",
        "a start 2",
        "a attempt 2 failed: timeout",
        "a start 3",
        "a timed_out",
        "a incident critical",
    ]);
    let counters = bench.state("a").record.counters;
    assert_eq!((counters.runs, counters.errors, counters.errors_in_row), (1, 1, 1));
}

#[test]
fn total_timeout_and_retry_after_bound_the_wait() {
    let spec = agent("a", every(6000), |a| {
        a.retry = RetrySpec { max: 9, ..a.retry };
        Arc::make_mut(&mut a.limits).total_timeout = Some(secs(120));
    });
    let asks = |seconds: i64| {
        let mut outcome =
            AttemptOutcome::of(AttemptEnd::Failed(RunError::new(ErrorKind::RateLimit, "slow down")));
        outcome.retry_after = Some(secs(seconds));
        outcome
    };
    let mut bench = Bench::new(&[spec]);
    bench.begin(0).end_with(0, asks(60)).wait(59).expect(&[
        "a 0 ran",
        "a start 1",
        "a attempt 1 failed: rate_limit",
    ]);
    bench.wait(2).expect(&["a start 2"]);
    bench.begin(0).end_with(0, asks(60)).expect(&["a failed", "a incident critical"]);
}

#[test]
fn the_circuit_opens_lets_one_try_and_closes() {
    let mut bench = Bench::new(&[agent("a", every(60), |a| {
        a.circuit = CircuitSpec { open_after: 2, cooldown: secs(100) }
    })]);
    bench.fail(ErrorKind::Tool).wait(60).fail(ErrorKind::Tool);
    bench.expect(&[
        "a 0 ran",
        "a start 1",
        "a failed",
        "a incident critical",
        "a 60 ran",
        "a start 1",
        "a failed",
        "a circuit open until 160",
    ]);
    bench.wait(60);
    assert!(bench.said().concat().starts_with("a 120 refused_circuit: its circuit is open after 2 failures"));
    bench.wait(60).fail(ErrorKind::Tool).expect(&[
        "a 180 ran",
        "a start 1",
        "a failed",
        "a circuit open until 280",
    ]);
    bench.crash(1).wait(119).complete();
    let said = bench.said();
    assert!(said[0].starts_with("a 240 refused_circuit"), "{said:?}");
    assert_eq!(said[1..], ["a 300 ran", "a start 1", "a completed", "a circuit closed", "a incident over"]);
    // by hand
    bench.fail_rounds(2).quietly();
    assert_eq!(bench.state("a").health, Health::CircuitOpen);
    bench
        .ok(Command::Want { target: one("a"), wish: Wish::Start, reason: None })
        .expect(&["a circuit closed"]);
}

#[test]
fn a_closed_gate_revises_its_slot_and_is_told_once() {
    let mut bench = Bench::new(&[agent("a", every(60), |a| a.overlap = Overlap::Parallel)]);
    bench.end(0, AttemptEnd::GateClosed).wait(60).end(0, AttemptEnd::GateClosed);
    bench.expect(&[
        "a 0 ran",
        "a start 1",
        "a 0 is skipped_gate: the gate says that there is nothing to do",
        "a 60 ran",
        "a start 1",
        "a 60 is skipped_gate: the gate says that there is nothing to do (quiet)",
    ]);
    assert_eq!(bench.state("a").record.counters, Counters { skipped: 2, ..Counters::default() });
    // a later slot was judged in between: the records are no longer neighbours
    bench
        .wait(60)
        .wait(60)
        .end(0, AttemptEnd::GateClosed)
        .end(0, AttemptEnd::GateClosed)
        .wait(60)
        .end(0, AttemptEnd::GateClosed);
    let said: Vec<String> = bench.said().into_iter().filter(|line| line.contains(" is ")).collect();
    let quiet: Vec<bool> = said.iter().map(|line| line.ends_with("(quiet)")).collect();
    assert_eq!(quiet, [true, false, true], "{said:?}");
}

#[test]
fn a_gate_that_closes_on_a_retry_forgets_nothing() {
    let mut bench = Bench::new(&[agent("a", every(600), |a| a.retry = RetrySpec { max: 1, ..a.retry })]);
    bench.fail(ErrorKind::Network).wait(10).end(0, AttemptEnd::GateClosed);
    assert_eq!(bench.said()[3..], ["a start 2", "a cancelled"]);
    assert_eq!(bench.state("a").record.counters, Counters { runs: 1, ..Counters::default() });
}

#[test]
fn a_restart_knows_what_ran() {
    // claimed, no process: it never ran and starts now
    let mut bench = Bench::new(&[plain("a", every(600))]);
    bench.quietly().crash(5).expect(&["a start 1"]);
    // in flight: interrupted
    bench.begin(0).crash(5).expect(&["a interrupted", "a incident critical"]);
    assert_eq!(bench.state("a").record.counters.errors, 1);
    // in flight, with retries: another attempt of the same run
    let mut bench = Bench::new(&[agent("a", every(600), |a| a.retry = RetrySpec { max: 1, ..a.retry })]);
    bench.begin(0).quietly().crash(5).expect(&["a attempt 1 failed: interrupted"]);
    bench.crash(1).wait(10).expect(&["a start 2"]);
    bench.begin(0).crash(5).expect(&["a interrupted", "a incident critical"]);
}

#[test]
fn two_runs_between_attempts_do_not_block_each_other_for_ever() {
    let with = |overlap| {
        move |a: &mut AgentSpec| {
            a.retry = RetrySpec { max: 3, initial: secs(20), ..a.retry };
            a.overlap = overlap;
        }
    };
    let mut bench = Bench::new(&[agent("a", every(600), with(Overlap::Parallel))]);
    bench
        .ok(Command::Run { agent: id("a"), query: None, params: ParamValues::new(), mode: RunMode::Normal })
        .begin(0)
        .begin(1);
    bench.fleet = fleet(&[agent("a", every(600), with(Overlap::Skip))], 64);
    bench.quietly().crash(1).wait(30);
    assert_eq!(bench.active.len(), 1);
    bench.complete();
    assert_eq!(bench.active.len(), 1);
    bench.complete();
    assert_eq!(bench.state("a").activity, Activity::Idle);
}

#[test]
fn a_refused_claim_leaves_no_trace() {
    let mut bench = Bench::new(&[plain("a", Schedule::After(secs(60)))]);
    let (run, _) = bench.active.remove(0);
    bench.quietly().input(Input::ClaimRefused { run }).expect(&[]);
    assert_eq!(bench.engine.active_runs(), 0);
    assert_eq!(bench.state("a").activity, Activity::Idle);
    bench.wait(60).expect(&["a 60 ran", "a start 1"]);
}

impl Bench {
    /// The oldest attempt, which has begun, completes.
    fn complete_nth(&mut self) -> &mut Self {
        self.end(0, AttemptEnd::Completed)
    }

    fn fail_rounds(&mut self, rounds: usize) -> &mut Self {
        for _ in 0..rounds {
            self.wait(60).fail(ErrorKind::Tool);
        }
        self
    }
}

/// A probe in a gate goes on looking while the circuit is open, and nothing of the body runs.
#[test]
fn an_open_circuit_does_not_stop_the_checks_of_a_gate() {
    let spec = agent("a", every(60), |a| {
        a.circuit = CircuitSpec { open_after: 1, cooldown: secs(150) };
        let body = CheckBody::Tool(ToolCallSpec { tool: "probe".into(), args: serde_json::Value::Null });
        a.gate = Some(std::sync::Arc::new(Check { body, expect: Vec::new(), novel_by: Vec::new() }));
    });
    let mut bench = Bench::new(&[spec]);
    bench.fail(ErrorKind::Tool).quietly();
    let looks = |bench: &mut Bench, level: Level, end: AttemptEnd| {
        bench.wait(60);
        assert!(bench.said().contains(&"a ask gate 1".to_owned()), "only the gate is asked");
        let (key, title) = ("disk".into(), "disk".into());
        let findings = vec![Finding { key, level, title, hold_for: secs(0), by: FoundBy::Check }];
        bench.end_with(0, AttemptOutcome { findings, ..AttemptOutcome::of(end) });
        bench.said()
    };
    let said = looks(&mut bench, Level::Crit, AttemptEnd::GateOpen).join("\n");
    assert!(said.contains("a disk: incident") || said.contains("incident critical"), "{said}");
    assert!(said.contains("refused_circuit: its circuit is open after 1 failures in a row"), "{said}");
    assert!(said.contains("the gate was asked all the same"), "{said}");
    assert!(!bench.incidents.is_empty());
    let said = looks(&mut bench, Level::Ok, AttemptEnd::GateClosed).join("\n");
    assert!(said.contains("skipped_gate"), "{said}");
    assert!(bench.incidents.keys().all(|key| !format!("{key:?}").contains("disk")));
    // the circuit has its time: then the body runs again
    bench.wait(60);
    assert!(bench.said().contains(&"a start 1".to_owned()));
}
