//! Money, approvals, and runs of models that go on after a break.
use super::*;

pub(super) fn thinker(name: &str, with: impl FnOnce(&mut AgentSpec)) -> AgentSpec {
    agent(name, every(60), |spec| {
        spec.body = Body::Query(Arc::new(QuerySpec {
            query: "?".into(),
            system_instruction: None,
            model: "m".into(),
            tools: Vec::new(),
            memory: Memory::None,
            session_id: None,
            approve: Vec::new(),
            approval: Approval::Deny,
            sinks: Vec::new(),
            output_schema: None,
        }));
        with(spec);
    })
}

fn limited(name: &str, with: impl FnOnce(&mut Limits)) -> AgentSpec {
    thinker(name, |spec| with(Arc::make_mut(&mut spec.limits)))
}

impl Bench {
    /// A request of the `nth` attempt in flight.
    fn reserve(&mut self, nth: usize, tokens: u64, usd: f64) -> &mut Self {
        let (run, attempt) = self.active[nth];
        let worst = WorstCase { tokens, usd };
        self.input(Input::Reserve { run, attempt, n: 0, model: "m".into(), worst, ticket: Ticket(0) })
    }

    fn settle(&mut self, nth: usize, tokens: u64, usd: f64) -> &mut Self {
        let (run, _) = self.active[nth];
        let used = Usage { requests: 1, input_tokens: tokens, usd, ..Usage::default() };
        let answer = ModelAnswer { turn: ModelTurn::default(), finish: Finish::Stop, tokens: None };
        let step = Box::new(Step::Answered { model: "m".into(), answer, used });
        self.input(Input::Settle { run, n: 1, step, took_ms: 1, ticket: Ticket(0) })
    }

    fn wait_for_person(&mut self, id: &str) -> &mut Self {
        let (run, attempt) = self.active.remove(0);
        let wanted = ApprovalWanted { id: id.into(), call: 0, tool: "t".into(), args: "{}".into() };
        let outcome = Box::new(AttemptOutcome::of(AttemptEnd::Waits(vec![wanted])));
        self.input(Input::AttemptEnded { run, attempt, outcome })
    }
}

#[test]
fn a_request_is_held_for_and_settled() {
    let mut bench = Bench::new(&[limited("a", |limits| limits.tokens_per_day = Some(100))]);
    bench.begin(0).quietly();
    bench.reserve(0, 60, 0.0).expect(&["granted"]);
    bench.settle(0, 10, 0.0).expect(&[]);
    bench.reserve(0, 90, 0.0).expect(&["granted"]);
    bench.settle(0, 75, 0.0).expect(&["a tokens_per_day warning"]);
    bench.reserve(0, 16, 0.0).expect(&["a tokens_per_day used up", "not granted: budget"]);
    bench.reserve(0, 15, 0.0).expect(&["granted"]);
}

#[test]
fn side_by_side_nobody_overspends() {
    let mut bench = Bench::new(&[thinker("a", |_| ()), thinker("b", |_| ())]);
    let mut fleet = (*bench.fleet).clone();
    fleet.budget.usd_per_day = Some(1.0);
    bench.fleet = Arc::new(fleet);
    let fleet = bench.fleet.clone();
    bench.input(Input::FleetLoaded { fleet, ticket: None });
    bench.begin(0).begin(1).quietly();
    bench.reserve(0, 1, 0.6).reserve(1, 1, 0.6).expect(&[
        "granted",
        "fleet usd_per_day used up",
        "not granted: budget",
    ]);
    bench.settle(0, 1, 0.1).quietly();
    bench.reserve(1, 1, 0.6).expect(&["granted"]);
    // what is in flight when an attempt ends is charged whole
    bench.fail(ErrorKind::Network).quietly();
    assert!((bench.engine.budget_left(None, bench.now.wall)[0].used - 0.7).abs() < 1e-9);
}

