//! Incidents and notifications: told once, told again after a while, told when it is over.
use super::*;

fn telling(name: &str, on: &[TellOn]) -> AgentSpec {
    agent(name, every(60), |a| {
        a.notify = Some(Arc::new(NotifySpec { to: vec!["ops".into()], on: on.to_vec(), repeat: secs(600) }));
    })
}

#[test]
fn sixty_failures_are_one_message_and_one_recovery() {
    let mut bench = Bench::new(&[telling("a", TellOn::USUAL)]);
    let mut told = Vec::new();
    for _ in 0..9 {
        bench.fail(ErrorKind::Tool).wait(60);
        told.append(&mut bench.said());
    }
    bench.complete();
    told.append(&mut bench.said());
    told.retain(|line| !line.contains("ran") && !line.contains("start") && line != "a failed");
    assert_eq!(
        told,
        ["tell ops failed", "a incident critical", "a completed", "tell ops recovered", "a incident over"]
    );
}

#[test]
fn an_ongoing_problem_is_told_again_after_a_while() {
    let mut bench = Bench::new(&[telling("a", &[TellOn::Failed])]);
    let mut told = 0;
    for _ in 0..31 {
        bench.fail(ErrorKind::Tool).crash(0).wait(60);
        told += bench.said().iter().filter(|line| *line == "tell ops failed").count();
    }
    assert_eq!(told, 4, "at 0, 10, 20 and 30 minutes");
}

#[test]
fn a_problem_opens_an_incident_when_it_lasts_and_ends_past_clear() {
    let mut bench = Bench::new(&[telling("a", &[TellOn::IncidentOpened, TellOn::IncidentResolved])]);
    let mut step = |level| {
        bench.quietly().find(level, 100).wait(60);
        let mut said = bench.said();
        said.retain(|line| line.contains("incident"));
        said
    };
    let nothing: [&str; 0] = [];
    assert_eq!(step(Level::Hold), nothing, "good stays good");
    assert_eq!(step(Level::Warn), nothing, "not for long enough");
    assert_eq!(step(Level::Ok), ["a incident was nothing"]);
    assert_eq!(step(Level::Warn), nothing);
    assert_eq!(step(Level::Warn), nothing);
    assert_eq!(step(Level::Warn), ["tell ops incident_opened", "a incident warning"]);
    assert_eq!(step(Level::Warn), nothing, "told once");
    assert_eq!(step(Level::Crit), ["tell ops incident_opened"], "it got worse");
    assert_eq!(step(Level::Warn), nothing);
    assert_eq!(step(Level::Crit), nothing, "no news for each swing");
    assert_eq!(step(Level::Hold), nothing, "bad stays bad");
    assert_eq!(step(Level::Ok), ["tell ops incident_resolved", "a incident over"]);
    assert_eq!(step(Level::Ok), nothing);
}

#[test]
fn an_incident_is_told_again_unless_somebody_took_note() {
    let mut bench = Bench::new(&[telling("a", &[TellOn::IncidentOpened])]);
    let told = |bench: &mut Bench, rounds| {
        bench.quietly();
        for _ in 0..rounds {
            bench.find(Level::Warn, 0).crash(0).wait(60);
        }
        bench.said().iter().filter(|line| line.starts_with("tell")).count()
    };
    assert_eq!(told(&mut bench, 10), 1);
    assert_eq!(told(&mut bench, 10), 1);
    assert_eq!(
        bench.command(Command::Ack { agent: None, key: "tape".into() }),
        Err(Refusal::NoSuchIncident("tape".into()))
    );
    bench.ok(Command::Ack { agent: None, key: "disk".into() }).crash(0);
    assert_eq!(told(&mut bench, 20), 0);
}

#[test]
fn an_agent_that_is_gone_opens_no_incident() {
    let mut bench = Bench::new(&[plain("a", every(60)), plain("b", every(3600))]);
    bench.begin(0).begin(1).reload(&[plain("b", every(3600))]).quietly();
    let mut outcome = AttemptOutcome::of(AttemptEnd::Failed(RunError::new(ErrorKind::Tool, "broken")));
    let (key, title) = ("disk".into(), "full".into());
    outcome.findings =
        vec![Finding { key, level: Level::Crit, title, hold_for: secs(0), by: FoundBy::Check }];
    bench.end_with(0, outcome).expect(&["a failed"]);
    assert!(bench.incidents.is_empty());
}

