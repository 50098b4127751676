//! Silence: an agent is late once, a run is slow once, and both end.
use super::*;

fn watched(with: impl FnOnce(&mut AgentSpec)) -> AgentSpec {
    agent("a", every(60), |a| {
        let on = vec![TellOn::Late, TellOn::Slow, TellOn::Recovered, TellOn::IncidentOpened];
        a.notify = Some(Arc::new(NotifySpec { to: vec!["ops".into()], on, repeat: secs(600) }));
        with(a);
    })
}

fn said(bench: &mut Bench) -> Vec<String> {
    let mut said = bench.said();
    said.retain(|line| ["late", "slow", "tell", "incident"].iter().any(|word| line.contains(word)));
    said
}

const NOTHING: [&str; 0] = [];

#[test]
fn an_agent_is_late_once_until_a_run_completes() {
    let mut bench = Bench::new(&[watched(|a| a.late_after = Some(secs(90)))]);
    bench.begin(0).wait(89);
    assert_eq!(said(&mut bench), NOTHING);
    bench.wait(1);
    assert_eq!(said(&mut bench), ["a late", "tell ops late", "a incident critical"]);
    bench.wait(300);
    assert_eq!(said(&mut bench), NOTHING, "told once");
    bench.end_with(0, AttemptOutcome::of(AttemptEnd::Completed));
    assert_eq!(said(&mut bench), ["tell ops recovered", "a incident over"]);
    // the next slot is awaited anew
    bench.wait(60).complete().wait(59);
    assert_eq!(said(&mut bench), NOTHING);
}

#[test]
fn runs_that_fail_are_no_answer_and_a_closed_gate_is_one() {
    let mut bench = Bench::new(&[watched(|a| a.late_after = Some(secs(90)))]);
    bench.fail(ErrorKind::Tool).wait(60).fail(ErrorKind::Tool).wait(30);
    assert!(said(&mut bench).contains(&"a late".to_owned()));
    let mut bench = Bench::new(&[watched(|a| a.late_after = Some(secs(90)))]);
    for _ in 0..5 {
        bench.end_with(0, AttemptOutcome::of(AttemptEnd::GateClosed)).wait(60);
    }
    assert_eq!(said(&mut bench), NOTHING);
}

#[test]
fn who_is_not_to_run_is_not_late() {
    let mut bench = Bench::new(&[watched(|a| a.late_after = Some(secs(90)))]);
    bench.fail(ErrorKind::Tool).quietly();
    bench
        .ok(Command::Want { target: Target::One(id("a")), wish: Wish::Pause { until: None }, reason: None })
        .wait(500);
    assert_eq!(said(&mut bench), NOTHING);
    bench.ok(Command::Want { target: Target::One(id("a")), wish: Wish::Resume, reason: None }).wait(50);
    assert_eq!(said(&mut bench), NOTHING);
    bench.begin(0).wait(100);
    assert!(said(&mut bench).contains(&"a late".to_owned()));
    bench.ok(Command::Want { target: Target::One(id("a")), wish: Wish::Pause { until: None }, reason: None });
    assert_eq!(said(&mut bench), ["a incident over"], "nobody hears that it works again");
}

#[test]
fn what_is_late_stays_so_over_a_restart() {
    let mut bench = Bench::new(&[watched(|a| a.late_after = Some(secs(90)))]);
    bench.begin(0).wait(95).quietly();
    bench.crash(5).quietly();
    assert!(bench.incidents.contains_key(&(id("a"), "late:a".into())));
    bench.wait(60).complete();
    assert!(said(&mut bench).contains(&"a incident over".to_owned()));
    assert!(!bench.incidents.contains_key(&(id("a"), "late:a".into())));
}

#[test]
fn a_run_is_slow_once_until_it_ends() {
    let mut bench = Bench::new(&[watched(|a| a.slow_after = Some(secs(30)))]);
    bench.begin(0).wait(29);
    assert_eq!(said(&mut bench), NOTHING);
    bench.wait(1);
    assert_eq!(said(&mut bench), ["a slow", "tell ops slow", "a incident warning"]);
    bench.wait(20);
    assert_eq!(said(&mut bench), NOTHING);
    bench.end_with(0, AttemptOutcome::of(AttemptEnd::Completed));
    assert_eq!(said(&mut bench), ["tell ops recovered", "a incident over"]);
    bench.wait(10).complete().wait(40);
    assert_eq!(said(&mut bench), NOTHING, "one that ends in time");
}

#[test]
fn a_slow_run_that_a_crash_ends_leaves_no_incident() {
    let mut bench = Bench::new(&[watched(|a| a.slow_after = Some(secs(30)))]);
    bench.begin(0).wait(35).quietly();
    assert!(bench.incidents.contains_key(&(id("a"), "slow:a".into())));
    bench.crash(5).quietly();
    assert!(!bench.incidents.contains_key(&(id("a"), "slow:a".into())));
}

