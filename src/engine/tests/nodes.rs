//! Runs at other nodes: which one gets a run, what waits, and what becomes of those of a node that is lost.
use super::*;

fn labels(all: &[(&str, &str)]) -> Labels {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A life of a node; its session is called like it, with a number.
fn node(session: &str, all: &[(&str, &str)]) -> LiveNode {
    let name = session.split('#').next().unwrap();
    LiveNode { name: name.into(), session: session.into(), labels: labels(all), places: 64, takes: true }
}

const GPU: &[(&str, &str)] = &[("gpu", "h100")];

fn on_gpu(spec: &mut AgentSpec) {
    spec.on_nodes = NodeWanted::of(labels(GPU)).map(Arc::new);
}

fn at_gpu(name: &str) -> AgentSpec {
    agent(name, Schedule::Manual, on_gpu)
}

impl Bench {
    fn nodes(&mut self, live: &[LiveNode]) -> &mut Self {
        self.nodes = live.to_vec();
        self.input(Input::Nodes { live: live.to_vec(), over: Vec::new() })
    }

    fn run(&mut self, name: &str) -> &mut Self {
        self.ok(Command::Run {
            agent: id(name),
            query: None,
            params: ParamValues::new(),
            mode: RunMode::Normal,
        })
    }

    /// The attempt in flight has a process at its gate, of its gate.
    fn asks_gate(&mut self, nth: usize) -> &mut Self {
        let (run, attempt) = self.active[nth];
        let process = Some(Process { pid: 1, start: 1, boot: 1 });
        self.input(Input::Began { run, attempt, role: ProcessRole::Gate, process, ticket: Ticket(2) })
    }

    fn why_no_node(&self, name: &str) -> Option<String> {
        self.state(name).no_node
    }
}

#[test]
fn the_leader_runs_what_asks_for_no_node_or_for_its_own_labels() {
    let mut own = Fleet::clone(&fleet(&[at_gpu("gpu"), plain("any", Schedule::Manual)], 64));
    own.daemon.node.labels = labels(&[("gpu", "h100"), ("site", "fra")]);
    let mut bench = Bench::with_fleet(Arc::new(own));
    bench.quietly().nodes(&[node("b#1", GPU)]).run("gpu").run("any");
    bench.expect(&["gpu claimed: manual", "gpu start 1", "any claimed: manual", "any start 1"]);
    assert_eq!((bench.engine.active_runs(), bench.engine.active_here()), (2, 2));
    assert!(bench.open.iter().all(|run| run.node.is_none()));
}

#[test]
fn a_run_goes_to_the_node_with_the_fewest_runs_then_to_the_first_by_name() {
    let names = ["a", "b", "c", "d", "e"];
    let mut bench = Bench::new(&names.map(at_gpu));
    let big = &[("gpu", "h100"), ("disk", "big")];
    bench.quietly().nodes(&[node("z#1", GPU), node("y#1", big), node("x#1", &[("gpu", "a100")])]);
    for name in names {
        bench.run(name);
    }
    let starts: Vec<String> = bench.said().into_iter().filter(|line| line.contains("start")).collect();
    assert_eq!(
        starts,
        ["a start 1 at y#1", "b start 1 at z#1", "c start 1 at y#1", "d start 1 at z#1", "e start 1 at y#1"]
    );
    assert_eq!((bench.engine.active_runs(), bench.engine.active_here()), (5, 0));
    // one of three has ended there
    bench.begin(0).end(0, AttemptEnd::Completed).quietly().run("a");
    bench.expect(&["a claimed: manual", "a start 1 at y#1"]);
    let node = bench.open.iter().find(|run| run.agent == id("b")).and_then(|run| run.node.clone());
    assert_eq!(node, Some(PlacedAt { node: "z".into(), session: Some("z#1".into()) }));
    assert_eq!(bench.engine.session_of(bench.active[0].0).map(|session| &**session), Some("z#1"));
}

#[test]
fn without_a_node_that_fits_a_run_waits_and_says_why() {
    let mut bench = Bench::new(&[at_gpu("gpu"), plain("any", Schedule::Manual)]);
    bench.quietly().run("gpu").expect(&["gpu claimed: manual"]);
    assert_eq!(bench.why_no_node("gpu").as_deref(), Some("no node has gpu=h100: the leader has no labels"));
    // it holds nobody up
    bench.run("any").expect(&["any claimed: manual", "any start 1"]);
    assert_eq!(bench.why_no_node("any"), None);
    let going = LiveNode { takes: false, ..node("c#1", GPU) };
    bench.nodes(&[node("b#1", &[("gpu", "a100")]), going]).expect(&[]);
    assert_eq!(
        bench.why_no_node("gpu").as_deref(),
        Some("no node has gpu=h100: the leader has no labels, b has gpu=a100, c takes nothing new")
    );
    bench.nodes(&[node("b#2", GPU)]).expect(&["gpu start 1 at b#2"]);
    assert_eq!(bench.why_no_node("gpu"), None);
}

#[test]
fn what_waits_for_a_node_is_cancelled_skipped_and_superseded_like_any_run_that_waits() {
    let timed = |name: &str, overlap| {
        agent(name, every(60), |spec| {
            on_gpu(spec);
            spec.overlap = overlap;
        })
    };
    let mut bench = Bench::new(&[timed("newest", Overlap::CancelPrevious), timed("skips", Overlap::Skip)]);
    bench.wait(60).expect(&[
        "newest 0 ran",
        "skips 0 ran",
        "newest 0 is dropped: a newer slot takes its place",
        "newest 60 ran",
        "skips 60 skipped_overlap",
    ]);
    let waiting = bench.engine.agent("skips").unwrap().live[0].run;
    bench.ok(Command::Cancel { run: waiting, kill: false });
    bench.expect(&["skips 0 is dropped: a person cancelled the run"]);
    bench.ok(Command::Want {
        target: Target::All,
        wish: Wish::Stop { mode: StopMode::Terminate },
        reason: None,
    });
    assert_eq!((bench.engine.fleet_now().queued, bench.engine.fleet_now().running), (0, 0));
    bench.quietly().nodes(&[node("b#1", GPU)]).expect(&[]);
}

#[test]
fn another_configuration_may_need_no_node() {
    let mut bench = Bench::new(&[at_gpu("a")]);
    bench.quietly().run("a").expect(&["a claimed: manual"]);
    // a run goes on with what it was claimed with
    bench.reload(&[plain("a", Schedule::Manual)]).expect(&[]);
    bench.nodes(&[node("b#1", GPU)]).expect(&["a start 1 at b#1"]);
}

#[test]
fn of_a_lost_node_what_was_not_started_goes_to_another_one_and_counts_as_no_attempt() {
    let mut bench = Bench::new(&[at_gpu("a")]);
    bench.quietly().nodes(&[node("b#1", GPU)]).run("a").quietly();
    bench.active.clear();
    bench.nodes(&[node("c#1", GPU)]).expect(&["a start 1 at c#1"]);
    assert_eq!(bench.open[0].node, Some(PlacedAt { node: "c".into(), session: Some("c#1".into()) }));
    bench.complete().expect(&["a completed"]);
    assert_eq!(bench.state("a").record.counters.errors, 0);
    // without another one it waits
    bench.run("a").quietly();
    bench.active.clear();
    bench.nodes(&[]).expect(&[]);
    assert!(bench.why_no_node("a").is_some());
    assert_eq!((bench.open[0].attempt, bench.engine.active_runs()), (0, 0));
    bench.nodes(&[node("c#2", GPU)]).expect(&["a start 1 at c#2"]);
}

#[test]
fn of_a_lost_node_what_was_started_is_interrupted_and_retried_by_its_policy() {
    let retried = agent("r", Schedule::Manual, |spec| {
        on_gpu(spec);
        spec.retry.max = 1;
    });
    let mut bench = Bench::new(&[at_gpu("a"), retried, at_gpu("g")]);
    bench.quietly().nodes(&[node("b#1", GPU)]).run("a").run("r").run("g").begin(0).begin(1).asks_gate(2);
    let errors = bench.open.len();
    assert_eq!(errors, 3);
    bench.quietly();
    bench.active.clear();
    let decision =
        bench.engine.decide(bench.now, Input::Nodes { live: vec![node("c#1", GPU)], over: Vec::new() });
    let reasons: Vec<String> = decision
        .facts
        .iter()
        .filter_map(|entry| match &entry.fact {
            Fact::RunEnded { error: Some(error), .. } | Fact::AttemptFailed { error, .. } => {
                Some(error.message.clone())
            }
            _ => None,
        })
        .collect();
    assert_eq!(reasons.len(), 3);
    assert!(reasons.iter().all(|why| why.starts_with("node b was lost while")), "{reasons:?}");
    let over = decision
        .facts
        .iter()
        .any(|entry| matches!(&entry.fact, Fact::NodeOver { session } if **session == *"b#1"));
    assert!(over, "its life is settled with that");
    bench.take(decision);
    bench.expect(&[
        "a interrupted",
        "a incident critical",
        "r attempt 1 failed: interrupted",
        "g interrupted",
        "g incident critical",
    ]);
    bench.wait(10);
    let said = bench.said();
    assert_eq!(said, ["r start 2 at c#1"]);
}

#[test]
fn a_run_that_somebody_had_cancelled_is_cancelled_when_its_node_is_lost() {
    let mut bench = Bench::new(&[at_gpu("a"), at_gpu("b")]);
    bench.quietly().nodes(&[node("n#1", GPU)]).run("a").run("b").begin(0).quietly();
    for nth in [0, 1] {
        let run = bench.active[nth].0;
        bench.ok(Command::Cancel { run, kill: false });
    }
    bench.expect(&["a term", "b term"]);
    bench.nodes(&[]).expect(&["a cancelled", "b cancelled"]);
}

#[test]
fn a_conversation_goes_on_elsewhere() {
    let mut bench = Bench::new(&[money::thinker("m", |spec| {
        on_gpu(spec);
        spec.schedule = Schedule::Manual;
    })]);
    bench.quietly().nodes(&[node("b#1", GPU)]).run("m").begin(0).quietly();
    bench.active.clear();
    bench.nodes(&[node("c#1", GPU)]).expect(&["m resumed", "m start 1 at c#1"]);
}

#[test]
fn the_next_leader_takes_up_what_nodes_have_in_hand() {
    let mut bench = Bench::new(&[
        agent("a", Schedule::Manual, |spec| {
            on_gpu(spec);
            spec.lock = Some("l".into());
        }),
        agent("b", Schedule::Manual, |spec| {
            on_gpu(spec);
            spec.lock = Some("l".into());
        }),
        at_gpu("c"),
    ]);
    bench.quietly().nodes(&[node("n#1", GPU)]).run("a").run("c").begin(0).run("b").quietly();
    let active = bench.active.clone();
    bench.crash(5).expect(&[]);
    assert_eq!((bench.engine.active_runs(), bench.engine.active_here()), (2, 0));
    // what waits for its lock still does, and what is reported is taken
    bench.active = active;
    bench.end(0, AttemptEnd::Completed).expect(&["a completed", "b start 1 at n#1"]);
    bench.begin(0).end(0, AttemptEnd::Completed).expect(&["c completed"]);
    // a life of which the records know nothing any more is over
    let before = bench.active.clone();
    bench.nodes.clear();
    bench.crash(5).expect(&[]);
    assert!(bench.why_no_node("b").is_some());
    bench.nodes(&[node("n#2", GPU)]).expect(&["b start 1 at n#2"]);
    bench.begin(0);
    assert_eq!(before[0], bench.active[0], "it is the same attempt: nothing of it was started before");
    bench.nodes.clear();
    bench.crash(5).expect(&["b interrupted", "b incident critical"]);
}

#[test]
fn what_an_earlier_leader_had_told_to_end_was_cancelled() {
    let mut bench = Bench::new(&[at_gpu("a")]);
    bench.quietly().nodes(&[node("n#1", GPU)]).run("a").begin(0).quietly();
    let active = bench.active.clone();
    bench.crash(1).quietly();
    bench.active = active;
    let run = bench.active[0].0;
    bench.input(Input::ToldToEnd { run, cause: CancelCause::Person });
    bench.end(0, AttemptEnd::Cancelled).expect(&["a cancelled"]);
}

#[test]
fn what_nodes_have_in_hand_does_not_hold_up_the_end_of_the_leader() {
    let mut bench = Bench::new(&[at_gpu("a"), plain("here", Schedule::Manual)]);
    bench.quietly().nodes(&[node("n#1", GPU)]).run("a").run("here").begin(0).begin(1).quietly();
    bench.input(Input::ShutDown { reason: "asked".into() }).input(Input::EndRuns { kill: false });
    bench.expect(&["here term"]);
    bench.end(1, AttemptEnd::Cancelled).quietly();
    assert_eq!((bench.engine.active_runs(), bench.engine.active_here()), (1, 0));
    // what is reported until then is decided
    bench.end(0, AttemptEnd::Completed).expect(&["a completed"]);
}

#[test]
fn an_agent_that_is_gone_is_told_to_end_where_it_runs() {
    let mut bench = Bench::new(&[at_gpu("a")]);
    bench.quietly().nodes(&[node("n#1", GPU)]).run("a").begin(0).quietly();
    bench.fleet = fleet(&[], 64);
    bench.crash(1);
    let said = bench.said();
    assert!(said.contains(&"? term".to_owned()) && said.contains(&"a interrupted".to_owned()), "{said:?}");
}

#[test]
fn a_gate_that_an_earlier_leader_had_asked_alone_opens_for_the_body() {
    // the reason why only the gate was asked is not on record: if there is none now, the body runs
    let mut bench = Bench::new(&[at_gpu("a")]);
    bench.quietly().nodes(&[node("n#1", GPU)]).run("a").asks_gate(0).quietly();
    let active = bench.active.clone();
    bench.crash(1).quietly();
    bench.active = active;
    bench.end(0, AttemptEnd::GateOpen).expect(&["a start 1 at n#1"]);
}

#[test]
fn a_node_gets_no_more_runs_at_a_time_than_it_takes() {
    let mut bench = Bench::new(&["a", "b", "c", "d"].map(at_gpu));
    let one = LiveNode { places: 1, ..node("x#1", GPU) };
    let two = LiveNode { places: 2, ..node("y#1", GPU) };
    bench.quietly().nodes(&[one.clone(), two.clone()]);
    for name in ["a", "b", "c", "d"] {
        bench.run(name);
    }
    let starts: Vec<String> = bench.said().into_iter().filter(|line| line.contains("start")).collect();
    assert_eq!(starts, ["a start 1 at x#1", "b start 1 at y#1", "c start 1 at y#1"]);
    assert_eq!(
        bench.why_no_node("d").as_deref(),
        Some("no node with gpu=h100 takes another run: x has 1 of 1, y has 2 of 2")
    );
    // the next one gets the place that is free
    bench.begin(0).quietly().end(0, AttemptEnd::Completed);
    let starts: Vec<String> = bench.said().into_iter().filter(|line| line.contains("start")).collect();
    assert_eq!(starts, ["d start 1 at x#1"]);
    assert_eq!((bench.why_no_node("d"), bench.engine.active_runs()), (None, 3));
    // a node that takes more
    bench.run("a");
    assert!(bench.why_no_node("a").is_some());
    bench.quietly().nodes(&[one, LiveNode { places: 3, ..two }]).expect(&["a start 1 at y#1"]);
}

#[test]
fn what_the_leader_has_in_hand_holds_up_no_other_node() {
    let specs = [plain("a", Schedule::Manual), plain("b", Schedule::Manual), at_gpu("c")];
    let mut bench = Bench::with_fleet(fleet(&specs, 1));
    bench.quietly().nodes(&[node("x#1", GPU)]).run("a").run("b").run("c");
    let starts: Vec<String> = bench.said().into_iter().filter(|line| line.contains("start")).collect();
    assert_eq!(starts, ["a start 1", "c start 1 at x#1"]);
    assert_eq!((bench.engine.active_here(), bench.engine.active_runs()), (1, 2));
    // and what nodes have in hand takes no place of the leader's
    bench.begin(0).quietly().end(0, AttemptEnd::Completed);
    let starts: Vec<String> = bench.said().into_iter().filter(|line| line.contains("start")).collect();
    assert_eq!(starts, ["b start 1"]);
}