#[test]
fn a_check_that_a_probe_no_longer_has_leaves_no_incident() {
    let tool = |name: &str| {
        agent("a", every(60), |a| {
            let args = serde_json::Value::Null;
            a.body = Body::Tool(Arc::new(ToolCallSpec { tool: name.into(), args }));
        })
    };
    let mut with_instance = Arc::unwrap_or_clone(fleet(&[tool("checks")], 64));
    let settings = ToolSettings::Probe(None);
    with_instance.tools.insert("checks".into(), ToolSpec { kind: ToolKind::Probe, settings });
    for (fleet, ends) in [
        (fleet(&[tool("probe")], 64), true),
        (Arc::new(with_instance), true),
        (fleet(&[tool("report")], 64), false),
        (fleet(&[plain("a", every(60))], 64), false),
    ] {
        let mut bench = Bench::with_fleet(fleet);
        bench.fail(ErrorKind::Tool).wait(60).find(Level::Warn, 0).wait(60).quietly();
        assert!(bench.incidents.contains_key(&(id("a"), "disk".into())));
        // what failed has not looked
        bench.fail(ErrorKind::Tool).wait(60).expect(&[
            "a failed",
            "a incident critical",
            "a 180 ran",
            "a start 1",
        ]);
        bench.complete();
        let mut over = vec!["a incident over", "a completed", "a incident over"];
        over.drain(..usize::from(!ends));
        bench.expect(&over);
        assert_eq!(bench.incidents.is_empty(), ends);
    }
}

#[test]
fn a_check_that_a_gate_no_longer_has_leaves_no_incident() {
    let probe = || ToolCallSpec { tool: "probe".into(), args: serde_json::Value::Null };
    let found = |key: &str, level| {
        let (key, title) = (key.to_owned(), "x".into());
        vec![Finding { key, level, title, hold_for: secs(0), by: FoundBy::Check }]
    };
    let query = money::thinker("a", |_| ()).body;
    for (body, ends) in [(None, true), (Some(query), false)] {
        let spec = agent("a", every(60), |a| {
            let body = CheckBody::Tool(probe());
            a.gate = Some(Arc::new(Check { body, expect: Vec::new(), novel_by: Vec::new() }));
        });
        let mut bench = Bench::new(&[AgentSpec { body: body.unwrap_or(spec.body.clone()), ..spec }]);
        let mut closed = |findings| {
            let outcome = AttemptOutcome { findings, ..AttemptOutcome::of(AttemptEnd::GateClosed) };
            bench.end_with(0, outcome).wait(60);
            bench.incidents.len()
        };
        assert_eq!(closed(found("disk", Level::Warn)), 1);
        assert_eq!(closed(Vec::new()), 1, "nobody looked");
        assert_eq!(closed(found("tape", Level::Ok)), usize::from(!ends));
    }
}

#[test]
fn what_was_found_out_stays_with_its_incident() {
    let doctor = agent("d", Schedule::Manual, |a| {
        a.schedule =
            Schedule::On(EventTrigger { event: EventType::IncidentOpened, agent: None, untrusted: false });
    });
    let mut bench = Bench::new(&[telling("a", TellOn::ALL), doctor]);
    let finish = |bench: &mut Bench, text: &str| {
        let outcome =
            AttemptOutcome { result: Some(text.into()), ..AttemptOutcome::of(AttemptEnd::Completed) };
        let nth = bench.active.len() - 1;
        bench.begin(nth).end_with(nth, outcome);
    };
    bench.find(Level::Crit, 0).quietly();
    // The finding comes after a restart.
    bench.crash(0);
    finish(&mut bench, "  ");
    assert!(!bench.said().iter().any(|line| line.contains("found")), "an empty result is none");
    bench.wait(60).find(Level::Ok, 0).wait(60).find(Level::Warn, 0).quietly();
    finish(&mut bench, " a log grew\n");
    bench.expect(&["a disk: d found a log grew", "d completed"]);
    bench.wait(60).find(Level::Ok, 0);
    assert!(bench.said().contains(&"tell ops incident_resolved (d found: a log grew)".to_owned()));
    // One that is over still gets it.
    bench.wait(60).find(Level::Warn, 0).wait(60);
    bench.active.reverse();
    bench.find(Level::Ok, 0).quietly();
    finish(&mut bench, &"é".repeat(5000));
    let [line, _] = &bench.said()[..] else { panic!("two lines") };
    assert_eq!(line.len(), "a disk: d found ".len() + 8192 + "…".len());
}

