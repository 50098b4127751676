//! Runs of a probe that find all well and leave no record.
use super::*;

/// A probe each minute that keeps what changes.
fn watch(with: impl FnOnce(&mut AgentSpec)) -> AgentSpec {
    agent("a", every(60), |a| {
        let args = serde_json::Value::Null;
        a.body = Body::Tool(Arc::new(ToolCallSpec { tool: "probe".into(), args }));
        a.history = History::Changes;
        with(a);
    })
}

fn found(levels: &[Level]) -> AttemptOutcome {
    let finding = |(nth, level): (usize, &Level)| Finding {
        key: format!("check {nth}"),
        level: *level,
        title: level.to_string(),
        hold_for: secs(0),
        by: FoundBy::Check,
    };
    let findings = levels.iter().enumerate().map(finding).collect();
    AttemptOutcome { findings, ..AttemptOutcome::of(AttemptEnd::Completed) }
}

impl Bench {
    /// The oldest attempt in flight looks, without a word of its beginning.
    fn look(&mut self, levels: &[Level]) -> &mut Self {
        self.end_with(0, found(levels))
    }

    /// The first run of a life is begun and kept.
    fn calm(&mut self) -> &mut Self {
        self.begin(0).look(&[Level::Ok]).quietly().wait(60)
    }

    fn last(&self) -> (bool, RunStatus, i64) {
        let last = self.state("a").record.last_run.expect("it ran");
        (last.kept, last.status, last.finished_at.duration_since(t(0)).as_secs())
    }
}

#[test]
fn a_look_that_finds_all_well_leaves_counters_only() {
    let mut bench = Bench::new(&[watch(|_| ())]);
    bench.expect(&["a 0 ran", "a start 1"]).begin(0).look(&[Level::Ok]).expect(&["a completed"]);
    assert_eq!(bench.last(), (true, RunStatus::Completed, 0));
    bench.wait(60).expect(&["a 60 ran", "a start 1"]);
    bench.pass(secs(2));
    bench.look(&[Level::Ok, Level::Hold]).expect(&["a 60 is ran: all well (quiet)"]);
    assert_eq!(bench.last(), (false, RunStatus::Completed, 62));
    let record = bench.state("a").record;
    assert_eq!(record, bench.agents[&id("a")], "it is durable");
    assert_eq!((record.counters.runs, record.counters.successes, record.counters.skipped), (2, 2, 0));
    assert_eq!((record.last_success, record.last_end), (Some(t(62)), Some(t(62))));
    let last = record.last_run.unwrap();
    assert_eq!((last.started_at, last.duration), (Some(t(60)), secs(2)));
    assert!(bench.open.is_empty());
}

#[test]
fn what_changes_something_is_kept() {
    let mut bench = Bench::new(&[watch(|_| ())]);
    bench.calm().quietly();
    bench.pass(secs(3));
    bench.look(&[Level::Ok, Level::Warn]).expect(&["a incident warning", "a completed"]);
    let last = bench.state("a").record.last_run.unwrap();
    assert_eq!((last.started_at, last.duration), (Some(t(60)), secs(3)), "it began when it looked");
    // as long as it is bad, and when it is over
    bench.wait(60).quietly().look(&[Level::Ok, Level::Warn]).expect(&["a completed"]);
    bench.wait(60).quietly().look(&[Level::Ok, Level::Hold]).expect(&["a completed"]);
    bench.wait(60).quietly().look(&[Level::Ok, Level::Ok]).expect(&["a incident over", "a completed"]);
    bench.wait(60).quietly().look(&[Level::Ok, Level::Ok]).expect(&["a 300 is ran: all well (quiet)"]);
    // a check that can't be made
    let unsure = AttemptOutcome { warnings: vec!["not checked".into()], ..found(&[Level::Hold]) };
    bench.wait(60).quietly().end_with(0, unsure).expect(&["a completed"]);
    assert_eq!(bench.state("a").record.counters.runs, 7);
}

#[test]
fn a_problem_that_is_not_an_incident_yet_is_kept_and_so_is_its_end() {
    let mut bench = Bench::new(&[watch(|_| ())]);
    let mut pending = found(&[Level::Crit]);
    pending.findings[0].hold_for = secs(90);
    bench.calm().quietly().end_with(0, pending).expect(&["a completed"]);
    bench.wait(60).quietly().look(&[Level::Ok]).expect(&["a incident was nothing", "a completed"]);
    bench.wait(60).quietly().look(&[Level::Ok]).expect(&["a 180 is ran: all well (quiet)"]);
}

#[test]
fn a_failure_is_kept_and_the_run_after_it() {
    let retry = |a: &mut AgentSpec| (a.retry.max, a.retry.initial) = (1, secs(1));
    let mut bench = Bench::new(&[watch(retry)]);
    let broken = AttemptEnd::Failed(RunError::new(ErrorKind::Timeout, "broken"));
    bench.calm().quietly().end(0, broken.clone()).expect(&["a attempt 1 failed: timeout"]);
    bench.wait(1).expect(&["a start 2"]).begin(0).look(&[Level::Ok]).expect(&["a completed"]);
    bench.wait(59).quietly().look(&[Level::Ok]).expect(&["a 120 is ran: all well (quiet)"]);
    bench.wait(60).end(0, broken.clone()).wait(1).begin(0).end(0, broken).quietly();
    assert_eq!(bench.state("a").health, Health::Failing);
    bench.wait(59).expect(&["a 240 ran", "a start 1"]).begin(0).look(&[Level::Ok]);
    bench.expect(&["a completed", "a incident over"]);
    assert_eq!(bench.state("a").health, Health::Ok);
    let counters = bench.state("a").record.counters;
    assert_eq!((counters.runs, counters.successes, counters.errors), (5, 4, 1));
}

