//! Problems of the daemon itself: one incident each, over crashes and configurations, told to whoever waits for it.
use super::*;

fn noticed(bench: &mut Bench, level: Level, title: &str) -> Vec<String> {
    let key = IncidentRecord::REDIS.into();
    let finding = Finding { key, level, title: title.into(), hold_for: secs(0), by: FoundBy::Check };
    bench.input(Input::Noticed(finding)).said()
}

#[test]
fn a_problem_of_the_daemon_is_one_incident_until_it_is_over() {
    let on = Schedule::On(EventTrigger { event: EventType::IncidentOpened, agent: None, untrusted: false });
    // an agent of the daemon's name has incidents of its own
    let mut bench = Bench::new(&[plain("bgagent", every(60)), plain("looks", on)]);
    bench.begin(0).quietly();
    assert_eq!(noticed(&mut bench, Level::Ok, ""), Vec::<String>::new());
    let opened = noticed(&mut bench, Level::Warn, "late");
    assert_eq!(opened[..2], ["bgagent incident warning", "looks claimed: event"]);
    assert_eq!(noticed(&mut bench, Level::Crit, "stopped"), Vec::<String>::new());
    bench.crash(5).quietly();
    let key = (id("bgagent"), IncidentRecord::REDIS.to_owned());
    let known = bench.incidents[&key].clone();
    assert_eq!((known.count, known.severity, known.title.as_str()), (2, Severity::Critical, "stopped"));
    bench.reload(&[plain("looks", every(60))]).quietly();
    let ack = |agent| Input::Command {
        ticket: Ticket(1),
        command: Command::Ack { agent, key: IncidentRecord::REDIS.into() },
    };
    bench.input(ack(None)).quietly();
    assert!(bench.incidents[&key].acked_at.is_some());
    assert_eq!(noticed(&mut bench, Level::Ok, ""), ["bgagent incident over"]);
    assert!(bench.incidents.is_empty());
    bench.input(ack(Some(id("bgagent"))));
    assert!(bench.said().iter().all(|line| !line.contains("incident")));
}

#[test]
fn a_source_that_nobody_waits_for_has_no_problem() {
    let trigger =
        FileTrigger { pattern: "inbox/*".into(), folder: "/inbox".into(), name: "*".into(), settle: secs(5) };
    let mut bench = Bench::new(&[plain("in", Schedule::File(Arc::new(trigger)))]);
    let finding = |of: &str| Finding {
        key: format!("{}{of}", IncidentRecord::SOURCE),
        level: Level::Warn,
        title: "nothing can start it".into(),
        hold_for: secs(0),
        by: FoundBy::Check,
    };
    bench.quietly();
    bench.input(Input::Noticed(finding("in"))).expect(&["bgagent incident warning"]);
    bench.crash(1).quietly();
    assert_eq!(bench.incidents.len(), 1, "it lasts over a restart");
    bench.reload(&[plain("in", every(3600))]);
    assert!(bench.said().contains(&"bgagent incident over".to_owned()));
    // by now nobody of that name waits for anything
    bench.input(Input::Noticed(finding("in"))).quietly();
    bench.input(Input::Noticed(finding("nobody"))).quietly();
    assert!(bench.incidents.is_empty(), "{:?}", bench.incidents);
}
