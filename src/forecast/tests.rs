//! Properties that every forecast has, and the results of some.
use super::draw::days_of;
use super::*;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

const FROM: &str = "2026-11-30T12:00:00Z";

fn from() -> Timestamp {
    FROM.parse().unwrap()
}

fn until(days: i64) -> Timestamp {
    from() + jiff::SignedDuration::from_hours(24 * days)
}

/// Returns an agent with this many due times per day, and runs of these costs.
fn agent(days: i64, due_a_day: u64, costs: &[f64]) -> AgentBasis {
    let ends = days_of(from(), until(days), &TimeZone::UTC);
    let mut begin = from();
    let due = ends
        .iter()
        .map(|end| {
            let part = end.duration_since(begin).as_secs_f64() / 86_400.0;
            begin = *end;
            (due_a_day as f64 * part).round() as u64
        })
        .collect();
    AgentBasis {
        agent: "a".into(),
        due,
        runs: costs.iter().map(|usd| PastRun { usd: *usd, tokens: usd * 1e5 }).collect(),
        due_before: costs.len() as u64,
        runs_when_due: costs.len() as u64,
        runs_besides: 0,
        by_events: false,
        days_before: costs.len() as f64 / due_a_day.max(1) as f64,
        per_run: PerRun { usd: Some(1.0), tokens: Some(1e6) },
        has_price: true,
        ..AgentBasis::default()
    }
}

fn of(agents: &[AgentBasis], limits: &[SpendingLimit], days: i64) -> FleetForecast {
    forecast(agents, limits, (from(), until(days)), &TimeZone::UTC)
}

fn limit(agent: Option<usize>, span: LimitSpan, allowed: f64, used: f64) -> SpendingLimit {
    SpendingLimit { agent, key: "usd_per_day", of_tokens: false, span, allowed, used }
}

#[test]
fn a_steady_agent_costs_what_it_costs() {
    let steady = agent(30, 10, &[0.01; 200]);
    let found = of(&[steady], &[], 30);
    let usd = found.agents[0].usd.unwrap();
    assert!((usd.p50 - 3.0).abs() < 1e-6 && (usd.p95 - 3.0).abs() < 1e-6, "{usd:?}");
    assert_eq!(usd.worst, Some(300.0));
    assert_eq!(
        (found.agents[0].basis, found.agents[0].due, found.agents[0].runs),
        (Basis::History, 300, 300.0)
    );
    assert_eq!(found.usd, usd);
}

#[test]
fn a_gate_that_is_closed_most_of_the_time_is_counted_with() {
    let costs = [0.02; 40];
    let gated = AgentBasis { due_before: 400, ..agent(30, 40, &costs) };
    let usd = of(&[gated], &[], 30).agents[0].usd.unwrap();
    // 1200 due times, a tenth of which lead to a run
    assert!((usd.p50 - 2.4).abs() < 0.4 && usd.p95 > usd.p50 && usd.p95 < 4.0, "{usd:?}");
}

#[test]
fn without_history_the_limits_count() {
    let costs = [0.01; MIN_HISTORY_RUNS - 1];
    let found = of(&[agent(10, 2, &costs)], &[], 10);
    let usd = found.agents[0].usd.unwrap();
    assert_eq!((found.agents[0].basis, usd.p50, usd.p95, usd.worst), (Basis::Limits, 20.0, 20.0, Some(20.0)));
    let unpriced = AgentBasis { has_price: false, ..agent(10, 2, &[]) };
    let found = of(&[unpriced], &[], 10);
    assert_eq!((found.agents[0].usd, found.usd.p95, found.agents[0].tokens.p95), (None, 0.0, 2e7));
    let empty = of(&[], &[], 10);
    assert_eq!(
        (empty.usd, empty.agents.len()),
        (SpendRange { worst: Some(0.0), ..SpendRange::default() }, 0)
    );
    let bounded = AgentBasis { per_day: PerRun { usd: Some(0.5), tokens: None }, ..agent(10, 2, &[]) };
    let by_day = of(&[bounded], &[], 10).agents[0].usd.unwrap();
    assert_eq!(by_day.worst, Some(5.5), "11 days of the calendar");
}