#[test]
fn slots_outside_of_the_active_hours_await_nothing() {
    let with = |a: &mut AgentSpec| {
        a.late_after = Some(secs(90));
        a.active_times = active_times::within(0, 120);
    };
    let mut bench = Bench::new(&[watched(with)]);
    bench.complete().wait(60).complete().wait(600);
    assert_eq!(said(&mut bench), NOTHING);
}

#[test]
fn what_is_awaited_outlives_a_restart() {
    let mut bench = Bench::new(&[watched(|a| a.late_after = Some(secs(90)))]);
    bench.fail(ErrorKind::Tool).wait(50).quietly();
    bench.crash(20).quietly();
    bench.wait(19);
    assert_eq!(said(&mut bench), NOTHING, "89 seconds");
    bench.wait(1);
    assert!(said(&mut bench).contains(&"a late".to_owned()), "90 seconds after its slot");
    bench.crash(5).wait(300);
    let again = said(&mut bench);
    assert!(!again.contains(&"a late".to_owned()), "told once: {again:?}");
    bench.crash(5).quietly();
    bench.wait(60).complete();
    assert!(said(&mut bench).contains(&"a incident over".to_owned()));
}

#[test]
fn a_clock_that_is_set_makes_nobody_late() {
    let mut bench = Bench::new(&[watched(|a| {
        (a.late_after, a.schedule) = (Some(secs(90)), every(86_400));
    })]);
    bench.begin(0).wait(10).jump(3600).wait(79);
    assert_eq!(said(&mut bench), NOTHING, "89 seconds");
    bench.wait(1);
    assert!(said(&mut bench).contains(&"a late".to_owned()));
    let mut bench = Bench::new(&[watched(|a| a.late_after = Some(secs(90)))]);
    bench.begin(0).wait(10).jump(-3600).wait(80);
    assert!(said(&mut bench).contains(&"a late".to_owned()), "nor does it hide who is");
}

#[test]
fn another_late_after_counts_from_the_same_slot() {
    let mut bench = Bench::new(&[watched(|a| a.late_after = Some(secs(90)))]);
    bench.begin(0).wait(30).quietly();
    bench.reload(&[watched(|a| a.late_after = Some(secs(40)))]).wait(9);
    assert_eq!(said(&mut bench), NOTHING);
    bench.wait(1);
    assert!(said(&mut bench).contains(&"a late".to_owned()));
    let mut bench = Bench::new(&[watched(|a| a.late_after = Some(secs(90)))]);
    bench.begin(0).wait(30).quietly();
    bench.reload(&[watched(|_| {})]).wait(300);
    assert_eq!(said(&mut bench), NOTHING);
}

#[test]
fn a_slow_run_that_goes_on_after_a_restart_is_told_once() {
    let query = |a: &mut AgentSpec| {
        a.slow_after = Some(secs(30));
        a.body = money::thinker("a", |_| ()).body;
    };
    let mut bench = Bench::new(&[watched(query)]);
    bench.begin(0).wait(35);
    assert_eq!(said(&mut bench), ["a slow", "tell ops slow", "a incident warning"]);
    bench.crash(5).wait(60);
    assert_eq!(said(&mut bench), NOTHING);
    assert!(bench.incidents.contains_key(&(id("a"), "slow:a".into())));
}

#[test]
fn a_monitor_hears_of_each_slot_that_was_handled() {
    use PingSignal::{Fail, Start, Success};
    let pinged = || {
        let url = TextOrSecret::Text("https://hc.example/1".into());
        Some(Arc::new(PingSpec { url, every: PingSpec::EVERY }))
    };
    let heard = |bench: &mut Bench| {
        std::mem::take(&mut bench.pings).into_iter().map(|(_, signal)| signal).collect::<Vec<_>>()
    };
    let mut bench = Bench::new(&[watched(|a| a.ping = pinged())]);
    bench.complete();
    assert_eq!(heard(&mut bench), [Start, Success]);
    bench.wait(60).fail(ErrorKind::Tool);
    assert_eq!(heard(&mut bench), [Start, Fail]);
    bench.wait(60).end_with(0, AttemptOutcome::of(AttemptEnd::GateClosed));
    assert_eq!(heard(&mut bench), [Success], "a gate that had nothing to do");
    bench.wait(60).ok(Command::Want {
        target: Target::One(id("a")),
        wish: Wish::Pause { until: None },
        reason: None,
    });
    bench.wait(600);
    assert!(!heard(&mut bench).contains(&Success), "who is paused handles nothing");
    // a look that finds all well
    let looks = |a: &mut AgentSpec| (a.ping, a.history) = (pinged(), History::Changes);
    let mut bench = Bench::new(&[watched(looks)]);
    bench.complete();
    assert_eq!(heard(&mut bench), [Start, Success]);
    bench.wait(60).end_with(0, AttemptOutcome::of(AttemptEnd::Completed));
    assert_eq!(heard(&mut bench), [Success]);
}
