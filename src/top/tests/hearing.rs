//! Tests of what events and answers do.
use super::fleet;
use super::*;
use crate::domain::AgentId;
use crate::top::asks::TopNotice;
use crate::top::model::TopPage;
use serde_json::{Value, json};

fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn event(seq: u64, kind: &str, of: &str, run: u32, payload: Value) -> TopInput {
    let event = json!({"seq": seq, "ts": NOW, "type": kind, "agent_id": of, "run_id": fleet::run_id(run), "session_id": null,
        "payload": payload});
    TopInput::Heard(TopNotice::Event(Box::new(fleet::of(event))))
}

#[test]
fn an_event_marks_its_agent_and_is_not_believed() {
    let mut play = Screenplay::usual(80, 24);
    let before = format!("{:?}", play.model.known.agents);
    play.wait(3000).input(event(5000, "background_task_error", "backup", 9, json!({})));
    assert_eq!(format!("{:?}", play.model.known.agents), before);
    let asks = play.asks();
    assert!(asks.contains(&&TopRequest::Agents(vec![agent("backup")])), "{asks:?}");
    assert!(asks.contains(&&TopRequest::Live), "{asks:?}");
    assert!(!asks.contains(&&TopRequest::Runs(None)), "nobody looks at runs: {asks:?}");
}

#[test]
fn many_events_are_few_questions() {
    let mut play = Screenplay::usual(80, 24);
    play.wait(3000);
    let mut asked = 0;
    for seq in 0..1000 {
        play.wait(1).input(event(5000 + seq, "background_task_started", "backup", 9, json!({})));
        asked += play.asks().iter().filter(|ask| matches!(ask, TopRequest::Agents(_))).count();
        if asked > 0 && play.asks().iter().any(|ask| matches!(ask, TopRequest::Agents(_))) {
            play.answer(
                TopRequest::Agents(vec![agent("backup")]),
                TopAnswer::Agents(vec![fleet::agent("backup", json!({}))]),
            );
        }
    }
    assert!((1..=5).contains(&asked), "1,000 events within a second led to {asked} questions");
}

#[test]
fn a_question_under_way_is_not_asked_again() {
    let mut play = Screenplay::usual(80, 24);
    play.wait(3000).input(event(5000, "background_task_started", "backup", 9, json!({})));
    assert!(play.asks().iter().any(|ask| matches!(ask, TopRequest::Agents(_))));
    play.wait(3000).input(event(5001, "background_task_started", "log-rotate", 9, json!({})));
    assert!(!play.asks().iter().any(|ask| matches!(ask, TopRequest::Agents(_))), "{:?}", play.effects);
    play.answer(TopRequest::Agents(vec![agent("backup")]), TopAnswer::Agents(Vec::new()));
    assert!(play.asks().contains(&&TopRequest::Agents(vec![agent("log-rotate")])), "{:?}", play.effects);
}

#[test]
fn a_new_configuration_is_all_new() {
    let mut play = Screenplay::usual(80, 24);
    play.wait(3000).input(event(5000, "config_applied", "backup", 9, json!({})));
    assert!(play.asks().contains(&&TopRequest::Agents(Vec::new())), "{:?}", play.effects);
    // the agents that are gone go
    play.answer(TopRequest::Agents(Vec::new()), TopAnswer::Agents(vec![fleet::agent("backup", json!({}))]));
    assert_eq!(play.model.known.agents.len(), 1);
}

#[test]
fn an_agent_that_is_gone_takes_its_page_along() {
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("backup").keys("\n");
    assert_eq!(play.model.places, [TopPage::Agent(agent("backup"))]);
    let reply =
        TopReply { ask: TopRequest::Detail(agent("backup")), said: Err(Some("no agent `backup`".into())) };
    play.input(TopInput::Replied(Box::new(reply)));
    assert_eq!(play.model.places, []);
    assert!(play.shown().contains("no agent `backup`"), "{}", play.shown());
}

