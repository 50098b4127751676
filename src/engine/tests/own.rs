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

fn notifying(name: &str, schedule: Schedule, to: &[&str], on: &[TellOn]) -> AgentSpec {
    agent(name, schedule, |spec| {
        let to = to.iter().map(|to| (*to).to_owned()).collect();
        spec.notify = Some(Arc::new(NotifySpec { to, on: on.to_vec(), repeat: secs(600) }));
    })
}

/// A fleet that takes webhooks and has the target `ops`.
fn known_to_all(agents: &[AgentSpec]) -> Bench {
    let mut known = fleet(agents, 64);
    let changed = Arc::get_mut(&mut known).unwrap();
    changed.daemon.webhooks = Some("127.0.0.1:9470".parse().unwrap());
    let target = NotifyTarget { kind: NotifyTargetKind::Desktop, per_minute: None, quiet: None };
    changed.notify.insert("ops".into(), target);
    Bench::with_fleet(known)
}

/// What people are told when this is found.
fn told(bench: &mut Bench, key: &str, level: Level) -> Vec<String> {
    bench.quietly();
    let finding =
        Finding { key: key.into(), level, title: "away".into(), hold_for: secs(0), by: FoundBy::Check };
    bench.input(Input::Noticed(finding));
    bench.said().into_iter().filter(|line| line.starts_with("tell")).collect()
}

#[test]
fn a_dead_source_is_told_to_those_who_hear_of_its_agent() {
    let trigger =
        FileTrigger { pattern: "inbox/*".into(), folder: "/inbox".into(), name: "*".into(), settle: secs(5) };
    let files = Schedule::File(Arc::new(trigger));
    let hook =
        |name: &str| notifying(name, Schedule::Webhook("deploy".into()), &["ops", "desk"], TellOn::USUAL);
    let mut bench = known_to_all(&[
        notifying("in", files.clone(), &["ops"], TellOn::USUAL),
        notifying("calm", files, &["ops"], &[TellOn::Failed]),
        notifying("other", every(3600), &["boss"], TellOn::USUAL),
        hook("deploys"),
        hook("also"),
    ]);
    let source = |agent: &str| format!("{}{agent}", IncidentRecord::SOURCE);
    assert_eq!(told(&mut bench, &source("in"), Level::Warn), ["tell ops incident_opened"]);
    assert_eq!(told(&mut bench, &source("in"), Level::Warn), [""; 0], "once");
    bench.crash(1);
    assert_eq!(told(&mut bench, &source("in"), Level::Ok), ["tell ops incident_resolved"]);
    assert_eq!(told(&mut bench, &source("calm"), Level::Warn), [""; 0], "it asks for failures alone");
    assert_eq!(told(&mut bench, &source("calm"), Level::Ok), [""; 0]);
    let both = ["tell desk incident_opened", "tell ops incident_opened"];
    assert_eq!(told(&mut bench, IncidentRecord::WEBHOOKS, Level::Crit), both, "each target once");
}

#[test]
fn a_target_that_takes_nothing_is_told_through_the_others() {
    let agents = [
        notifying("a", every(3600), &["ops", "desk"], TellOn::USUAL),
        notifying("b", every(3600), &["boss"], TellOn::USUAL),
    ];
    let mut bench = known_to_all(&agents);
    let key = format!("{}ops", IncidentRecord::NOTIFY);
    assert_eq!(told(&mut bench, &key, Level::Warn), ["tell desk incident_opened"]);
    assert_eq!(told(&mut bench, &key, Level::Ok), ["tell desk incident_resolved"]);
}
