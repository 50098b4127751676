//! Section 3 of the contract: states and commands.
use super::*;
use Desired::{Active, Paused, Stopped};

fn start(target: Target) -> Command {
    Command::Want { target, wish: Wish::Start, reason: None }
}

pub(super) fn pause(target: Target) -> Command {
    Command::Want { target, wish: Wish::Pause { until: None }, reason: None }
}

pub(super) fn resume(target: Target) -> Command {
    Command::Want { target, wish: Wish::Resume, reason: None }
}

pub(super) fn stop(target: Target) -> Command {
    Command::Want { target, wish: Wish::Stop { mode: StopMode::Terminate }, reason: None }
}

#[test]
fn the_table_line_by_line() {
    check(start, Stopped, Ok(None), Active);
    check(start, Paused, Ok(None), Active);
    check(start, Active, Ok(Some("already active")), Active);
    check(pause, Stopped, Err("agent is stopped"), Stopped);
    check(pause, Paused, Ok(Some("already paused")), Paused);
    check(pause, Active, Ok(None), Paused);
    check(resume, Stopped, Err("agent is stopped; use start: `bgagent start a`"), Stopped);
    check(resume, Paused, Ok(None), Active);
    check(resume, Active, Ok(Some("already active")), Active);
    check(stop, Stopped, Ok(Some("already stopped")), Stopped);
    check(stop, Paused, Ok(None), Stopped);
    check(stop, Active, Ok(None), Stopped);

    #[track_caller]
    fn check(command: fn(Target) -> Command, from: Desired, answer: Result<Option<&str>, &str>, to: Desired) {
        let mut bench = Bench::new(&[agent("a", every(60), |a| a.first_run = FirstRun::AfterInterval)]);
        match from {
            Active => &mut bench,
            Paused => bench.ok(pause(one("a"))),
            Stopped => bench.ok(stop(one("a"))),
        };
        for life in 0..2 {
            let got = bench.command(command(one("a")));
            let got = match &got {
                Ok(Reply::Changed(changed)) => {
                    assert_eq!((changed.previous, changed.state), (if life == 0 { from } else { to }, to));
                    assert_eq!(changed.changed, changed.previous != changed.state);
                    Ok(changed.note.as_deref())
                }
                Ok(other) => panic!("{other:?}"),
                Err(refusal) => Err(refusal.to_string()),
            };
            if life == 0 {
                assert_eq!(got, answer.map_err(str::to_owned));
            }
            assert_eq!(bench.state("a").record.desired, to);
            assert_eq!(
                bench.engine.next_wake().wall.is_some(),
                to != Stopped,
                "only a stopped agent has no slot"
            );
            // once more after a crash: the same command changes nothing any more
            bench.crash(1);
            assert_eq!(bench.state("a").record.desired, to, "states survive");
        }
    }
}

#[test]
fn start_anchors_anew_and_resume_does_not() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete().wait(90).complete().quietly();
    bench.ok(pause(one("a"))).wait(100).expect(&[
        "a active -> paused",
        "a 120 skipped_paused: paused",
        "a 180 skipped_paused: paused +",
    ]);
    bench.ok(resume(one("a"))).wait(60).expect(&["a paused -> active", "a 240 ran", "a start 1"]);
    bench.ok(stop(one("a"))).expect(&["a active -> stopped", "a term"]);
    bench.end(0, AttemptEnd::Cancelled).wait(45).expect(&["a cancelled"]);
    bench.ok(start(one("a"))).expect(&["a stopped -> active", "a 295 ran", "a start 1"]);
    bench.complete().wait(60).expect(&["a completed", "a 355 ran", "a start 1"]);
}

#[test]
fn a_pause_lets_runs_finish_and_holds_what_waits() {
    let queued = |a: &mut AgentSpec| a.overlap = Overlap::Queue;
    let mut bench = Bench::new(&[agent("a", every(60), queued)]);
    bench.wait(60).ok(pause(one("a"))).expect(&["a 0 ran", "a start 1", "a 60 ran", "a active -> paused"]);
    bench.complete().wait(30).expect(&["a completed"]);
    assert_eq!(bench.state("a").activity, Activity::Queued);
    bench.ok(resume(one("a"))).expect(&["a paused -> active", "a start 1"]);
}

#[test]
fn a_timed_pause_ends_by_itself_also_while_the_daemon_is_down() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete().quietly();
    bench.ok(Command::Want {
        target: one("a"),
        wish: Wish::Pause { until: Some(PauseEnd::At(t(150))) },
        reason: Some("holiday".into()),
    });
    bench.wait(200).expect(&[
        "a active -> paused: holiday",
        "a 60 skipped_paused: paused: holiday",
        "a 120 skipped_paused: paused: holiday +",
        "a paused -> active: the pause ended",
        "a 180 ran",
        "a start 1",
    ]);
    bench
        .complete()
        .ok(Command::Want {
            target: one("a"),
            wish: Wish::Pause { until: Some(PauseEnd::At(t(310))) },
            reason: None,
        })
        .quietly()
        .crash(200);
    bench.expect(&[
        "a 240..300 x2 skipped_paused: paused",
        "a paused -> active: the pause ended",
        "a claimed: catch_up",
        "a 360 ran: caught up: the daemon was not running",
    ]);
}

