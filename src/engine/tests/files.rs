//! Agents that files, deliveries to webhooks and events of MCP servers start.
use super::*;

fn trigger() -> Arc<FileTrigger> {
    Arc::new(FileTrigger {
        pattern: "inbox/*".into(),
        folder: "/inbox".into(),
        name: "*".into(),
        settle: secs(5),
    })
}

fn waiting(with: impl FnOnce(&mut AgentSpec)) -> AgentSpec {
    agent("x", Schedule::File(trigger()), |spec| {
        spec.overlap = Overlap::Queue;
        with(spec);
    })
}

fn file(name: &str) -> FoundFile {
    FoundFile { name: name.into(), path: format!("/inbox/{name}"), size: 3, modified: t(-60), inode: 1 }
}

/// Files arrive; how many were taken, and the names of those that were recorded.
fn arrive(bench: &mut Bench, names: &[&str]) -> (usize, Vec<String>) {
    let files = names.iter().map(|name| file(name)).collect();
    let input = Input::FilesArrived { agent: id("x"), by: trigger(), files, ticket: Ticket(9) };
    let decision = bench.engine.decide(bench.now, input);
    let recorded = decision.facts.iter().filter_map(|entry| match &entry.fact {
        Fact::Arrived { event, mark } => {
            let Payload::FileArrived(told) = &event.payload else { panic!("{event:?}") };
            assert_eq!(*mark, file(&told.name).mark());
            Some(told.name.clone())
        }
        _ => None,
    });
    let recorded = recorded.collect();
    let taken = decision.actions.iter().find_map(|action| match action {
        Action::Taken { ticket: Ticket(9), count } => Some(*count),
        _ => None,
    });
    bench.take(decision);
    (taken.expect("whoever brought them is told"), recorded)
}

