//! Tests of the keys: each row of their table.
use super::fleet::{self, run_id};
use super::*;
use crate::domain::AgentId;
use crate::top::asks::Act;
use crate::top::model::{Connected, Overlay, TopPage, TopView};
use serde_json::json;

fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn acts(play: &Screenplay) -> Vec<Act> {
    let acts = play.effects.iter().filter_map(|effect| match effect {
        TopEffect::Act(act) => Some(act.clone()),
        _ => None,
    });
    acts.collect()
}

/// On this agent, these keys ask for this; and then `y` does it.
#[track_caller]
fn check_act(to: &RowKey, keys: &str, question: &str, act: Act) {
    let mut play = Screenplay::usual(80, 24);
    play.to(to).keys(keys);
    let shown = play.shown();
    assert!(shown.contains(question), "{question:?} is not in\n{shown}");
    assert_eq!(acts(&play), [], "nothing is done unasked");
    play.keys("y");
    assert_eq!(acts(&play), [act]);
    assert_eq!(play.model.question, None);
}

#[test]
fn each_capital_asks_and_only_y_does_it() {
    let of = |name: &str| RowKey::Agent(agent(name));
    check_act(&of("log-rotate"), "R", "Run log-rotate now?", Act::Run(agent("log-rotate")));
    check_act(
        &of("log-rotate"),
        "P\n",
        "Pause log-rotate until somebody",
        Act::Pause(agent("log-rotate"), None),
    );
    check_act(&of("backup"), "P2h\n", "Pause backup for 2h?", Act::Pause(agent("backup"), Some(7_200_000)));
    check_act(&of("weekly-report"), "U", "Resume weekly-report?", Act::Resume(agent("weekly-report")));
    check_act(&of("old-importer"), "U", "Start old-importer?", Act::Start(agent("old-importer")));
    check_act(
        &of("invoice-sync"),
        "U",
        "Close the circuit of invoice-sync?",
        Act::Start(agent("invoice-sync")),
    );
    check_act(
        &of("thumbnails"),
        "S",
        "Stop thumbnails? Its run is cancelled.",
        Act::Stop(agent("thumbnails")),
    );
    check_act(
        &of("backup"),
        "K",
        "Skip the next slot of Sat 22:50:00 of backup?",
        Act::Skip(agent("backup")),
    );
    let run = run_id(5).parse().unwrap();
    check_act(
        &RowKey::Run(run),
        "X",
        "Cancel run 00000005 of thumbnails?",
        Act::Cancel(agent("thumbnails"), run),
    );
    let approval = RowKey::Approval("0637e0e0-8-0".into());
    check_act(
        &approval,
        "A",
        "Approve mailbox reply of mail-triage: thread=4",
        Act::Approve("0637e0e0-8-0".into()),
    );
    let deny = Act::Deny("0637e0e0-8-0".into(), "no mail".into());
    check_act(&approval, "Dno mail\n", "Deny mailbox reply of mail-triage", deny);
    let incident = RowKey::Incident(agent("shop-watch"), "db".into());
    let noted = Act::Acknowledge(agent("shop-watch"), "db".into());
    check_act(&incident, "C", "Acknowledge db of shop-watch?", noted);
}

#[test]
fn every_other_key_is_a_no() {
    for key in [
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Char('Y'),
        KeyCode::Char(' '),
        KeyCode::Char('R'),
        KeyCode::Down,
    ] {
        let mut play = Screenplay::usual(80, 24);
        play.at_agent("log-rotate").keys("R").wait(1000).key(key);
        assert_eq!(acts(&play), [], "{key:?}");
        assert_eq!(play.model.question, None, "{key:?}");
        assert!(play.shown().contains("nothing was done"), "{key:?}");
    }
}

#[test]
fn a_key_that_was_meant_for_something_else_answers_nothing() {
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("log-rotate").keys("R");
    play.wait(299).key(KeyCode::Char('y'));
    assert_eq!(acts(&play), []);
    assert!(play.model.question.is_some(), "it is still asked");
    let held = KeyEvent::new_with_kind(
        KeyCode::Char('y'),
        KeyModifiers::NONE,
        ratatui::crossterm::event::KeyEventKind::Repeat,
    );
    play.wait(1000).input(TopInput::Key(held));
    assert_eq!(acts(&play), []);
    play.wait(1).key(KeyCode::Char('y'));
    assert_eq!(acts(&play), [Act::Run(agent("log-rotate"))]);
}