#[test]
fn missed_slots_and_the_circuit_are_told() {
    let mut spec = telling("a", &[TellOn::Missed, TellOn::CircuitOpened]);
    spec.catch_up.policy = CatchUpPolicy::None;
    spec.circuit = CircuitSpec { open_after: 1, cooldown: secs(100) };
    let mut bench = Bench::new(&[spec]);
    bench.complete().quietly().crash(150);
    bench.expect(&["a 60..120 x2 missed_downtime: the daemon was not running", "tell ops missed"]);
    bench.wait(30).fail(ErrorKind::Tool).expect(&[
        "a 180 ran",
        "a start 1",
        "a failed",
        "a incident critical",
        "a circuit open until 280",
        "tell ops circuit_opened",
    ]);
}

/// An agent whose results go to `me`, if they have items.
fn delivering(with: impl FnOnce(&mut AgentSpec)) -> AgentSpec {
    agent("a", every(60), |a| {
        a.deliver = Some(Arc::new(DeliverSpec {
            to: vec!["me".into()],
            when: vec![Expect { field: "items".into(), compare: Compare::Gte, value: 1.into() }],
            title: "{result.title}".into(),
            text: "{result.items} {gate} in {run.duration}".into(),
        }));
        with(a);
    })
}

fn given(result: &str) -> AttemptOutcome {
    let gate = Some("2 new".to_owned());
    AttemptOutcome { result: Some(result.into()), gate, ..AttemptOutcome::of(AttemptEnd::Completed) }
}

