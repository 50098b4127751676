//! What is measured of the fleet.
use super::*;

#[test]
fn what_is_measured_is_what_happened() {
    let never = Schedule::Manual;
    let mut bench = Bench::new(&[plain("a", every(60)), plain("b", every(90)), plain("c", never)]);
    bench.begin(0).quietly();
    let gauges = bench.engine.gauges(bench.now.wall);
    assert_eq!((gauges.agents.len(), gauges.fleet.running, gauges.approvals), (3, 2, 0));
    let of = |name: &str| gauges.agents.iter().find(|one| one.agent.as_str() == name).expect("it is there");
    assert_eq!(
        (of("a").next_start, of("b").next_start, of("c").next_start),
        (Some(t(60)), Some(t(90)), None)
    );
    assert!(gauges.agents.iter().all(|one| one.last_success.is_none() && one.failures_in_row == 0));
    assert!(gauges.incidents.is_empty());
    let title = "late".into();
    let key = IncidentRecord::REDIS.into();
    let finding = Finding { key, level: Level::Warn, title, hold_for: secs(0), by: FoundBy::Check };
    bench.input(Input::Noticed(finding));
    assert_eq!(bench.engine.gauges(bench.now.wall).incidents, BTreeMap::from([(Severity::Warning, 1)]));
}

#[test]
fn measuring_ten_thousand_agents_holds_the_loop_up_for_a_moment() {
    let specs: Vec<AgentSpec> = (0..10_000).map(|n| plain(&format!("a{n:05}"), every(3600))).collect();
    let bench = Bench::with_fleet(fleet(&specs, 64));
    let before = crate::testing::worked();
    let gauges = bench.engine.gauges(bench.now.wall);
    let took = crate::testing::worked() - before;
    assert_eq!(gauges.agents.len(), 10_000);
    // 50 ms for what is built for use; this is not
    assert!(took.as_millis() < 500, "{took:?}");
}