#[test]
fn a_question_dies_with_what_it_is_about() {
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("thumbnails").keys("S");
    let ended = fleet::agent("thumbnails", json!({"runs_in_flight": []}));
    play.answer(TopRequest::Agents(vec![agent("thumbnails")]), TopAnswer::Agents(vec![ended]));
    assert_eq!(play.model.question, None);
    assert!(play.shown().contains("has changed meanwhile"), "{}", play.shown());
    play.keys("y");
    assert_eq!(acts(&play), []);
    // what others do does not matter
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("thumbnails").keys("S");
    play.answer(
        TopRequest::Agents(vec![agent("backup")]),
        TopAnswer::Agents(vec![fleet::agent("backup", json!({"state": "paused"}))]),
    );
    assert!(play.model.question.is_some());
    // nor can anything be done while nobody is there to do it
    play.input(TopInput::Heard(super::super::asks::TopNotice::Gone));
    assert_eq!(play.model.question, None);
    play.keys("R");
    assert_eq!(play.model.question, None);
    assert!(play.shown().contains("the daemon is away"), "{}", play.shown());
    assert!(matches!(play.model.connected, Connected::Away(_)));
}

/// A fleet of which one call waits, with a text of so many letters.
fn waits(size: (u16, u16), letters: usize) -> Screenplay {
    let mut play = Screenplay::usual(size.0, size.1);
    let call = fleet::of(json!({"id": "a-1-0", "agent_id": "mail-triage", "run_id": run_id(7),
        "requested_at": "2026-11-28T22:40:40Z", "tool": "shell", "args": {"command": format!("touch {}END", "x".repeat(letters))}}));
    play.answer(TopRequest::Approvals, TopAnswer::Approvals(vec![call]));
    play
}

#[test]
fn a_call_is_shown_whole_or_not_decided_here() {
    for letters in [10, 100, 1000] {
        let mut play = waits((80, 24), letters);
        play.to(&RowKey::Approval("a-1-0".into())).keys("A");
        let shown = play.shown();
        let text: String = shown.split_whitespace().collect();
        assert!(text.contains("Approveshellofmail-triage:command=touch"), "{shown}");
        let asked = text.split("Approveshell").nth(1).unwrap_or_default();
        assert_eq!(asked.matches('x').count(), letters, "{shown}");
        assert!(text.ends_with("END?y/N"), "{shown}");
        play.keys("y");
        assert_eq!(acts(&play), [Act::Approve("a-1-0".into())]);
    }
    // one that is longer than the screen is decided elsewhere
    let mut play = waits((80, 24), 2000);
    play.to(&RowKey::Approval("a-1-0".into())).keys("A");
    assert_eq!(play.model.question, None);
    assert!(play.shown().contains("this call has no room on the screen"), "{}", play.shown());
    play.keys("y");
    assert_eq!(acts(&play), []);
    // it can still be denied
    play.keys("D\ny");
    assert_eq!(acts(&play), [Act::Deny("a-1-0".into(), String::new())]);
    // and a window that has become too small is none to decide in
    let mut play = waits((80, 24), 1000);
    play.to(&RowKey::Approval("a-1-0".into())).keys("A");
    play.input(TopInput::Resized(40, 12)).keys("y");
    assert_eq!(acts(&play), []);
}

#[test]
fn where_no_question_has_room_nothing_is_done() {
    for size in [(80, 9), (22, 24), (10, 3)] {
        let mut play = Screenplay::usual(80, 24);
        play.at_agent("log-rotate");
        play.input(TopInput::Resized(size.0, size.1)).keys("Ry");
        assert_eq!((acts(&play), &play.model.question), (Vec::new(), &None), "{size:?}");
        // also where it was asked before
        let mut play = Screenplay::usual(80, 24);
        play.at_agent("log-rotate").keys("R").input(TopInput::Resized(size.0, size.1)).keys("y");
        assert_eq!(acts(&play), [], "{size:?}");
    }
}

