//! Runs with parameters.
use super::*;
use jiff::tz::TimeZone;
use serde_json::json;

fn with_params(spec: &mut AgentSpec) {
    let param = |kind, default| ParamSpec { kind, default };
    let all = [
        ("day".to_owned(), param(ParamType::Date, Some(ParamDefault::Slot))),
        ("n".to_owned(), param(ParamType::Int, Some(ParamDefault::Value(json!(1))))),
    ];
    spec.params = Some(Arc::new(ParamsSpec { all: all.into(), zone: TimeZone::UTC }));
}

fn run(params: &[(&str, serde_json::Value)]) -> Command {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Command::Run { agent: id("a"), query: None, params, mode: RunMode::Normal }
}

fn params_of(bench: &Bench) -> String {
    let [live] = &bench.state("a").live[..] else { panic!("one run") };
    params_in_words(live.params.as_deref().expect("it has parameters"))
}

#[test]
fn a_run_has_what_was_given_and_defaults_for_the_rest_also_after_a_crash_and_a_retry() {
    let mut bench = Bench::new(&[agent("a", Schedule::Manual, |spec| {
        with_params(spec);
        spec.retry = RetrySpec { max: 1, explicit: true, ..spec.retry };
    })]);
    let today = bench.now.wall.to_zoned(TimeZone::UTC).date();
    bench.ok(run(&[("n", json!("3"))])).begin(0);
    assert_eq!(params_of(&bench), format!("day={today} n=3"));
    bench.crash(100_000).wait(100).begin(0);
    assert_eq!(params_of(&bench), format!("day={today} n=3"), "not the day of the retry");
    bench.end(0, AttemptEnd::Completed).ok(run(&[("day", json!("2026-11-01"))]));
    assert_eq!(params_of(&bench), "day=2026-11-01 n=1");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_claimed() {
    let mut bench = Bench::new(&[agent("a", Schedule::Manual, with_params)]);
    for (given, says) in [
        (
            ("day", json!("tomorrow")),
            "the parameter `day` can't be `tomorrow`: it is a date such as 2026-11-01",
        ),
        (("m", json!(1)), "there is no parameter `m`"),
    ] {
        let refused = bench.command(run(&[given])).unwrap_err();
        assert!(matches!(&refused, Refusal::Params(why) if why.contains(says)), "{refused}");
    }
    bench.expect(&[]);
    let mut bench = Bench::new(&[plain("a", Schedule::Manual)]);
    let refused = bench.command(run(&[("day", json!("2026-11-01"))])).unwrap_err();
    assert_eq!(refused.to_string(), "agent `a` has no parameters, and so no `day`");
    bench.ok(run(&[]));
}

#[test]
fn a_run_of_a_slot_has_the_day_of_its_slot() {
    let mut bench = Bench::new(&[agent("a", every(86_400), |spec| {
        with_params(spec);
        spec.first_run = FirstRun::AfterInterval;
    })]);
    let slot = t(86_400);
    bench.wait(86_400);
    assert_eq!(params_of(&bench), format!("day={} n=1", slot.to_zoned(TimeZone::UTC).date()));
}
