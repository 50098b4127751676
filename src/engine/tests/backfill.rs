//! Runs for past slots.
use super::commands::{pause, resume, stop};
use super::money::thinker;
use super::*;

fn past(slots: &[i64], max_usd: Option<f64>) -> Command {
    Command::Backfill(BackfillRequest {
        agent: id("a"),
        id: None,
        slots: slots.iter().map(|slot| t(*slot)).collect(),
        params: ParamValues::new(),
        max_usd,
    })
}

/// A model that a run can be bounded in dollars for.
fn model_with_price() -> ModelSpec {
    ModelSpec {
        provider: Provider::Ollama,
        model: "x".into(),
        base_url: None,
        api_key: None,
        headers: BTreeMap::new(),
        request_timeout: secs(60),
        max_output_tokens: 100,
        max_output_by_default: true,
        temperature: None,
        settings: RequestSettings::default(),
        price: Some(Price { input: 1.0, cached_input: 1.0, cache_write: 1.0, output: 1.0 }),
        fallback: Vec::new(),
        fallback_on: Vec::new(),
        max_parallel_requests: None,
        requests_per_minute: None,
    }
}

/// The past slots of the runs in flight or waiting, in seconds.
fn live(bench: &Bench) -> Vec<String> {
    let state = bench.state("a");
    state.live.iter().map(|run| run.past.as_ref().map_or("-".into(), |past| bench.rel(past.slot))).collect()
}

#[test]
fn past_slots_run_in_order_one_at_a_time_and_those_of_the_schedule_in_between() {
    let mut bench = Bench::new(&[agent("a", every(60), |a| a.first_run = FirstRun::AfterInterval)]);
    bench.ok(past(&[-180, -120, -60], None)).expect(&["a claimed: manual", "a start 1"]);
    assert_eq!(live(&bench), ["-180"]);
    assert_eq!(bench.state("a").backfill.map(|now| (now.claimed, now.count)), Some((1, 3)));
    // a slot is not skipped for it: it waits, and comes before the next past one
    bench.begin(0).wait(60).expect(&["a 60 ran"]);
    bench.end(0, AttemptEnd::Completed);
    assert_eq!(live(&bench), ["-", "-120"]);
    bench.expect(&["a completed", "a claimed: manual", "a start 1"]).complete();
    assert_eq!(live(&bench), ["-120"]);
    bench.quietly().complete().complete().expect(&[
        "a completed",
        "a claimed: manual",
        "a start 1",
        "a completed",
    ]);
    assert_eq!((live(&bench), bench.state("a").backfill), (Vec::new(), None));
    assert_eq!(bench.state("a").record.counters.skipped, 0);
}

#[test]
fn a_new_life_goes_on_with_the_slot_after_the_last_one_that_was_claimed() {
    let mut bench = Bench::new(&[plain("a", Schedule::Manual)]);
    bench.ok(past(&[-180, -120, -60], None)).begin(0);
    bench.crash(5);
    // the first was cut short: that is on record, and it does not run again
    assert_eq!(live(&bench), ["-120"]);
    bench.crash(5);
    assert_eq!(live(&bench), ["-120"], "it never began");
    bench.complete().complete();
    assert_eq!((live(&bench), bench.state("a").backfill), (Vec::new(), None));
}

#[test]
fn a_pause_holds_a_backfill_and_a_stop_or_a_cancel_ends_it() {
    let mut bench = Bench::new(&[plain("a", Schedule::Manual)]);
    bench.ok(past(&[-180, -120, -60], None)).ok(pause(one("a"))).complete();
    assert!(live(&bench).is_empty());
    bench.ok(resume(one("a")));
    assert_eq!(live(&bench), ["-120"]);
    assert!(matches!(bench.command(past(&[-60], None)), Err(Refusal::WrongState(_))), "one at a time");
    bench.ok(stop(one("a"))).end(0, AttemptEnd::Cancelled);
    assert_eq!((live(&bench), bench.state("a").backfill), (Vec::new(), None));
    // also of a stopped agent a person can have one
    bench.ok(past(&[-120, -60], None)).begin(0);
    let run = bench.state("a").live[0].run;
    bench.ok(Command::Cancel { run, kill: false }).end(0, AttemptEnd::Cancelled);
    assert_eq!((live(&bench), bench.state("a").backfill), (Vec::new(), None));
}

