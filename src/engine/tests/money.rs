//! Money, approvals, and runs of models that go on after a break.
use super::*;

pub(super) fn thinker(name: &str, with: impl FnOnce(&mut AgentSpec)) -> AgentSpec {
    agent(name, every(60), |spec| {
        spec.body = Body::Query(Arc::new(QuerySpec {
            query: "?".into(),
            system_instruction: None,
            skills: Vec::new(),
            model: "m".into(),
            tools: Vec::new(),
            memory: Memory::None,
            session_id: None,
            approve: Vec::new(),
            approval: Approval::Deny,
            route: None,
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
    pub(super) fn reserve(&mut self, nth: usize, tokens: u64, usd: f64) -> &mut Self {
        self.reserve_at(nth, 0, tokens, usd)
    }

    /// The same, for the request at a place of the journal.
    fn reserve_at(&mut self, nth: usize, n: u64, tokens: u64, usd: f64) -> &mut Self {
        let (run, attempt) = self.active[nth];
        let worst = WorstCase { tokens, output: tokens / 4, usd };
        self.input(Input::Reserve(Reservation {
            run,
            attempt,
            n,
            model: "m".into(),
            worst,
            ticket: Ticket(0),
        }))
    }

    pub(super) fn settle(&mut self, nth: usize, tokens: u64, usd: f64) -> &mut Self {
        self.settle_at(nth, 0, tokens, usd)
    }

    fn settle_at(&mut self, nth: usize, asked: u64, tokens: u64, usd: f64) -> &mut Self {
        let (run, _) = self.active[nth];
        let used = Usage { requests: 1, input_tokens: tokens, usd, ..Usage::default() };
        let answer = ModelAnswer {
            turn: ModelTurn::default(),
            finish: Finish::Stop,
            tokens: None,
            asked_twice: false,
        };
        let step = Box::new(Step::Answered { model: "m".into(), answer, used });
        self.input(Input::Settle { run, n: asked + 1, asked, step, took_ms: 1, ticket: Ticket(0) })
    }

    fn wait_for_person(&mut self, id: &str) -> &mut Self {
        let (run, attempt) = self.active.remove(0);
        let wanted = ApprovalWanted { id: id.into(), call: 0, tool: "t".into(), args: "{}".into() };
        let outcome = Box::new(AttemptOutcome::of(AttemptEnd::Waits(vec![wanted])));
        self.input(Input::AttemptEnded { run, attempt, outcome })
    }
}

#[test]
fn requests_of_one_run_side_by_side_are_each_held_for() {
    let mut bench = Bench::new(&[limited("a", |limits| limits.tokens_per_day = Some(100))]);
    bench.begin(0).quietly();
    bench.reserve_at(0, 10, 40, 0.0).expect(&["granted"]);
    bench.reserve_at(0, 20, 40, 0.0).expect(&["granted"]);
    // it would fit if those two had not been held for at their worst
    bench.reserve_at(0, 30, 40, 0.0).expect(&[]);
    bench.settle_at(0, 20, 5, 0.0).expect(&["granted"]);
    // nobody saw the end of the other two
    bench.crash(5).quietly();
    assert!(bench.holds.is_empty());
    assert_eq!(bench.spent.iter().map(|row| row.used.tokens()).collect::<Vec<_>>(), [5, 40, 40]);
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
    bench.reserve(0, 1, 0.6).reserve(1, 1, 0.6).expect(&["granted"]);
    // what was only held does not refuse anybody for the day: the other one waits for it
    bench.settle(0, 1, 0.1).expect(&["granted"]);
    bench.reserve(0, 1, 0.95).expect(&["fleet usd_per_day used up", "not granted: budget"]);
    // what is in flight when an attempt ends is charged whole
    bench.fail(ErrorKind::Network).quietly();
    assert!((bench.engine.budget_left(None, bench.now.wall)[0].used - 0.7).abs() < 1e-9);
}

#[test]
fn who_waits_for_money_gets_its_answer() {
    let mut spec = limited("a", |limits| limits.usd_per_day = Some(1.0));
    spec.overlap = Overlap::Parallel;
    let mut bench = Bench::new(&[spec]);
    bench.begin(0).wait(60).begin(1).wait(60).begin(2).quietly();
    bench.reserve(0, 1, 0.9).reserve(1, 1, 0.9).reserve(2, 1, 0.9).expect(&["granted"]);
    // slots go on: nothing is used up yet
    bench.wait(60).begin(3).quietly();
    // one that is ended waits no longer, and an attempt that ends is charged whole
    let (run, attempt) = bench.active.remove(1);
    bench.input(Input::AttemptEnded {
        run,
        attempt,
        outcome: Box::new(AttemptOutcome::of(AttemptEnd::Cancelled)),
    });
    assert!(bench.said().contains(&"not granted: interrupted".to_owned()));
    bench.fail(ErrorKind::Network);
    let said = bench.said();
    assert!(said.contains(&"not granted: budget".to_owned()), "{said:?}");
    bench.wait(60);
    assert!(bench.said()[0].contains("refused_budget"));
    // a raised limit of the fleet lets those go on that wait
    let limited = |usd| {
        let mut fleet = (*fleet(&[thinker("a", |_| ()), thinker("b", |_| ())], 64)).clone();
        fleet.budget.usd_per_day = Some(usd);
        Arc::new(fleet)
    };
    let mut bench = Bench::with_fleet(limited(1.0));
    bench.begin(0).begin(1).reserve(0, 1, 0.9).reserve(1, 1, 0.9).quietly();
    bench.fleet = limited(2.0);
    let fleet = bench.fleet.clone();
    bench.input(Input::FleetLoaded { fleet, ticket: None });
    assert!(bench.said().contains(&"granted".to_owned()));
}

#[test]
fn a_clock_that_was_ahead_gives_no_money_back_and_takes_none() {
    let year = 365 * 86_400;
    let spec = || limited("a", |limits| limits.usd_per_day = Some(1.0));
    let used = |bench: &Bench| bench.engine.budget_left(Some("a"), bench.now.wall)[0].used;
    let mut bench = Bench::new(&[spec()]);
    bench.begin(0).reserve(0, 1, 0.9).settle(0, 1, 0.8).complete().quietly();
    // a year ahead, one request is made, and one is refused until a day of that year
    bench.jump(year).quietly().wait(60).begin(0).reserve(0, 1, 0.9).settle(0, 1, 0.9);
    bench.reserve(0, 1, 0.9).complete();
    assert!(bench.said().contains(&"not granted: budget".to_owned()));
    bench.jump(-year).wait(120).quietly();
    assert!((used(&bench) - 0.8).abs() < 1e-9, "{}", used(&bench));
    assert!(!bench.active.is_empty(), "there is money today");
    bench.crash(0);
    assert!((used(&bench) - 0.8).abs() < 1e-9, "{}", used(&bench));
}

#[test]
fn slots_are_refused_until_the_day_ends_or_the_file_changes() {
    let spec = limited("a", |limits| limits.requests_per_day = Some(1));
    let mut bench = Bench::new(std::slice::from_ref(&spec));
    bench.begin(0).reserve(0, 1, 0.0).settle(0, 1, 0.0).complete().quietly();
    bench.wait(60);
    let said = bench.said();
    assert_eq!(
        said,
        [
            "a requests_per_day used up",
            "a 60 refused_budget: `requests_per_day` of agent `a` allows 1 request: 1 request is used; \
             raise it, or wait until 2027-01-16"
        ]
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
    // neither does another one try it again, nor does a late word of a person
    let retried = |limit| {
        let mut spec = limited("a", |limits| limits.request_limit = limit);
        spec.retry.max = 2;
        spec
    };
    let mut bench = Bench::new(&[retried(2)]);
    bench.begin(0).wait_for_person("x").quietly();
    bench.fleet = fleet(&[retried(3)], 64);
    bench.crash(5);
    assert!(bench.said().contains(&"a interrupted".to_owned()));
    assert!(
        bench.command(Command::Decide { id: "x".into(), approve: true, reason: None, by: None }).is_err()
    );
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
    assert!(
        bench.command(Command::Decide { id: "y".into(), approve: true, reason: None, by: None }).is_err()
    );
    bench
        .ok(Command::Decide { id: "x".into(), approve: true, reason: None, by: None })
        .expect(&["a decided: true", "a start 1"]);
    bench.begin(0).complete();
    assert!(bench.said().contains(&"a completed".to_owned()));
    // a run that is cancelled waits for nobody
    bench.wait(60).begin(0).wait_for_person("z").quietly();
    bench
        .ok(Command::Want { target: one("a"), wish: Wish::Stop { mode: StopMode::Terminate }, reason: None })
        .quietly();
    assert!(
        bench.command(Command::Decide { id: "z".into(), approve: true, reason: None, by: None }).is_err()
    );
}

#[test]
fn a_person_is_told_once_of_what_waits() {
    let asking = |on: &[TellOn]| {
        let mut spec = limited("a", |limits| limits.total_timeout = Some(secs(3600)));
        let (to, repeat) = (vec!["ops".into()], secs(600));
        spec.notify = Some(Arc::new(NotifySpec { to, on: on.to_vec(), repeat }));
        spec
    };
    let mut bench = Bench::new(&[asking(&[TellOn::ApprovalRequested])]);
    bench.begin(0).quietly();
    bench.wait_for_person("x").expect(&["a waits", "tell ops approval_requested"]);
    let (subject, body) = bench.messages.pop().unwrap();
    assert_eq!(subject, "a: a call of t waits for a person");
    assert_eq!(
        body,
        "t {}\n  bgagent approve x, or bgagent deny x\n\
         The run ends if nobody decides within its total_timeout of 1h."
    );
    bench.crash(5).expect(&[]);
    bench.wait(60).quietly();
    bench.ok(Command::Decide { id: "x".into(), approve: true, reason: None, by: None }).begin(0).quietly();
    // another call is another question; several at a time are one message
    let (run, attempt) = bench.active.remove(0);
    let args = format!("{{\"text\":\"{}\"}}", "ä".repeat(500));
    let wish = |nth: usize| ApprovalWanted {
        id: format!("y{nth}"),
        call: nth,
        tool: "t".into(),
        args: args.clone(),
    };
    let outcome = Box::new(AttemptOutcome::of(AttemptEnd::Waits((0..10).map(wish).collect())));
    bench.input(Input::AttemptEnded { run, attempt, outcome });
    assert_eq!(bench.messages.len(), 1);
    let (subject, body) = bench.messages.pop().unwrap();
    assert_eq!(subject, "a: 10 calls wait for a person");
    assert!(body.contains("deny y7\nand 2 more: bgagent approvals\n") && !body.contains("y8"), "{body}");
    assert!(body.contains("ää…\n") && body.len() < 8000, "{body}");
    let mut bench = Bench::new(&[asking(&[TellOn::Failed])]);
    bench.begin(0).quietly();
    bench.wait_for_person("x").expect(&["a waits"]);
}

#[test]
fn a_run_that_goes_on_is_not_a_new_one() {
    // decided, and held back by its lock, by a pause, or by nothing but a restart: it stays a run
    let locked = |name: &str| thinker(name, |spec| spec.lock = Some("l".into()));
    let mut bench = Bench::new(&[locked("a"), locked("b")]);
    bench.begin(0).wait_for_person("x").quietly();
    bench.begin(0).quietly();
    bench.ok(Command::Decide { id: "x".into(), approve: true, reason: None, by: None }).quietly();
    bench.ok(Command::Want {
        target: one("a"),
        wish: Wish::Stop { mode: StopMode::Terminate },
        reason: None,
    });
    let said = bench.said();
    assert!(
        said.contains(&"a cancelled".to_owned()) && !said.iter().any(|line| line.contains("dropped")),
        "{said:?}"
    );
    let mut bench = Bench::new(&[thinker("a", |_| ())]);
    bench.begin(0).wait_for_person("x").quietly();
    bench.ok(Command::Want { target: one("a"), wish: Wish::Pause { until: None }, reason: None }).quietly();
    bench.ok(Command::Decide { id: "x".into(), approve: true, reason: None, by: None });
    assert!(bench.said().contains(&"a start 1".to_owned()), "a pause lets it finish");
}

#[test]
fn what_is_not_real_says_nothing_of_the_agent() {
    let rehearsal =
        || Command::Run { agent: id("a"), query: None, params: ParamValues::new(), mode: RunMode::Rehearsal };
    let spec = || thinker("a", |spec| spec.circuit.open_after = 1);
    let mut bench = Bench::new(&[spec()]);
    bench.begin(0).fail(ErrorKind::Auth);
    assert!(bench.said().iter().any(|line| line.contains("circuit")));
    bench.ok(rehearsal()).begin(0).complete();
    let said = bench.said();
    assert!(!said.iter().any(|line| line.contains("circuit")), "{said:?}");
    assert_eq!(bench.state("a").record.counters.errors_in_row, 1);
    let mut bench = Bench::new(&[spec()]);
    bench.begin(0).complete().quietly();
    bench.ok(rehearsal()).begin(0).fail(ErrorKind::Auth);
    let said = bench.said();
    assert!(!said.iter().any(|line| line.contains("circuit")), "{said:?}");
    let mut bench = Bench::new(&[thinker("a", |spec| spec.overlap = Overlap::CancelPrevious)]);
    bench.begin(0).quietly();
    bench.ok(Command::Run {
        agent: id("a"),
        query: None,
        params: ParamValues::new(),
        mode: RunMode::Rehearsal,
    });
    assert!(!bench.said().contains(&"a term".to_owned()), "the real one goes on");
}

#[test]
fn nobody_decides_for_ever() {
    let bounded = |name: &str| limited(name, |limits| limits.total_timeout = Some(secs(100)));
    let mut bench = Bench::new(&[bounded("a")]);
    bench.begin(0).quietly();
    bench.wait(10).wait_for_person("x").quietly();
    // a restart changes nothing about it
    bench.crash(5).quietly();
    bench.wait(80).quietly();
    assert_eq!(bench.state("a").activity, Activity::WaitingApproval);
    bench.wait(5);
    let said = bench.said();
    assert!(said.contains(&"a timed_out".to_owned()), "{said:?}");
    assert!(
        bench.command(Command::Decide { id: "x".into(), approve: true, reason: None, by: None }).is_err()
    );
    // who decides in time leaves the rest of it to the run
    let mut bench = Bench::new(&[bounded("a")]);
    bench.begin(0).wait_for_person("x").quietly();
    bench.wait(90).quietly();
    bench.ok(Command::Decide { id: "x".into(), approve: true, reason: None, by: None }).quietly();
    bench.wait(50).begin(0).complete();
    assert!(bench.said().contains(&"a completed".to_owned()), "its timer is gone");
}

#[test]
fn what_a_run_used_is_in_its_record_however_it_ends() {
    let mut bench = Bench::new(&[thinker("a", |_| ())]);
    bench.begin(0).reserve(0, 30, 0.0).settle(0, 20, 0.5).wait_for_person("x").quietly();
    bench.ok(Command::Want {
        target: one("a"),
        wish: Wish::Stop { mode: StopMode::Terminate },
        reason: None,
    });
    assert_eq!(bench.ended, [(20, 1)], "while it waited");
    let mut bench = Bench::new(&[thinker("a", |_| ())]);
    bench.begin(0).reserve(0, 30, 0.0).settle(0, 20, 0.5).reserve(0, 50, 0.0).quietly();
    bench.fleet = fleet(&[limited("a", |limits| limits.request_limit = 3)], 64);
    bench.crash(5).quietly();
    assert_eq!(bench.ended, [(70, 2)], "in a restart with another configuration");
    let mut bench = Bench::new(&[thinker("a", |_| ())]);
    bench.begin(0).reserve(0, 30, 0.0).settle(0, 20, 0.5).quietly();
    bench.fleet = fleet(&[plain("b", every(60))], 64);
    bench.crash(5).quietly();
    assert_eq!(bench.ended, [(20, 1)], "in a restart without its agent");
}

#[test]
fn a_budget_is_told_once_in_its_time() {
    let limited = |usd| {
        let mut fleet = (*fleet(&[thinker("a", |_| ())], 64)).clone();
        (fleet.budget.usd_per_day, fleet.budget.usd_per_month) = (Some(usd), Some(1.5));
        Arc::new(fleet)
    };
    let mut bench = Bench::with_fleet(limited(1.0));
    bench.begin(0).reserve(0, 1, 0.9).settle(0, 1, 0.9).quietly();
    bench.reserve(0, 1, 0.2).expect(&["fleet usd_per_day used up", "not granted: budget"]);
    bench.crash(5).quietly();
    bench.begin(0).reserve(0, 1, 0.2).expect(&["not granted: budget"]);
    bench.reserve(0, 1, 0.01).settle(0, 1, 0.01).expect(&["granted"]);
    // a raised one is another one
    bench.fleet = limited(1.2);
    let raised = bench.fleet.clone();
    bench.input(Input::FleetLoaded { fleet: raised, ticket: None }).quietly();
    bench.reserve(0, 1, 0.1).settle(0, 1, 0.1).expect(&["granted", "fleet usd_per_day warning"]);
    // the month goes on when the day is over
    bench.pass(secs(86_400));
    bench.tick().quietly();
    bench.reserve(0, 1, 0.3).settle(0, 1, 0.3).expect(&["granted", "fleet usd_per_month warning"]);
    bench.crash(86_400).quietly();
    bench.begin(0).reserve(0, 1, 0.1).settle(0, 1, 0.1).expect(&["granted"]);
    bench.reserve(0, 1, 0.1).expect(&["fleet usd_per_month used up", "not granted: budget"]);
}

#[test]
fn the_first_slot_that_is_refused_tells_it_once_a_day() {
    let telling = |name: &str, to: &[&str], on: &[TellOn]| {
        thinker(name, |spec| {
            let to = to.iter().map(|to| (*to).to_owned()).collect();
            spec.notify = Some(Arc::new(NotifySpec { to, on: on.to_vec(), repeat: secs(600) }));
        })
    };
    let mut own = telling("a", &["ops"], &[TellOn::BudgetExhausted]);
    Arc::make_mut(&mut own.limits).requests_per_day = Some(2);
    let mut bench = Bench::new(&[own]);
    let ask = |bench: &mut Bench| {
        bench.begin(0).reserve(0, 1, 0.0).settle(0, 1, 0.0).complete();
        let mut said = bench.said();
        said.retain(|line| line.contains("_per_day"));
        said
    };
    assert_eq!(ask(&mut bench), [""; 0]);
    bench.wait(60).quietly();
    assert_eq!(ask(&mut bench), ["a requests_per_day warning"], "also where the last step uses all of it");
    assert_eq!(bench.state("a").out_of_budget.unwrap().0, "2027-01-16T00:00:00Z".parse().unwrap());
    let of_budgets = |bench: &mut Bench| {
        let mut said = bench.said();
        said.retain(|line| line.contains("used up") || line.starts_with("tell"));
        said
    };
    bench.wait(60);
    assert_eq!(of_budgets(&mut bench), ["a requests_per_day used up", "tell ops budget_exhausted"]);
    bench.wait(60).crash(0).wait(600);
    assert_eq!(of_budgets(&mut bench), [""; 0], "once");
    bench.wait(86_400);
    assert!(bench.state("a").out_of_budget.is_none(), "a new day");

    // the fleet's is everybody's: whoever asks for it is told, each target once
    let mut all = (*fleet(
        &[
            thinker("a", |_| ()),
            telling("b", &["ops", "boss"], &[TellOn::BudgetExhausted]),
            telling("c", &["ops"], &[TellOn::BudgetExhausted]),
            telling("d", &["quiet"], &[TellOn::Failed]),
        ],
        64,
    ))
    .clone();
    all.budget.requests_per_day = Some(1);
    let mut bench = Bench::with_fleet(Arc::new(all));
    bench.begin(0).reserve(0, 1, 0.0).settle(0, 1, 0.0);
    while !bench.active.is_empty() {
        bench.complete();
    }
    bench.quietly().wait(60);
    assert_eq!(
        of_budgets(&mut bench),
        ["fleet requests_per_day used up", "tell ops budget_exhausted", "tell boss budget_exhausted"]
    );
    assert!(["a", "b", "c", "d"].iter().all(|name| bench.state(name).out_of_budget.is_some()));
}

#[test]
fn a_budget_that_ends_a_run_is_one_message() {
    use TellOn::{BudgetExhausted, Failed, IncidentOpened, IncidentResolved, Recovered};
    let told = |on: &[TellOn]| {
        let spec = thinker("a", |spec| {
            Arc::make_mut(&mut spec.limits).usd_per_day = Some(1.0);
            spec.notify =
                Some(Arc::new(NotifySpec { to: vec!["ops".into()], on: on.to_vec(), repeat: secs(600) }));
        });
        let mut bench = Bench::new(&[spec]);
        bench
            .begin(0)
            .reserve(0, 10, 2.0)
            .end(0, AttemptEnd::Failed(RunError::new(ErrorKind::Budget, "usd_per_day = 1 is used up")));
        let mut said = bench.said();
        bench.wait(86_400).begin(0).reserve(0, 10, 0.1).settle(0, 10, 0.1).complete();
        said.extend(bench.said());
        said.retain(|line| line.starts_with("tell"));
        said
    };
    assert_eq!(told(&[BudgetExhausted, Failed, Recovered]), ["tell ops budget_exhausted"]);
    assert_eq!(told(&[BudgetExhausted, IncidentOpened, IncidentResolved]), ["tell ops budget_exhausted"]);
    assert_eq!(told(&[Failed, Recovered]), ["tell ops failed", "tell ops recovered"]);
    assert_eq!(
        told(&[IncidentOpened, IncidentResolved]),
        ["tell ops incident_opened", "tell ops incident_resolved"]
    );
}

#[test]
fn a_month_that_is_used_up_refuses_to_its_end() {
    let mut month = (*fleet(&[thinker("a", |_| ())], 64)).clone();
    month.budget.usd_per_month = Some(1.0);
    let mut bench = Bench::with_fleet(Arc::new(month));
    bench.begin(0).reserve(0, 1, 0.9).settle(0, 1, 0.9).quietly();
    bench.reserve(0, 1, 0.2).complete().quietly();
    assert_eq!(bench.state("a").out_of_budget.unwrap().0, "2027-02-01T00:00:00Z".parse().unwrap());
    bench.pass(secs(86_400));
    bench.tick();
    let said = bench.said();
    assert!(!said.iter().any(|line| line.contains("start")), "the next day changes nothing: {said:?}");
    bench.pass(secs(20 * 86_400));
    bench.tick();
    assert!(bench.said().iter().any(|line| line == "a start 1"), "a new month");
}

fn asking(wait: Option<i64>) -> AgentSpec {
    let route = ApprovalRoute { via: vec!["me".into()], wait: wait.map(secs) };
    thinker("a", |a| {
        let Body::Query(query) = &mut a.body else { unreachable!() };
        Arc::make_mut(query).route = Some(Arc::new(route));
        a.schedule = every(86_400);
        let (to, on, repeat) = (vec!["me".into(), "ops".into()], vec![TellOn::ApprovalRequested], secs(600));
        a.notify = Some(Arc::new(NotifySpec { to, on, repeat }));
    })
}

#[test]
fn who_can_answer_is_asked_about_each_call_and_others_are_told_once() {
    let mut bench = Bench::new(&[asking(None)]);
    bench.begin(0).quietly().wait_for_person("x");
    let told = bench.said().into_iter().filter_map(|line| Some(line.strip_prefix("tell ")?.to_owned()));
    let targets: Vec<String> = told.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect();
    assert_eq!(targets, ["me", "ops"]);
    assert!(bench.messages[0].0.starts_with("a: may it call"), "{:?}", bench.messages);
}

#[test]
fn an_answer_is_to_the_call_that_was_asked_about() {
    let mut bench = Bench::new(&[asking(None)]);
    bench.begin(0).wait_for_person("x").quietly();
    let wanted = bench.approvals[0].wanted.clone();
    let answer = |tool: &str, args: &str| Command::Decide {
        id: "x".into(),
        approve: true,
        reason: None,
        by: Some(AnsweredBy { who: "ada".into(), call: Some(call_hash(tool, args)) }),
    };
    assert!(bench.command(answer(&wanted.tool, "{\"other\": 1}")).is_err());
    assert_eq!(bench.approvals.len(), 1, "it still waits");
    bench.ok(answer(&wanted.tool, &wanted.args));
    assert!(bench.approvals.is_empty());
    assert!(bench.command(answer(&wanted.tool, &wanted.args)).is_err(), "no answer is taken twice");
}

#[test]
fn a_call_that_nobody_decides_about_in_time_is_denied() {
    let mut bench = Bench::new(&[asking(Some(100))]);
    bench.begin(0).wait_for_person("x").wait(60).crash(20).quietly();
    bench.wait(19);
    assert!(!bench.said().iter().any(|line| line.contains("decided")), "99 seconds");
    bench.wait(1);
    assert_eq!(bench.said(), ["a decided: false", "a start 1"], "and the run goes on without it");
    assert!(bench.approvals.is_empty());
}