#[test]
fn runs_that_nothing_is_due_for_come_at_their_rate() {
    let events = AgentBasis {
        due_before: 0,
        runs_when_due: 0,
        runs_besides: 60,
        days_before: 30.0,
        ..agent(30, 0, &[0.05; 60])
    };
    let found = of(&[events], &[], 30);
    let usd = found.agents[0].usd.unwrap();
    assert!((usd.p50 - 3.0).abs() < 0.4 && usd.p95 > 3.2 && usd.p95 < 4.5, "{usd:?}");
    assert_eq!(found.agents[0].due, 0);
}

#[test]
fn a_short_history_is_wider_than_a_long_one() {
    let costs =
        |many: usize| -> Vec<f64> { (0..many).map(|n| if n % 5 == 0 { 0.4 } else { 0.05 }).collect() };
    let width = |many: usize| {
        let usd = of(&[agent(30, 10, &costs(many))], &[], 30).agents[0].usd.unwrap();
        usd.p95 - usd.p50
    };
    assert!(width(10) > 1.5 * width(200), "{} {}", width(10), width(200));
}

#[test]
fn limits_say_when_they_are_hit() {
    let agents = [agent(30, 10, &[0.1; 100]), agent(30, 10, &[0.1; 100])];
    let limits = [
        limit(None, LimitSpan::Month, 10.0, 0.0),
        limit(None, LimitSpan::Day, 5.0, 0.0),
        limit(Some(0), LimitSpan::Day, 0.5, 0.0),
        limit(Some(1), LimitSpan::Day, 2.0, 1.9),
        limit(None, LimitSpan::Month, 1e9, 0.0),
    ];
    let found = of(&agents, &limits, 30);
    let day = |text: &str| Some(text.parse().unwrap());
    let month = &found.limits[0];
    // two dollars a day, from the first of December on
    assert_eq!((month.chance, month.likely_on, month.worst_on), (1.0, day("2026-12-06"), day("2026-12-01")));
    assert_eq!(
        (found.limits[1].chance, found.limits[1].likely_on, found.limits[1].worst_on),
        (0.0, None, day("2026-11-30"))
    );
    assert_eq!((found.limits[2].likely_on, found.limits[2].worst_on), (day("2026-12-01"), day("2026-11-30")));
    assert_eq!(found.limits[3].likely_on, day("2026-11-30"), "what is used today counts");
    assert_eq!((found.limits[4].chance, found.limits[4].worst_on), (0.0, None));
}

#[test]
fn the_same_history_has_the_same_forecast() {
    let agents = [agent(30, 5, &[0.01, 0.2, 0.05, 0.4, 0.01, 0.02])];
    assert_eq!(of(&agents, &[], 30), of(&agents, &[], 30));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn more_is_never_less(
        costs in proptest::collection::vec(0.0_f64..2.0, 0..60),
        due in 0_u64..40,
        seen in 0_u64..200,
        besides in 0_u64..20,
        per_day in proptest::option::of(0.0_f64..20.0),
        days in 1_i64..40,
    ) {
        let base = agent(days, due, &costs);
        let one = AgentBasis {
            due_before: seen.max(base.runs_when_due),
            runs_besides: besides,
            days_before: base.days_before.max(1.0),
            per_day: PerRun { usd: per_day, tokens: None },
            ..base
        };
        let found = of(&[one.clone(), agent(days, due, &costs)], &[], days);
        for range in found.agents.iter().flat_map(|agent| [agent.usd.unwrap(), agent.tokens]).chain([found.usd, found.tokens]) {
            prop_assert!(range.p50 >= 0.0 && range.p50 <= range.p95, "{range:?}");
            prop_assert!(range.worst.is_some_and(|worst| range.p95 <= worst * (1.0 + 1e-9)), "{range:?}");
        }
        // a sum of percentiles is not a percentile of the sum, but the worst case is additive
        let worst: f64 = found.agents.iter().filter_map(|agent| agent.usd.unwrap().worst).sum();
        prop_assert!((found.usd.worst.unwrap() - worst).abs() <= 1e-6 * worst.max(1.0));
    }

    #[test]
    fn a_longer_period_costs_more_in_its_measure(
        costs in proptest::collection::vec(0.01_f64..0.5, 30..80), due in 4_u64..30, days in 4_i64..12,
    ) {
        let p50 = |days: i64| of(&[agent(days, due, &costs)], &[], days).agents[0].usd.unwrap().p50;
        let (short, long) = (p50(days), p50(4 * days));
        prop_assert!(long > 3.3 * short && long < 4.7 * short, "{short} {long}");
    }
}