#[test]
fn what_makes_no_sense_is_said_and_not_asked() {
    for (name, key, why) in [
        ("weekly-report", "P", "weekly-report is paused already"),
        ("old-importer", "S", "old-importer is stopped already"),
        ("old-importer", "K", "old-importer has no coming slot"),
        ("log-rotate", "U", "neither paused nor stopped"),
        ("log-rotate", "X", "run 00000001 has ended"),
        ("log-rotate", "A", "no call that waits is selected"),
        ("log-rotate", "C", "log-rotate has no incident of its own"),
    ] {
        let mut play = Screenplay::usual(100, 24);
        play.at_agent(name).keys(key);
        assert_eq!(play.model.question, None, "{name} {key}");
        assert!(play.shown().contains(why), "{name} {key}: {}", play.shown());
    }
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("log-rotate").keys("Psoon\n");
    assert!(play.shown().contains("`soon` is not a duration"), "{}", play.shown());
}

#[test]
fn read_only_takes_no_capital() {
    for key in "RPUSKXADC".chars() {
        let mut play = Screenplay::usual(80, 24);
        play.model.read_only = true;
        play.at_agent("thumbnails").keys(&key.to_string());
        assert_eq!((&play.model.question, &play.model.prompt), (&None, &None), "{key}");
        assert!(play.shown().contains("read-only"), "{key}");
        play.keys("?");
        assert!(!play.shown().contains("ONLY y DOES IT"), "{}", play.shown());
    }
}

#[test]
fn a_run_says_what_it_may_cost() {
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("code-review").keys("R");
    assert!(play.asks().contains(&&TopRequest::Detail(agent("code-review"))), "{:?}", play.effects);
    let detail = json!({"agent_id": "code-review", "settings": {"max_usd_per_run": "$0.25"}});
    play.answer(
        TopRequest::Detail(agent("code-review")),
        TopAnswer::Detail(Box::new(screens::detail("code-review", detail))),
    );
    assert!(play.shown().contains("Run code-review now? It costs at most $0.25."), "{}", play.shown());
}

#[test]
fn from_a_red_line_to_its_cause_are_two_keys() {
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("invoice-sync").keys("\n");
    assert_eq!(play.model.places, [TopPage::Agent(agent("invoice-sync"))]);
    assert!(play.asks().contains(&&TopRequest::Detail(agent("invoice-sync"))), "{:?}", play.effects);
    play.keys("\n");
    let run = run_id(3).parse().unwrap();
    assert_eq!(play.model.places[1], TopPage::Run(agent("invoice-sync"), run, false));
    assert!(play.asks().contains(&&TopRequest::Run(run)), "{:?}", play.effects);
    play.keys("l");
    assert_eq!(play.model.places[1], TopPage::Run(agent("invoice-sync"), run, true));
    assert!(play.asks().contains(&&TopRequest::Output(run, 0)), "{:?}", play.effects);
    play.keys("\u{1b}\u{1b}");
    assert_eq!(play.model.places, []);
    assert_eq!(
        play.model.list().current(),
        Some(&RowKey::Agent(agent("invoice-sync"))),
        "the cursor is where it was"
    );
}

#[test]
fn digits_and_tab_go_through_the_views() {
    let mut play = Screenplay::usual(80, 24);
    for (digit, view) in "12345678".chars().zip(TopView::ALL) {
        play.keys(&digit.to_string());
        assert_eq!(play.model.view, view);
    }
    play.wait(1).key(KeyCode::Tab);
    assert_eq!(play.model.view, TopView::Now);
    play.wait(1).key(KeyCode::BackTab);
    assert_eq!(play.model.view, TopView::Log);
    play.keys("q");
    assert_eq!(play.model.view, TopView::Now);
    play.keys("q");
    assert_eq!(play.effects, [TopEffect::Quit]);
}

#[test]
fn a_filter_holds_while_it_is_typed_and_escape_ends_it() {
    let mut play = Screenplay::usual(80, 24);
    play.keys("2/inv");
    assert_eq!(play.model.list().rows(), [RowKey::Agent(agent("invoice-sync"))]);
    play.keys("\n");
    assert_eq!(play.model.prompt, None);
    assert!(play.shown().contains("/inv"), "{}", play.shown());
    play.keys("/").key(KeyCode::Backspace);
    play.keys("\u{1b}");
    assert_eq!(play.model.list().rows().len(), 13);
    play.keys("/!inv\n");
    assert_eq!(play.model.list().rows().len(), 12);
    play.keys("q/401\n");
    assert_eq!(play.model.list().rows(), [RowKey::Agent(agent("invoice-sync"))], "causes are looked at, too");
    play.keys("qf");
    let unwell: Vec<String> = play.model.list().rows().iter().map(|row| format!("{row:?}")).collect();
    assert_eq!(unwell.len(), 5, "{unwell:?}");
}

