//! What agents report, beside what checks find: after data from outside a report starts nobody who does not want it, and
//! touches nothing that a check has found.
use super::*;

/// `a`, and two that wait for incidents: `shy`, and `bold`, which wants those of reports from outside as well.
fn bench() -> Bench {
    let on = |event, untrusted| Schedule::On(EventTrigger { event, agent: None, untrusted });
    let mut bold = plain("bold", on(EventType::IncidentOpened, true));
    bold.overlap = Overlap::Parallel;
    let mut a = plain("a", every(60));
    a.notify =
        Some(Arc::new(NotifySpec { to: vec!["ops".into()], on: TellOn::ALL.to_vec(), repeat: secs(21_600) }));
    let mut bench = Bench::new(&[a, bold, plain("shy", on(EventType::IncidentOpened, false))]);
    bench.begin(0).quietly();
    bench
}

impl Bench {
    /// The run of `a` says so.
    fn report(&mut self, key: &str, level: Level, by: FoundBy) -> Vec<String> {
        let run = self.open.iter().find(|run| run.agent.as_str() == "a").expect("a run of a").run;
        let finding =
            Finding { key: key.into(), level, title: format!("{key} is {level}"), hold_for: secs(0), by };
        self.input(Input::Found { run, findings: vec![finding], ticket: Ticket(7) });
        let said = self.said();
        said.into_iter().filter(|line| !line.contains(" start ") && !line.starts_with("tell ")).collect()
    }
}

#[test]
fn a_report_from_outside_starts_only_who_wants_it() {
    let mut bench = bench();
    assert_eq!(
        bench.report("x", Level::Crit, FoundBy::UntrustedReport),
        ["a incident critical", "bold claimed: event", "shy event passed: dropped"]
    );
    assert_eq!(
        bench.report("y", Level::Crit, FoundBy::Report),
        ["a incident critical", "bold claimed: event", "shy claimed: event"]
    );
    let (_, told) = &bench.messages[0];
    assert!(told.ends_with("; reported by a run that had read data from outside"), "{told}");
    assert!(!bench.messages[1].1.contains("outside"), "{:?}", bench.messages[1]);
    let of = |key: &str| bench.incidents[&(id("a"), key.to_owned())].clone();
    assert_eq!((of("x").by, of("y").by), (FoundBy::UntrustedReport, FoundBy::Report));
    assert!(of("x").run.is_some() && of("x").run == of("y").run);
}

#[test]
fn why_a_report_started_nobody_is_told_with_what_would_let_it() {
    let mut bench = bench();
    bench.report("x", Level::Crit, FoundBy::UntrustedReport);
    let passed = bench.passed.pop().expect("an event that started nobody");
    assert!(passed.contains("untrusted = true") && passed.contains("incident_opened"), "{passed}");
}

#[test]
fn a_report_from_outside_does_not_touch_what_a_check_has_found() {
    let mut bench = bench();
    bench.report("disk", Level::Warn, FoundBy::Check);
    let before = bench.incidents[&(id("a"), "disk".to_owned())].clone();
    for level in [Level::Ok, Level::Crit, Level::Warn] {
        assert_eq!(bench.report("disk", level, FoundBy::UntrustedReport), [""; 0], "{level}");
        assert_eq!(bench.incidents[&(id("a"), "disk".to_owned())], before, "{level}");
    }
    // what it opened it may end, and an agent that had read nothing from outside may end both
    bench.report("own", Level::Warn, FoundBy::UntrustedReport);
    assert_eq!(bench.report("own", Level::Ok, FoundBy::UntrustedReport), ["a incident over"]);
    assert_eq!(bench.report("disk", Level::Ok, FoundBy::Report), ["a incident over"]);
    assert!(bench.incidents.is_empty());
}

#[test]
fn a_clean_incident_that_a_report_from_outside_changed_is_marked() {
    let mut bench = bench();
    bench.report("x", Level::Warn, FoundBy::Report);
    bench.report("x", Level::Crit, FoundBy::UntrustedReport);
    assert_eq!(bench.incidents[&(id("a"), "x".to_owned())].by, FoundBy::UntrustedReport);
}

#[test]
fn a_problem_that_a_check_finds_is_news_although_it_was_reported() {
    let mut bench = bench();
    bench.report("disk", Level::Warn, FoundBy::UntrustedReport);
    let said = bench.report("disk", Level::Crit, FoundBy::Check);
    assert_eq!(said[..2], ["a incident over", "a incident critical"], "{said:?}");
    assert!(said.contains(&"shy claimed: event".to_owned()), "{said:?}");
    assert_eq!(bench.incidents[&(id("a"), "disk".to_owned())].by, FoundBy::Check);
}

#[test]
fn the_incident_of_an_agent_that_fails_is_no_business_of_its_model() {
    let mut bench = bench();
    bench.end(0, AttemptEnd::Failed(RunError::new(ErrorKind::Tool, "broken"))).quietly();
    bench.wait(60);
    bench.begin(0).quietly();
    assert_eq!(bench.report("agent:a", Level::Ok, FoundBy::UntrustedReport), [""; 0]);
    assert_eq!(bench.incidents.len(), 1);
}
