//! Tests of the strips of slots.
use super::fleet::{of, run_id};
use super::*;
use crate::domain::AgentId;
use crate::protocol::SlotRecordView;
use crate::top::model::{SlotSpan, strip, tally};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn record(agent: &str, first: &str, last: &str, verdict: &str, more: Value) -> SlotRecordView {
    let mut record =
        json!({"agent_id": agent, "first": first, "last": last, "count": 1, "verdict": verdict, "cause": ""});
    for (key, value) in more.as_object().unwrap() {
        record[key] = value.clone();
    }
    of(record)
}

fn ran(agent: &str, slot: &str, status: &str, finished: &str) -> SlotRecordView {
    let more = json!({"run_id": run_id(1), "status": status, "finished_at": finished});
    record(agent, slot, slot, "ran", more)
}

/// An hour in twelve parts of five minutes, up to 22:43:45.
fn shown(records: &[SlotRecordView]) -> String {
    let beats = strip(records, SlotSpan::Hour, NOW.parse().unwrap(), 12);
    beats.iter().map(|beat| beat.sign(true).0).collect()
}

#[test]
fn a_strip_has_the_worst_of_each_part() {
    let slot = |at: &str, verdict: &str| record("a", at, at, verdict, json!({}));
    assert_eq!(shown(&[]), "            ");
    assert_eq!(shown(&[slot("2026-11-28T22:43:00Z", "ran")]), "           o");
    assert_eq!(shown(&[slot("2026-11-28T21:44:00Z", "skipped_gate")]), ".           ");
    assert_eq!(shown(&[slot("2026-11-28T20:00:00Z", "ran")]), "            ", "before its time");
    assert_eq!(
        shown(&[slot("2026-11-28T23:00:00Z", "ran")]),
        "           o",
        "a slot that is ahead is at its end"
    );
    let worst = [
        ran("a", "2026-11-28T22:00:00Z", "completed", "2026-11-28T22:00:01Z"),
        ran("a", "2026-11-28T22:01:00Z", "failed", "2026-11-28T22:01:01Z"),
        slot("2026-11-28T22:02:00Z", "skipped_overlap"),
    ];
    assert_eq!(shown(&worst), "   X        ");
}

#[test]
fn a_row_of_slots_and_a_long_run_fill_what_they_took() {
    let refused =
        record("a", "2026-11-28T21:50:00Z", "2026-11-28T22:10:00Z", "refused_circuit", json!({"count": 20}));
    assert_eq!(shown(std::slice::from_ref(&refused)), " rrrrr      ");
    let long = ran("a", "2026-11-28T22:20:00Z", "completed", "2026-11-28T22:35:00Z");
    assert_eq!(shown(&[refused.clone(), long.clone()]), " rrrrr oooo ");
    let goes_on =
        record("a", "2026-11-28T22:36:00Z", "2026-11-28T22:36:00Z", "ran", json!({"status": "running"}));
    assert_eq!(shown(&[goes_on]), "          >>");
    let well = record(
        "a",
        "2026-11-28T21:44:00Z",
        "2026-11-28T22:43:00Z",
        "ran",
        json!({"count": 60, "all_well": true}),
    );
    assert_eq!(shown(std::slice::from_ref(&well)), "____________");
    let counts: Vec<String> = tally(&[refused, long, well])
        .iter()
        .map(|(beat, count)| format!("{count} {}", beat.word()))
        .collect();
    assert_eq!(counts, ["20 refused", "1 ran", "60 all well"]);
}

#[test]
fn the_view_of_slots_asks_for_what_is_on_it() {
    let mut play = Screenplay::usual(100, 22);
    play.keys("4");
    let asked = play.asks().into_iter().find_map(|ask| match ask {
        TopRequest::Slots(agents, from, to) => Some((agents.clone(), *from, *to)),
        _ => None,
    });
    let (agents, from, to) = asked.unwrap_or_else(|| panic!("{:?}", play.effects));
    assert_eq!(to.duration_since(from).as_hours(), 1);
    let named = |name: &str| agents.contains(&name.parse::<AgentId>().unwrap());
    assert!(
        named("backup") && !named("old-importer") && !named("after-backup"),
        "those with slots: {agents:?}"
    );
    let records = vec![
        ran("backup", "2026-11-28T22:10:00Z", "completed", "2026-11-28T22:11:00Z"),
        ran("backup", "2026-11-28T22:20:00Z", "failed", "2026-11-28T22:20:01Z"),
        record(
            "invoice-sync",
            "2026-11-28T22:31:57Z",
            "2026-11-28T22:43:17Z",
            "refused_circuit",
            json!({"count": 17}),
        ),
        record(
            "log-rotate",
            "2026-11-28T21:50:00Z",
            "2026-11-28T22:10:00Z",
            "missed_downtime",
            json!({"count": 61}),
        ),
        record(
            "log-rotate",
            "2026-11-28T22:12:00Z",
            "2026-11-28T22:43:40Z",
            "ran",
            json!({"count": 90, "all_well": true}),
        ),
    ];
    play.answer(TopRequest::Slots(agents, from, to), TopAnswer::Slots(records));
    assert_snapshot!("view_slots", play.shown());
    play.keys("z");
    let asked = play.asks().into_iter().find_map(|ask| match ask {
        TopRequest::Slots(_, from, to) => Some(to.duration_since(*from).as_hours()),
        _ => None,
    });
    assert_eq!(asked, Some(6), "{:?}", play.effects);
    play.to(&RowKey::Strip("backup".parse().unwrap())).keys("\n");
    assert_eq!(play.model.places, [crate::top::model::TopPage::Agent("backup".parse().unwrap())]);
}