#[test]
fn a_question_that_got_no_answer_is_asked_again() {
    let mut play = Screenplay::usual(80, 24);
    play.wait(3000).input(event(5000, "incident_opened", "shop-watch", 9, json!({})));
    assert!(play.asks().contains(&&TopRequest::Incidents(false)));
    play.input(TopInput::Replied(Box::new(TopReply { ask: TopRequest::Incidents(false), said: Err(None) })));
    play.wait(1000).input(TopInput::Tick);
    assert!(play.asks().contains(&&TopRequest::Incidents(false)), "{:?}", play.effects);
}

#[test]
fn a_run_says_how_far_it_is() {
    let mut play = Screenplay::usual(80, 24);
    let output = json!({"attempt": 1, "from": 3, "chunks": 1, "dropped_bytes": 0, "text": "batch 4 of 7\nbatch 5 of 7\n", "stderr": null});
    play.input(event(5000, "background_task_output", "thumbnails", 5, output));
    let shown = play.shown();
    assert!(shown.contains("48s of 1m10s") && shown.contains("batch 5 of 7"), "{shown}");
}

#[test]
fn output_is_read_on_from_where_it_was_read() {
    let mut play = Screenplay::usual(80, 24);
    let run = fleet::run_id(5).parse().unwrap();
    play.to(&RowKey::Run(run)).keys("l");
    assert!(play.asks().contains(&&TopRequest::Output(run, 0)), "{:?}", play.effects);
    let some = |text: &str, position: u64| {
        TopAnswer::Output(fleet::of(
            json!({"chunks": [{"attempt": 1, "n": position, "stream": "stdout", "at": NOW, "text": text}],
            "position": position, "dropped_bytes": 0}),
        ))
    };
    let many: String = (0..60).map(|n| format!("line {n}\n")).collect();
    play.wait(1000).answer(TopRequest::Output(run, 0), some(&many, 60));
    assert!(play.asks().contains(&&TopRequest::Output(run, 60)), "there may be more: {:?}", play.effects);
    assert!(play.shown().contains("line 59"), "it is followed:\n{}", play.shown());
    play.answer(
        TopRequest::Output(run, 60),
        TopAnswer::Output(fleet::of(json!({"chunks": [], "position": 60, "dropped_bytes": 0}))),
    );
    play.keys("k");
    play.wait(1000).input(event(5000, "background_task_output", "thumbnails", 5, json!({})));
    assert!(play.asks().contains(&&TopRequest::Output(run, 60)), "{:?}", play.effects);
    play.wait(1000).answer(TopRequest::Output(run, 60), some("line 60\n", 61));
    assert!(!play.shown().contains("line 60"), "who scrolled stays where they are:\n{}", play.shown());
    play.keys("G");
    play.shown();
    assert!(play.shown().contains("line 60"), "{}", play.shown());
}

#[test]
fn probes_that_say_nothing_are_asked_for_when_they_were_due() {
    let mut play = Screenplay::usual(80, 24);
    play.keys("2g").wait(20_000).input(TopInput::Tick);
    let asked = play.asks().into_iter().find_map(|ask| match ask {
        TopRequest::Agents(names) => Some(names.clone()),
        _ => None,
    });
    assert!(asked.is_some_and(|names| names.contains(&agent("shop-watch"))), "{:?}", play.effects);
}

#[test]
fn lines_keep_their_order_while_somebody_moves() {
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("etl-orders");
    let rows = play.model.list().rows().to_vec();
    let well = fleet::agent("invoice-sync", json!({}));
    play.wait(1999).answer(TopRequest::Agents(vec![agent("invoice-sync")]), TopAnswer::Agents(vec![well]));
    assert_eq!(play.model.list().rows(), rows, "a key was pressed just now");
    play.wait(1).input(TopInput::Tick);
    assert_ne!(play.model.list().rows(), rows);
    assert_eq!(play.model.list().current(), Some(&RowKey::Agent(agent("etl-orders"))));
}