#[test]
fn a_pause_into_the_past_is_refused() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    assert!(
        bench
            .command(Command::Want {
                target: one("a"),
                wish: Wish::Pause { until: Some(PauseEnd::At(t(0))) },
                reason: None
            })
            .is_err()
    );
    assert_eq!(bench.state("a").record.desired, Active);
}

#[test]
fn resume_all_restores_exactly_what_pause_all_paused() {
    let specs = ["a", "b", "c"].map(|name| plain(name, every(3600)));
    let mut bench = Bench::new(&specs);
    bench.ok(pause(one("b"))).ok(stop(one("c"))).crash(1).quietly();
    let Ok(Reply::AllChanged(done)) = bench.command(pause(Target::All)) else { panic!() };
    let changed = |done: &[(AgentId, Result<ChangedAgent, Refusal>)]| {
        done.iter().map(|(id, result)| (id.to_string(), result.as_ref().unwrap().changed)).collect::<Vec<_>>()
    };
    assert_eq!(changed(&done), [("a".into(), true), ("b".into(), false)]);
    bench.crash(1);
    let Ok(Reply::AllChanged(done)) = bench.command(resume(Target::All)) else { panic!() };
    assert_eq!(changed(&done), [("a".into(), true)]);
    assert_eq!(["a", "b", "c"].map(|name| bench.state(name).record.desired), [Active, Paused, Stopped]);
}

#[test]
fn resume_all_keeps_what_was_paused_before_also_when_all_was() {
    let mut bench = Bench::new(&["a", "b"].map(|name| plain(name, every(3600))));
    let states = |bench: &Bench| ["a", "b"].map(|name| bench.state(name).record.desired);
    bench.ok(pause(one("a"))).ok(pause(one("b"))).ok(pause(Target::All)).ok(pause(Target::All)).crash(1);
    bench.ok(resume(Target::All)).crash(1);
    assert_eq!(states(&bench), [Paused, Paused], "nothing was paused by `pause --all`");
    bench.ok(resume(Target::All));
    assert_eq!(states(&bench), [Active, Active], "no mark is left");
    // twice is as once; and a new life of the agent forgets its mark
    bench.ok(pause(one("a"))).ok(pause(Target::All)).ok(pause(Target::All)).crash(1);
    bench.ok(resume(one("a"))).ok(pause(one("a"))).ok(resume(Target::All));
    assert_eq!(states(&bench), [Paused, Active]);
}

#[test]
fn a_pause_of_all_holds_over_the_timer_of_one() {
    let mut bench = Bench::new(&[plain("a", every(3600))]);
    bench
        .complete()
        .ok(Command::Want {
            target: one("a"),
            wish: Wish::Pause { until: Some(PauseEnd::At(t(12))) },
            reason: Some("tea".into()),
        })
        .quietly();
    let Ok(Reply::AllChanged(done)) = bench.command(pause(Target::All)) else { panic!() };
    let note = done[0].1.as_ref().unwrap().note.as_deref();
    assert_eq!(note, Some("already paused; it no longer resumes by itself"));
    bench.wait(60).crash(60).expect(&[]);
    let record = bench.state("a").record;
    assert_eq!((record.desired, record.reason.as_deref()), (Paused, Some("tea")));
}

#[test]
fn stop_ends_what_runs_in_three_ways_and_drops_what_waits() {
    check(StopMode::Terminate, "a term");
    check(StopMode::Kill, "a kill");
    check(StopMode::Drain, "");

    #[track_caller]
    fn check(mode: StopMode, does: &str) {
        let mut bench = Bench::new(&[agent("a", every(60), |a| a.overlap = Overlap::Queue)]);
        bench.wait(60).begin(0).quietly();
        bench.ok(Command::Want { target: one("a"), wish: Wish::Stop { mode }, reason: None });
        let mut lines = vec!["a active -> stopped", "a 60 is dropped: the agent was stopped", does];
        lines.retain(|line| !line.is_empty());
        bench.expect(&lines);
        let drained = mode == StopMode::Drain;
        bench.end(0, if drained { AttemptEnd::Completed } else { AttemptEnd::Cancelled });
        bench.expect(&[if drained { "a completed" } else { "a cancelled" }]);
        assert_eq!(bench.state("a").record.counters.errors, 0, "cancelled is not a failure");
        bench.wait(1000).expect(&[]);
    }
}