#[test]
fn a_result_is_delivered_with_the_end_of_its_run_if_it_is_worth_it() {
    let mut bench = Bench::new(&[delivering(|_| ())]);
    bench.quietly().begin(0).wait(5).quietly();
    bench.end_with(0, given(r#"{"title": "News", "items": ["x"]}"#));
    bench.expect(&["a completed", "tell me completed"]);
    assert_eq!(bench.messages, [("News".to_owned(), "- x 2 new in 5s".to_owned())]);
    for result in [r#"{"title": "News", "items": []}"#, "no JSON"] {
        bench.wait(60).begin(0).quietly().end_with(0, given(result)).expect(&["a completed"]);
    }
    // a run that did not do its work has no result for anybody
    for kind in [ErrorKind::Unverified, ErrorKind::Tool, ErrorKind::Timeout] {
        bench.wait(60).begin(0).quietly();
        let end = AttemptEnd::Failed(RunError::new(kind, "no"));
        bench.end_with(0, AttemptOutcome { end, ..given(r#"{"items": ["x"]}"#) });
        assert!(!bench.said().iter().any(|line| line.starts_with("tell")), "{kind:?}");
    }
}

#[test]
fn nobody_hears_of_one_run_twice() {
    let notify = |to: &[&str]| {
        let (to, on) = (to.iter().map(|name| (*name).to_owned()).collect(), vec![TellOn::Completed]);
        Some(Arc::new(NotifySpec { to, on, repeat: secs(600) }))
    };
    let mut bench = Bench::new(&[delivering(|a| a.notify = notify(&["me", "boss"]))]);
    bench.quietly().begin(0).quietly();
    bench.end_with(0, given(r#"{"title": "News", "items": ["x"]}"#));
    bench.expect(&["a completed", "tell me completed", "tell boss completed"]);
    assert_eq!(bench.messages.last().map(|(subject, _)| subject.as_str()), Some("a: completed"));
    bench.wait(60).begin(0).quietly().end_with(0, given(r#"{"items": []}"#));
    bench.expect(&["a completed", "tell me completed", "tell boss completed"]);
}

#[test]
fn a_rehearsal_and_a_replay_deliver_nothing() {
    let thinker = money::thinker("a", |a| a.deliver = delivering(|_| ()).deliver);
    let of = RunId::from_bytes([1; 16]);
    for mode in [RunMode::Rehearsal, RunMode::Replay { of, model: None }] {
        let mut bench = Bench::new(&[AgentSpec { schedule: Schedule::Manual, ..thinker.clone() }]);
        bench.ok(Command::Run {
            agent: id("a"),
            query: None,
            params: ParamValues::new(),
            mode: mode.clone(),
        });
        bench.begin(0).quietly().end_with(0, given(r#"{"title": "News", "items": ["x"]}"#));
        assert!(!bench.said().iter().any(|line| line.starts_with("tell")), "{mode:?}");
    }
}

#[test]
fn a_target_that_is_gone_has_no_problem() {
    let target = NotifyTarget { kind: NotifyTargetKind::Desktop, per_minute: None, quiet: None };
    let mut with_target = Arc::unwrap_or_clone(fleet(&[plain("a", every(3600))], 64));
    with_target.notify.insert("me".into(), target);
    let mut bench = Bench::with_fleet(Arc::new(with_target));
    bench.complete().quietly();
    let key = format!("{}me", IncidentRecord::NOTIFY);
    let finding =
        Finding { key, level: Level::Warn, title: "down".into(), hold_for: secs(0), by: FoundBy::Check };
    bench.input(Input::Noticed(finding)).expect(&["bgagent incident warning"]);
    bench.crash(1).quietly();
    assert_eq!(bench.incidents.len(), 1, "it lasts over a restart");
    bench.reload(&[plain("a", every(3600))]);
    assert_eq!(bench.said(), ["bgagent incident over"]);
}

/// What a delivery says that was under way when its target was removed.
#[test]
fn a_target_that_was_removed_meanwhile_has_no_problem() {
    let mut bench = Bench::new(&[plain("a", every(60))]);
    let finding = Finding {
        key: format!("{}gone", IncidentRecord::NOTIFY),
        level: Level::Crit,
        title: "a message was given up".into(),
        hold_for: secs(0),
        by: FoundBy::Check,
    };
    bench.input(Input::Noticed(finding));
    assert!(bench.incidents.is_empty(), "{:?}", bench.incidents);
}

#[test]
fn an_open_circuit_is_ended_by_its_close() {
    let on = [TellOn::CircuitOpened, TellOn::Recovered];
    let mut spec = telling("a", &on);
    spec.circuit = CircuitSpec { open_after: 1, cooldown: secs(100) };
    let mut bench = Bench::new(&[spec]);
    bench.fail(ErrorKind::Tool);
    let key = Some("circuit:a".to_owned());
    assert_eq!(std::mem::take(&mut bench.keys), [(TellOn::CircuitOpened, key.clone())]);
    bench.ok(Command::Want { target: Target::One(id("a")), wish: Wish::Start, reason: None });
    assert_eq!(bench.keys, [(TellOn::Recovered, key)]);
}

#[test]
fn a_gate_that_answers_again_ends_its_failures() {
    let failed = |what: RunError| AttemptEnd::Failed(what.of_gate());
    let refused = || RunError::new(ErrorKind::Network, "connection refused");
    let mut bench = Bench::new(&[telling("a", TellOn::USUAL)]);
    bench.quietly().end(0, failed(refused())).wait(60).end(0, failed(refused())).crash(0);
    let said = bench.said();
    assert!(said.contains(&"tell ops failed".to_owned()), "{said:?}");
    assert_eq!(bench.state("a").health, Health::Failing);
    bench.wait(60).end(0, AttemptEnd::GateClosed);
    let said = bench.said();
    assert!(said.contains(&"tell ops recovered".to_owned()), "{said:?}");
    assert!(said.contains(&"a incident over".to_owned()), "{said:?}");
    assert_eq!((bench.state("a").health, bench.state("a").record.counters.errors_in_row), (Health::Ok, 0));
    // what failed in its body is not well because there was nothing to do
    bench.wait(60).fail(ErrorKind::Network).wait(60).end(0, AttemptEnd::GateClosed);
    assert_eq!(bench.state("a").health, Health::Failing);
    assert!(!bench.said().contains(&"tell ops recovered".to_owned()));
}
