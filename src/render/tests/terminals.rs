//! What fits a terminal, and what acts on none.
use super::super::*;
use super::{RUN, agent, fleet, screen};
use crate::client::StoredEvent;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

#[test]
fn no_table_is_wider_than_its_terminal() {
    let mut agents = fleet();
    agents.push(agent(
        &"a".repeat(64),
        json!({"schedule": "cron 0 9 1,2,3,4,5,6,7,8 JAN,FEB,MAR,APR,MAY,JUN * (UTC)"}),
    ));
    let mut fixed =
        Table::new().column("TOOL").column("EFFECT").shrinking("DESCRIPTION", 20).number("TOKENS OUT");
    fixed.row(vec![
        "a-server/with_a_rather_long_name".into(),
        "idempotent".into(),
        "満杯です、確認してください שלום עולם".into(),
        "123456".into(),
    ]);
    for width in 20..=300 {
        let screen = screen(Some(width), width % 2 == 0);
        for text in [agent_list(&agents, &screen), agent_list(&[], &screen), fixed.render(&screen)] {
            let text = anstream::adapter::strip_str(&text).to_string();
            let widest = text.lines().map(UnicodeWidthStr::width).max();
            assert!(widest <= Some(width), "{width}: {widest:?}\n{text}");
        }
    }
}

#[test]
fn a_table_without_room_becomes_a_block_for_each_row() {
    let agents = [agent(&"a".repeat(30), json!({})), agent("b", json!({"last_run": null, "next_run": null}))];
    insta::assert_snapshot!(agent_list(&agents, &screen(Some(30), false)), @r"
    NAME      aaaaaaaaaaaaaaaaaaaa
              aaaaaaaaaa
    STATE     active
    SCHEDULE  every 1m
    NEXT      in 12 s
    LAST      ok 3 min ago
    RUNS      1440
    ERR       0

    NAME      b
    STATE     active
    SCHEDULE  every 1m
    RUNS      1440
    ERR       0
    ");
}

#[test]
fn events_fit_narrow_terminals() {
    let text = json!({
        "seq": 1, "ts": "2026-11-24T09:05:01.2Z", "type": "agent_message", "agent_id": "a".repeat(64), "run_id": RUN,
        "session_id": null, "payload": {"step": 1, "text": "満杯です、確認してください ".repeat(20)},
    });
    let stored = StoredEvent { seq: 1, text: text.to_string() };
    for width in 80..=300 {
        let line = event_line(&stored, &screen(Some(width), false));
        assert!(line.lines().all(|line| line.width() <= width), "{width}: {line}");
    }
    for width in 20..80 {
        let lines = event_line(&stored, &screen(Some(width), false));
        let name = 66.max(width);
        assert!(lines.lines().all(|line| line.width() <= name), "{width}: {lines}");
    }
}

#[test]
fn what_programs_wrote_acts_on_no_terminal_wherever_it_goes() {
    let view: crate::protocol::OutputView = serde_json::from_value(json!({
        "run_id": RUN, "status": "completed", "position": 1, "dropped_bytes": 0,
        "chunks": [{"attempt": 1, "n": 0, "at": "2026-11-24T09:00:00Z", "stream": "stdout", "text": "a\tb\u{1b}[31m\u{9b}1m\u{7f}\u{202e}\u{61c}\r\n"}],
    }))
    .unwrap();
    for (width, color) in [(Some(80), true), (None, true), (None, false)] {
        let text = output(&view, &screen(width, color));
        assert_eq!(text, "a\tb\\x1b[31m\\x9b1m\\x7f\\u{202e}\\u{61c}\n");
    }
    let raw = Screen { raw: true, ..screen(None, false) };
    assert_eq!(output(&view, &raw), "a\tb\u{1b}[31m\u{9b}1m\u{7f}\u{202e}\u{61c}\r\n");
}

#[test]
fn json_acts_on_no_terminal_and_means_the_same() {
    let value = json!({"a": "\u{1b}[31m \u{7f} \u{9b} \u{202e} \u{e0041} \u{2028} ä 磁"});
    let text = plain_json(&value.to_string()).into_owned();
    assert!(
        text.chars().all(|c| !c.is_control()) && !text.contains(['\u{202e}', '\u{e0041}', '\u{2028}']),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    assert_eq!(plain_json("{\n  \"a\": 1\n}"), "{\n  \"a\": 1\n}");
}

#[test]
fn what_matters_least_gives_way_first() {
    let waits =
        agent("news", json!({"activity": "waiting_approval", "schedule": "cron 0 9 * * MON-FRI (UTC)"}));
    let text = agent_list(&[waits], &screen(Some(72), false));
    assert!(text.contains("waits for you") && text.contains('…'), "{text}");
}

#[test]
fn lines_break_between_words() {
    let text = "news  active\n  warning   the gate is broken, so the run went ahead\n  - a list of many words\nshort\n";
    assert_eq!(
        fold(text, 30),
        "news  active\n  warning   the gate is\n            broken, so the run\n            went ahead\n  - a list of many words\nshort\n"
    );
    assert_eq!(fold("  /a/path/that/has/no/room at all", 12), "  /a/path/that/has/no/room\n  at all");
    let red = "\u{1b}[1m\u{1b}[31mnothing is due\u{1b}[0m";
    assert_eq!(fold(red, 14), red);
    assert_eq!(fold(red, 10), "\u{1b}[1m\u{1b}[31mnothing is\ndue\u{1b}[0m");
    for width in 20..80 {
        let words = "What became of the slots of news is not on record; the next one is due in 5 min.";
        let folded = fold(words, width);
        assert_eq!(
            folded.split_whitespace().collect::<Vec<_>>(),
            words.split_whitespace().collect::<Vec<_>>()
        );
        assert!(folded.lines().all(|line| line.width() <= width), "{width}: {folded}");
    }
}