fn all(names: &[&str]) -> (usize, Vec<String>) {
    (names.len(), names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn each_file_waits_for_its_turn_and_runs_in_order() {
    let mut bench = Bench::new(&[waiting(|_| ())]);
    bench.quietly();
    assert_eq!(arrive(&mut bench, &["a", "b", "c"]), all(&["a", "b", "c"]));
    bench.expect(&["x claimed: event", "x claimed: event", "x claimed: event", "x start 1"]);
    let mut ran = Vec::new();
    for _ in 0..3 {
        let run = bench.engine.run(bench.active[0].0).unwrap();
        let event = run.event.clone().unwrap();
        assert_eq!(run.chain, 1);
        ran.push(event.reference().arrived.unwrap());
        bench.complete();
    }
    assert_eq!(ran, ["/inbox/a", "/inbox/b", "/inbox/c"]);
    bench.expect(&["x completed", "x start 1", "x completed", "x start 1", "x completed"]);
}

#[test]
fn what_waits_when_the_daemon_dies_runs_in_the_next_life() {
    let mut bench = Bench::new(&[waiting(|_| ())]);
    arrive(&mut bench, &["a", "b"]);
    bench.begin(0).quietly().crash(10);
    bench.expect(&["x interrupted", "x incident critical", "x start 1"]);
    bench.complete().expect(&["x completed", "x incident over"]);
}

#[test]
fn other_rules_for_overlap_give_each_file_a_word() {
    for (overlap, said) in [
        (Overlap::Skip, vec!["x claimed: event", "x event passed: skipped_overlap", "x start 1"]),
        (Overlap::Parallel, vec!["x claimed: event", "x claimed: event", "x start 1", "x start 1"]),
    ] {
        let mut bench = Bench::new(&[waiting(|spec| spec.overlap = overlap)]);
        bench.quietly();
        assert_eq!(arrive(&mut bench, &["a", "b"]), all(&["a", "b"]));
        bench.expect(&said);
    }
}

#[test]
fn a_paused_agent_passes_and_a_stopped_one_takes_none() {
    let mut bench = Bench::new(&[waiting(|_| ())]);
    let want = |wish| Command::Want { target: one("x"), wish, reason: Some("holidays".into()) };
    bench.ok(want(Wish::Pause { until: None })).quietly();
    assert_eq!(arrive(&mut bench, &["a"]), all(&["a"]));
    bench.expect(&["x event passed: skipped_paused"]);
    assert_eq!(bench.passed, ["event file_arrived: paused: holidays"]);
    bench.ok(want(Wish::Stop { mode: StopMode::Terminate })).quietly();
    assert!(bench.engine.awaited_files()[0].is_stopped);
    assert_eq!(arrive(&mut bench, &["b"]), (0, vec![]));
    bench.ok(want(Wish::Start)).quietly();
    assert_eq!(arrive(&mut bench, &["b"]), all(&["b"]));
    bench.expect(&["x claimed: event", "x start 1"]);
}

#[test]
fn no_more_wait_than_there_is_room_for() {
    let mut bench = Bench::new(&[waiting(|_| ())]);
    let names: Vec<String> = (0..1003).map(|n| format!("{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (taken, recorded) = arrive(&mut bench, &names);
    assert_eq!((taken, recorded.len()), (1000, 1000));
    assert_eq!(bench.engine.awaited_files()[0].room, 0);
    assert_eq!(arrive(&mut bench, &names[1000..]), (0, vec![]));
    bench.complete();
    assert_eq!(arrive(&mut bench, &names[1000..]), (1, vec!["1000".to_owned()]));
}

#[test]
fn files_of_a_schedule_that_is_no_longer_in_force_are_not_taken() {
    let mut bench = Bench::new(&[waiting(|_| ())]);
    bench.reload(&[plain("x", Schedule::Manual)]).quietly();
    assert_eq!(arrive(&mut bench, &["a"]), (0, vec![]));
    assert_eq!(bench.engine.awaited_files(), []);
}

#[test]
fn none_is_taken_while_the_daemon_goes_down() {
    let mut bench = Bench::new(&[waiting(|_| ())]);
    bench.input(Input::ShutDown { reason: "x".into() });
    assert_eq!(arrive(&mut bench, &["a"]), (0, vec![]));
}

fn deliver(bench: &mut Bench, id: &str) -> usize {
    let delivery = Box::new(WebhookReceived {
        webhook: "deploy".into(),
        delivery: id.into(),
        event: None,
        body: serde_json::json!({"n": 1}),
    });
    let decision = bench.engine.decide(bench.now, Input::Delivered { delivery, ticket: Ticket(9) });
    let taken = decision.actions.iter().find_map(|action| match action {
        Action::Taken { ticket: Ticket(9), count } => Some(*count),
        _ => None,
    });
    bench.take(decision);
    taken.expect("whoever brought it is told")
}

#[test]
fn a_delivery_has_an_outcome_for_each_agent_that_waits_for_it() {
    let hook = |name: &str, of: &str, enabled| {
        agent(name, Schedule::Webhook(of.into()), |spec| {
            (spec.overlap, spec.enabled) = (Overlap::Queue, enabled);
        })
    };
    let mut bench = Bench::new(&[
        hook("x", "deploy", true),
        hook("y", "deploy", true),
        hook("stopped", "deploy", false),
        hook("other", "push", true),
    ]);
    bench.ok(Command::Want { target: one("y"), wish: Wish::Pause { until: None }, reason: None }).quietly();
    assert_eq!(deliver(&mut bench, "a"), 2);
    bench.expect(&["x claimed: event", "y event passed: skipped_paused", "x start 1"]);
    // each waits for its turn
    assert_eq!(deliver(&mut bench, "b"), 2);
    bench.expect(&["x claimed: event", "y event passed: skipped_paused"]);
    bench.complete().expect(&["x completed", "x start 1"]);
    bench.input(Input::ShutDown { reason: "x".into() });
    assert_eq!(deliver(&mut bench, "c"), 0);
}

fn subscription() -> Arc<McpTrigger> {
    Arc::new(McpTrigger {
        server: "github".into(),
        event: "issue.opened".into(),
        args: serde_json::Map::new(),
        every: secs(60),
    })
}

/// A server has these events, and goes on at a place after them. How many were taken, and whether the place was recorded.
fn poll(bench: &mut Bench, ids: &[&str], cursor: Option<&str>, skipped: Option<&str>) -> (usize, bool) {
    let event = |id: &&str| McpEventReceived {
        server: "github".into(),
        event: "issue.opened".into(),
        id: (*id).into(),
        happened_at: None,
        data: serde_json::json!({}),
        left_out: (*id == "long").then_some(300_000),
    };
    let polled = EventsPolled {
        events: ids.iter().map(event).collect(),
        cursor: cursor.map(|cursor| Some(cursor.to_owned())),
        skipped: skipped.map(str::to_owned),
    };
    let input = Input::EventsPolled { agent: id("x"), by: subscription(), polled, ticket: Ticket(9) };
    let decision = bench.engine.decide(bench.now, input);
    let place = decision.facts.iter().position(|entry| matches!(entry.fact, Fact::CursorMoved { .. }));
    let last = decision.facts.iter().rposition(|entry| matches!(entry.fact, Fact::Arrived { .. }));
    assert!(place.is_none() || place > last, "it moves with the last of them");
    let taken = decision.actions.iter().find_map(|action| match action {
        Action::Taken { ticket: Ticket(9), count } => Some(*count),
        _ => None,
    });
    bench.take(decision);
    (taken.expect("whoever asked is told"), place.is_some())
}

fn hearing(with: impl FnOnce(&mut AgentSpec)) -> AgentSpec {
    agent("x", Schedule::Mcp(subscription()), |spec| {
        spec.overlap = Overlap::Queue;
        with(spec);
    })
}

#[test]
fn events_of_a_server_have_their_outcomes_with_the_place_where_it_goes_on() {
    let mut bench = Bench::new(&[hearing(|_| ())]);
    bench.quietly();
    assert_eq!(poll(&mut bench, &["a", "b"], Some("c1"), None), (2, true));
    bench.expect(&["x claimed: event", "x claimed: event", "x start 1"]);
    // nothing new, and nothing to be moved
    assert_eq!(poll(&mut bench, &[], None, None), (0, false));
    assert_eq!(poll(&mut bench, &[], Some("c2"), None), (0, true));
    // one that is too long has its word
    assert_eq!(poll(&mut bench, &["long"], None, None), (1, false));
    bench.expect(&["x event passed: dropped"]);
    let want = |wish| Command::Want { target: one("x"), wish, reason: None };
    bench.ok(want(Wish::Stop { mode: StopMode::Terminate })).quietly();
    assert!(bench.engine.awaited_events()[0].is_stopped);
    assert_eq!(poll(&mut bench, &["c"], Some("c3"), Some("why")), (0, false));
    bench.ok(want(Wish::Start)).quietly();
    bench.input(Input::ShutDown { reason: "x".into() });
    assert_eq!(poll(&mut bench, &["c"], Some("c3"), None), (0, false));
}

#[test]
fn the_place_stays_while_not_all_events_have_room() {
    let mut bench = Bench::new(&[hearing(|_| ())]);
    let ids: Vec<String> = (0..1002).map(|n| n.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(poll(&mut bench, &ids, Some("c1"), None), (1000, false));
    assert_eq!(bench.engine.awaited_events()[0].room, 0);
    bench.complete();
    assert_eq!(poll(&mut bench, &ids[1000..], Some("c1"), None), (1, false));
    bench.complete();
    assert_eq!(poll(&mut bench, &ids[1001..], Some("c1"), None), (1, true));
}

#[test]
fn events_of_another_subscription_are_not_taken() {
    let mut bench = Bench::new(&[hearing(|spec| {
        let other = McpTrigger { event: "issue.closed".into(), ..(*subscription()).clone() };
        spec.schedule = Schedule::Mcp(Arc::new(other));
    })]);
    bench.quietly();
    assert_eq!(poll(&mut bench, &["a"], Some("c1"), None), (0, false));
}