#[test]
fn agents_are_put_in_other_orders() {
    let mut play = Screenplay::usual(80, 24);
    play.keys("2s");
    let first = |play: &Screenplay| format!("{:?}", play.model.list().rows()[0]);
    assert_eq!(first(&play), "Agent(mail-triage)", "the most urgent");
    play.keys("ss");
    assert_eq!(first(&play), "Agent(code-review)", "the costliest");
}

#[test]
fn n_goes_from_one_red_line_to_the_next() {
    let mut play = Screenplay::usual(80, 24);
    play.keys("2gn");
    assert_eq!(play.model.list().current(), Some(&RowKey::Agent(agent("etl-orders"))));
    play.keys("n");
    assert_eq!(play.model.list().current(), Some(&RowKey::Agent(agent("invoice-sync"))));
    play.keys("NN");
    assert_eq!(play.model.list().current(), Some(&RowKey::Agent(agent("shop-watch"))), "around the end");
}

#[test]
fn ids_and_commands_are_copied() {
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("invoice-sync").keys("y");
    assert_eq!(play.effects[0], TopEffect::Copy("invoice-sync".into()));
    play.keys("Y");
    assert_eq!(play.effects[0], TopEffect::Copy("bgagent status invoice-sync".into()));
    play.to(&RowKey::Run(run_id(5).parse().unwrap())).keys("Y");
    assert_eq!(play.effects[0], TopEffect::Copy("bgagent show 00000005".into()));
}

#[test]
fn the_log_and_the_configuration_of_an_agent_are_a_key_away() {
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("invoice-sync").keys("e");
    assert_eq!(play.effects, [], "it is not known yet where it stands");
    let detail = screens::detail("invoice-sync", json!({}));
    play.answer(TopRequest::Detail(agent("invoice-sync")), TopAnswer::Detail(Box::new(detail)));
    play.keys("e");
    assert_eq!(play.effects, [TopEffect::Edit("/c/agents.toml".into(), 91)]);
    play.keys("t");
    assert_eq!((play.model.view, play.model.filter.as_str()), (TopView::Log, "invoice-sync"));
}

#[test]
fn why_and_help_lie_over_the_screen_until_a_key() {
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("backup").keys("w");
    assert_eq!(play.asks(), [&TopRequest::Why(agent("backup"), Some("UTC".into()))]);
    let why = fleet::of(json!({"agent_id": "backup", "sentence": "The slot of 22:40:00 ran, and completed.",
        "slot": null, "verdict": null, "cause": null, "run_id": null, "first": null, "last": null, "count": null}));
    play.answer(TopRequest::Why(agent("backup"), Some("UTC".into())), TopAnswer::Why(Box::new(why)));
    assert!(play.shown().contains("The slot of 22:40:00 ran, and completed."), "{}", play.shown());
    play.keys("\u{1b}");
    assert_eq!(play.model.overlay, None);
    play.keys("?");
    assert_eq!(play.model.overlay, Some(Overlay::Help(0)));
    assert!(play.shown().contains("the views; Tab") && play.shown().contains("more: ↓"), "{}", play.shown());
    play.keys("G");
    assert!(play.shown().contains("ONLY y DOES IT"), "{}", play.shown());
    assert!(play.shown().contains("acknowledge an incident"), "{}", play.shown());
    play.keys("?");
    assert_eq!(play.model.overlay, None);
}

#[test]
fn a_frozen_screen_asks_nothing() {
    let mut play = Screenplay::usual(80, 24);
    play.keys(" ");
    play.wait(60_000).input(TopInput::Tick);
    assert_eq!(play.effects, []);
    assert!(play.shown().contains("frozen"), "{}", play.shown());
    play.keys(" ");
    assert!(play.asks().contains(&&TopRequest::Agents(Vec::new())), "{:?}", play.effects);
}

#[test]
fn control_keys_are_for_the_terminal() {
    let mut play = Screenplay::usual(80, 24);
    for (key, effect) in [('c', TopEffect::Quit), ('z', TopEffect::Suspend), ('l', TopEffect::Redraw)] {
        play.input(TopInput::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL)));
        assert_eq!(play.effects, [effect]);
    }
}