#[test]
fn skip_leaves_out_one_slot() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.complete().quietly();
    let skip = Command::Skip { agent: id("a") };
    assert_eq!(
        bench.command(skip.clone()),
        Ok(Reply::WillSkip { agent: id("a"), slot: t(60), changed: true })
    );
    assert_eq!(
        bench.command(skip.clone()),
        Ok(Reply::WillSkip { agent: id("a"), slot: t(60), changed: false })
    );
    bench.crash(0).wait(120).expect(&["a 60 skipped_paused: skipped by hand", "a 120 ran", "a start 1"]);
    // a pause or a new start uses it up
    bench.complete().ok(skip.clone()).ok(stop(one("a"))).wait(5).ok(start(one("a"))).quietly();
    assert!(!bench.state("a").record.skip_next);
    bench.complete().ok(skip).ok(pause(one("a"))).wait(60).ok(resume(one("a"))).quietly().wait(60);
    bench.expect(&["a 245 ran", "a start 1"]);
}

#[test]
fn a_manual_run_uses_up_no_slot_and_works_whatever_the_state() {
    for state in [Active, Paused, Stopped] {
        let mut bench = Bench::new(&[agent("a", every(60), |a| a.first_run = FirstRun::AfterInterval)]);
        match state {
            Active => &mut bench,
            Paused => bench.ok(pause(one("a"))),
            Stopped => bench.ok(stop(one("a"))),
        };
        bench.quietly();
        let Ok(Reply::RunClaimed { queued, note, .. }) = bench.command(Command::Run {
            agent: id("a"),
            query: None,
            params: ParamValues::new(),
            mode: RunMode::Normal,
        }) else {
            panic!()
        };
        assert!(!queued);
        assert_eq!(note.is_some(), state != Active, "{note:?}");
        bench.expect(&["a claimed: manual", "a start 1"]);
        assert!(
            bench
                .command(Command::Run {
                    agent: id("a"),
                    query: None,
                    params: ParamValues::new(),
                    mode: RunMode::Normal
                })
                .is_err(),
            "overlap is skip"
        );
        bench.complete();
        let counters = bench.state("a").record.counters;
        assert_eq!((counters.runs, counters.successes, counters.skipped), (1, 1, 0));
    }
}

#[test]
fn one_run_is_cancelled_wherever_it_is() {
    let mut bench = Bench::new(&[agent("a", every(60), |a| a.overlap = Overlap::Queue)]);
    bench.wait(60).quietly();
    let live: Vec<RunId> = bench.state("a").live.iter().map(|run| run.run).collect();
    let told = |reply| match reply {
        Ok(Reply::Cancelling { run, finished_at }) => (run.run, run.status, finished_at),
        other => panic!("{other:?}"),
    };
    let reply = bench.command(Command::Cancel { run: live[1], kill: false });
    assert_eq!(told(reply), (live[1], RunStatus::Cancelled, Some(t(60))));
    bench.expect(&["a 60 is dropped: a person cancelled the run"]);
    let reply = bench.command(Command::Cancel { run: live[0], kill: true });
    assert_eq!(told(reply), (live[0], RunStatus::Running, None));
    bench.expect(&["a kill"]);
    bench.end(0, AttemptEnd::Cancelled).expect(&["a cancelled"]);
    assert_eq!(
        bench.command(Command::Cancel { run: live[0], kill: false }),
        Err(Refusal::NoSuchRun(live[0]))
    );
}

#[test]
fn an_agent_forgets_on_command() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    bench.begin(0).quietly();
    let forget = |agent: &str| Command::Forget { agent: agent.parse().unwrap() };
    assert_eq!(bench.command(forget("a")), Ok(Reply::Forgotten));
    assert!(matches!(bench.command(forget("b")), Err(Refusal::NoSuchAgent(_))));
}

#[test]
fn nothing_is_taken_on_while_going_down_and_the_next_life_goes_on() {
    let mut bench =
        Bench::new(&[plain("a", every(60)), agent("b", every(60), |b| b.overlap = Overlap::Queue)]);
    bench.begin(0).begin(1).quietly();
    bench.wait(59).pass(secs(1));
    bench.input(Input::ShutDown { reason: "asked".into() });
    bench.expect(&["a 60 skipped_overlap", "b 60 ran"]);
    assert_eq!(bench.engine.next_wake(), Wake::default());
    assert_eq!(bench.command(start(one("a"))), Err(Refusal::ShuttingDown));
    bench.wait(200).tick().expect(&[]);
    bench.end(0, AttemptEnd::Completed).expect(&["a completed"]);
    bench.input(Input::EndRuns { kill: false }).expect(&["b term"]);
    bench.end(0, AttemptEnd::Cancelled).expect(&["b cancelled"]);
    // the run that waited starts, what passed is judged
    bench.crash(0).expect(&[
        "a 120..180 x2 superseded: the daemon was not running; caught up by the newest of them",
        "a claimed: catch_up",
        "a 240 ran: caught up: the daemon was not running",
        "b 120..180 x2 superseded: the daemon was not running; caught up by the newest of them",
        "b 240 dropped: the daemon was not running; not caught up: the queue is full",
        "b start 1",
    ]);
}