#[test]
fn a_backfill_ends_with_its_agent_and_when_the_circuit_opens() {
    let broken =
        agent("a", Schedule::Manual, |a| a.circuit = CircuitSpec { open_after: 2, cooldown: secs(60) });
    let mut bench = Bench::new(&[broken]);
    bench.ok(past(&[-240, -180, -120, -60], None)).fail(ErrorKind::ExitStatus).fail(ErrorKind::ExitStatus);
    assert_eq!((live(&bench), bench.state("a").backfill), (Vec::new(), None));
    let mut bench = Bench::new(&[plain("a", Schedule::Manual)]);
    bench.ok(past(&[-120, -60], None)).reload(&[plain("b", Schedule::Manual)]).complete();
    assert!(bench.backfills.is_empty());
}

#[test]
fn money_ends_a_backfill_before_its_bound() {
    let spec = thinker("a", |a| {
        a.schedule = Schedule::Manual;
        Arc::make_mut(&mut a.limits).max_usd_per_run = Some(0.4);
    });
    let mut bench = Bench::new(std::slice::from_ref(&spec));
    let refused = bench.command(past(&[-60], Some(1.0))).unwrap_err();
    assert!(refused.to_string().contains("has no `price`"), "{refused}");
    let mut priced = (*fleet(&[spec], 64)).clone();
    priced.models.insert("m".into(), model_with_price());
    let mut bench = Bench::with_fleet(Arc::new(priced));
    bench.ok(past(&[-240, -180, -120, -60], Some(1.0)));
    for _ in 0..2 {
        let mut outcome = AttemptOutcome::of(AttemptEnd::Completed);
        outcome.usage.usd = 0.35;
        bench.begin(0).end_with(0, outcome);
    }
    // 0.7 are used, and the next may take 0.4
    assert_eq!((live(&bench), bench.state("a").backfill), (Vec::new(), None));
}

#[test]
fn past_slots_are_those_of_the_calendar_also_before_the_agent_was_there() {
    let hours = jiff::civil::time(0, 0, 0, 0);
    let mut bench = Bench::new(&[
        plain("a", every(60)),
        plain("b", Schedule::Manual),
        agent("c", every(3600), |c| {
            let zone = jiff::tz::TimeZone::UTC;
            let hours = Some(Hours { from: hours, until: jiff::civil::time(12, 0, 0, 0) });
            c.active_times =
                Some(Arc::new(ActiveTimes { except: Vec::new(), only: Vec::new(), hours, zone }));
        }),
    ]);
    bench.wait(150);
    let slots = |bench: &Bench, name: &str, from: i64, to: i64| {
        let found = bench.engine.past_slots(&id(name), (t(from), t(to)), bench.now);
        found.map(|slots| slots.into_iter().map(|slot| bench.rel(slot)).collect::<Vec<_>>())
    };
    assert_eq!(slots(&bench, "a", -130, 600).unwrap(), ["-120", "-60", "0", "60", "120"]);
    assert_eq!(slots(&bench, "a", 60, 60).unwrap(), ["60"]);
    assert!(slots(&bench, "b", -100, 100).unwrap_err().to_string().contains("no past slots"));
    assert!(slots(&bench, "a", -60 * 6000, 0).unwrap_err().to_string().contains("more than 5000 slots"));
    let of_a_day = slots(&bench, "c", -86_400, -1).unwrap();
    assert!((11..=13).contains(&of_a_day.len()), "half of them are left out: {of_a_day:?}");
}