/// Each of these begins with a word, and is kept.
#[test]
fn the_first_run_after_a_start_or_a_change_is_kept() {
    let kept = |bench: &mut Bench| {
        bench.quietly().begin(0).look(&[Level::Ok]).expect(&["a completed"]);
        bench.wait(60).quietly().look(&[Level::Ok]);
        assert!(bench.said()[0].ends_with("all well (quiet)"));
    };
    let mut bench = Bench::new(&[watch(|_| ())]);
    kept(&mut bench);
    // the daemon starts, also in the middle of a look
    bench.crash(60);
    kept(&mut bench);
    bench.wait(60).quietly().crash(1).expect(&["a start 1"]);
    kept(&mut bench);
    // the agent
    bench.ok(Command::Want {
        target: Target::One(id("a")),
        wish: Wish::Stop { mode: StopMode::Terminate },
        reason: None,
    });
    bench.ok(Command::Want { target: Target::One(id("a")), wish: Wish::Start, reason: None });
    kept(&mut bench);
    // its configuration, also while an old run is in flight
    bench.wait(60).reload(&[watch(|a| a.limits = Limits { max_steps: 7, ..(*a.limits).clone() }.into())]);
    bench.quietly().look(&[Level::Ok]).expect(&["a completed"]).wait(60);
    kept(&mut bench);
}

#[test]
fn only_runs_of_the_schedule_are_left_out() {
    let mut bench = Bench::new(&[watch(|a| a.first_run = FirstRun::AfterInterval)]);
    bench
        .ok(Command::Run { agent: id("a"), query: None, params: ParamValues::new(), mode: RunMode::Normal })
        .begin(0)
        .look(&[Level::Ok]);
    bench
        .ok(Command::Run { agent: id("a"), query: None, params: ParamValues::new(), mode: RunMode::Normal })
        .quietly();
    bench.begin(0).look(&[Level::Ok]).expect(&["a completed"]);
    bench.wait(60).look(&[Level::Ok]).quietly();
    // made up for
    bench.sleep(90).wait(20).quietly().begin(0).look(&[Level::Ok]).expect(&["a completed"]);
}

#[test]
fn a_look_that_is_cancelled_is_kept_as_such() {
    let mut bench = Bench::new(&[watch(|_| ())]);
    bench.calm().quietly();
    let run = bench.active[0].0;
    bench
        .ok(Command::Cancel { run, kill: false })
        .end(0, AttemptEnd::Cancelled)
        .expect(&["a term", "a cancelled"]);
    // one that ends before it hears of that, too
    bench.wait(60).begin(0).look(&[Level::Ok]).wait(60).quietly();
    let run = bench.active[0].0;
    bench.ok(Command::Cancel { run, kill: false }).look(&[Level::Ok]).expect(&["a term", "a completed"]);
    assert_eq!(bench.last(), (true, RunStatus::Completed, 180));
}

#[test]
fn two_at_a_time_do_not_hide_each_other() {
    let mut bench = Bench::new(&[watch(|a| a.overlap = Overlap::Parallel)]);
    bench.calm().wait(60).quietly();
    assert_eq!(bench.active.len(), 2);
    // both looked first; one failed meanwhile
    bench.end(0, AttemptEnd::Failed(RunError::new(ErrorKind::Tool, "broken"))).quietly();
    bench.look(&[Level::Ok]).expect(&["a completed", "a incident over"]);
}

#[test]
fn what_waits_for_the_end_of_a_run_goes_on() {
    let after = watch(|a| {
        a.schedule = Schedule::After(secs(60));
        a.lock = Some("disk".into());
    });
    let other = agent("b", every(60), |a| {
        a.first_run = FirstRun::AfterInterval;
        a.lock = Some("disk".into());
    });
    let mut bench = Bench::new(&[after, other]);
    bench.begin(0).look(&[Level::Ok]).quietly().wait(60);
    bench.expect(&["a 60 ran", "b 60 ran", "a start 1"]);
    bench.pass(secs(5));
    bench.look(&[Level::Ok]).expect(&["a 60 is ran: all well (quiet)", "b start 1"]);
    bench.complete().wait(60).expect(&["b completed", "b 120 ran", "b start 1", "a 125 ran"]);
}

#[test]
fn looks_before_and_after_a_jump_are_no_row() {
    let mut bench = Bench::new(&[watch(|a| a.schedule = Schedule::After(secs(60)))]);
    bench.calm();
    for _ in 0..3 {
        bench.look(&[Level::Ok]).wait(60);
    }
    bench.quietly().jump(6 * 3600).wait(60).begin(0).look(&[Level::Ok]).wait(60);
    for _ in 0..3 {
        bench.look(&[Level::Ok]).wait(60);
    }
    bench.quietly().jump(-6 * 3600).wait(60);
    assert_eq!(bench.active.len(), 1, "nothing ran in the hours between: {:?}", bench.said());
}