#[test]
fn slots_are_refused_until_the_day_ends_or_the_file_changes() {
    let spec = limited("a", |limits| limits.requests_per_day = Some(1));
    let mut bench = Bench::new(std::slice::from_ref(&spec));
    bench.begin(0).reserve(0, 1, 0.0).settle(0, 1, 0.0).complete().quietly();
    bench.wait(60);
    let said = bench.said();
    assert!(
        said[0].starts_with("a 60 refused_budget: `requests_per_day` of agent `a` allows 1 requests"),
        "{said:?}"
    );
    bench.wait(60).quietly();
    let more = limited("a", |limits| limits.requests_per_day = Some(5));
    bench.reload(&[more]).quietly();
    bench.wait(60);
    assert!(bench.said().iter().any(|line| line == "a start 1"));
    let mut bench = Bench::new(&[spec]);
    bench.begin(0).reserve(0, 1, 0.0).settle(0, 1, 0.0).complete().quietly();
    bench.wait(86_400);
    assert!(bench.said().iter().any(|line| line == "a start 1"), "a new day");
}

#[test]
fn budgets_outlive_a_crash() {
    let mut bench = Bench::new(&[limited("a", |limits| limits.tokens_per_day = Some(100))]);
    bench.begin(0).reserve(0, 30, 0.0).settle(0, 30, 0.0).reserve(0, 50, 0.0).quietly();
    // nobody saw the end of the second request: it is charged whole, and the run goes on
    bench.crash(5).expect(&["a charged 50", "a resumed", "a start 1"]);
    bench.begin(0).reserve(0, 21, 0.0).expect(&["a tokens_per_day used up", "not granted: budget"]);
    bench.reserve(0, 20, 0.0).expect(&["granted"]);
}

#[test]
fn a_run_goes_on_after_a_crash_only_as_what_it_was() {
    let mut bench = Bench::new(&[thinker("a", |_| ())]);
    bench.begin(0).quietly();
    bench.crash(5).expect(&["a resumed", "a start 1"]);
    let mut bench = Bench::new(&[thinker("a", |_| ())]);
    bench.begin(0).quietly();
    bench.fleet = fleet(&[limited("a", |limits| limits.request_limit = 3)], 64);
    bench.crash(5);
    assert!(bench.said().contains(&"a interrupted".to_owned()), "its configuration changed");
}

#[test]
fn a_shutdown_leaves_a_conversation_to_the_next_life() {
    let mut bench = Bench::new(&[thinker("a", |_| ())]);
    bench.begin(0).quietly();
    bench.input(Input::ShutDown { reason: "test".into() });
    bench.input(Input::EndRuns { kill: false }).expect(&["a term"]);
    let (run, attempt) = bench.active.remove(0);
    let outcome = Box::new(AttemptOutcome::of(AttemptEnd::Cancelled));
    bench.input(Input::AttemptEnded { run, attempt, outcome }).expect(&[]);
    bench.crash(5).expect(&["a resumed", "a start 1"]);
}

#[test]
fn a_person_decides() {
    let mut bench = Bench::new(&[thinker("a", |_| ())]);
    bench.begin(0).quietly();
    bench.wait_for_person("x").expect(&["a waits"]);
    assert_eq!(bench.state("a").activity, Activity::WaitingApproval);
    bench.wait(60).expect(&["a 60 skipped_overlap"]);
    bench.crash(5).expect(&[]);
    assert!(bench.command(Command::Decide("y".into(), true, None)).is_err());
    bench.ok(Command::Decide("x".into(), true, None)).expect(&["a decided: true", "a start 1"]);
    bench.begin(0).complete();
    assert!(bench.said().contains(&"a completed".to_owned()));
    // a run that is cancelled waits for nobody
    bench.wait(60).begin(0).wait_for_person("z").quietly();
    bench.ok(Command::Stop(one("a"), None, StopMode::Terminate)).quietly();
    assert!(bench.command(Command::Decide("z".into(), true, None)).is_err());
}
