//! Whole screens, as they are drawn at a fixed time.
use super::fleet::{self, agent, of, run_id};
use super::*;
use crate::protocol::{AgentDetail, RunDetail};
use insta::assert_snapshot;
use serde_json::{Value, json};

const SIZES: [(u16, u16); 6] = [(20, 8), (40, 12), (80, 24), (120, 30), (140, 40), (300, 80)];

/// Everything of an agent, with these changes.
pub(super) fn detail(name: &str, changes: Value) -> AgentDetail {
    let view = fleet::agents().into_iter().find(|agent| agent.agent_id.as_str() == name);
    let mut all = serde_json::to_value(view.unwrap_or_else(|| agent(name, json!({})))).unwrap();
    let rest = json!({
        "runs": "command /opt/sync/erp.py", "next_slots": ["2026-11-28T22:43:57Z"], "last_success": null,
        "last_error": null, "p50_ms": null, "p95_ms": null, "in_flight": [],
        "recent": [
            {"run_id": run_id(2), "status": "failed", "duration_ms": 30}, {"run_id": run_id(3), "status": "failed", "duration_ms": 24},
        ],
        "slots_24h": {"ran": 7, "refused_circuit": 72},
        "settings": {"timeout": "10m", "overlap": "skip"}, "incidents": [], "defined_at": "agents.toml:91",
        "config_hash": "1a19942d00112233", "notes": [],
    });
    for changes in [rest, changes] {
        for (key, value) in changes.as_object().unwrap() {
            all[key] = value.clone();
        }
    }
    of(all)
}

pub(super) fn run_detail() -> RunDetail {
    let run = fleet::run(
        "invoice-sync",
        3,
        "failed",
        json!({"finished_at": "2026-11-28T22:31:57Z", "duration_ms": 24, "exit_code": 1,
            "error": {"kind": "exit_status", "message": "exit status 1: HTTPError: 401 Client Error: Unauthorized for url: https://erp.example.org/api/v2/invoices"}}),
    );
    let mut all = serde_json::to_value(run).unwrap();
    let chunk = |n: u64, stream: &str, text: &str| json!({"attempt": 1, "n": n, "stream": stream, "at": "2026-11-28T22:31:57Z", "text": text});
    all["events"] = json!([]);
    all["output"] = json!({"chunks": [
        chunk(0, "stdout", "connecting to erp.example.org:443\nreading invoices since 2026-11-01\n"),
        chunk(1, "stderr", "HTTPError: 401 Client Error\n"),
    ], "position": 2, "dropped_bytes": 0});
    of(all)
}

fn invoice_sync(play: &mut Screenplay) {
    let agent: crate::domain::AgentId = "invoice-sync".parse().unwrap();
    play.answer(TopRequest::Detail(agent), TopAnswer::Detail(Box::new(detail("invoice-sync", json!({})))));
    let run = run_id(3).parse().unwrap();
    play.answer(TopRequest::Run(run), TopAnswer::Run(Box::new(run_detail())));
}

#[test]
fn the_first_view_at_every_size() {
    for (width, height) in SIZES {
        let mut play = Screenplay::usual(width, height);
        assert_snapshot!(format!("now_{width}x{height}"), play.shown());
        let ascii = play.text(Theme { color: false, ascii: true });
        assert!(ascii.is_ascii(), "{ascii}");
        assert_snapshot!(format!("now_{width}x{height}_ascii"), ascii);
        // without colours the words are the same
        assert_eq!(play.text(Theme { color: false, ascii: false }), play.shown());
    }
}

#[test]
fn styles_repeat_what_marks_and_words_say() {
    let mut play = Screenplay::usual(80, 24);
    assert_snapshot!("now_styles", styles(&play.buffer(PLAIN)));
    let plain = play.buffer(Theme { color: false, ascii: false });
    let is_plain = |cell: &ratatui::buffer::Cell| {
        cell.fg == ratatui::style::Color::Reset && cell.bg == ratatui::style::Color::Reset
    };
    assert!(plain.content.iter().all(is_plain));
    let reversed = |cell: &&ratatui::buffer::Cell| cell.modifier.contains(ratatui::style::Modifier::REVERSED);
    assert_eq!(plain.content.iter().filter(reversed).count(), 80, "the cursor is seen without colours");
}

/// Runs of one style in each line: what a snapshot of texts does not show.
fn styles(buffer: &Buffer) -> String {
    let mut text = String::new();
    for line in buffer.content.chunks(usize::from(buffer.area.width)) {
        let mut runs: Vec<(String, String)> = Vec::new();
        for cell in line {
            let style = format!("{:?} {:?}", cell.fg, cell.modifier);
            match runs.last_mut() {
                Some((last, shown)) if *last == style => shown.push_str(cell.symbol()),
                _ => runs.push((style, cell.symbol().to_owned())),
            }
        }
        let shown = runs.iter().filter(|(style, shown)| !(style == "Reset NONE" || shown.trim().is_empty()));
        let shown: Vec<String> = shown.map(|(style, shown)| format!("{style}: {:?}", shown.trim())).collect();
        text.push_str(&shown.join(" | "));
        text.push('\n');
    }
    text
}

#[test]
fn the_other_views() {
    for (digit, name) in
        ["agents", "runs", "slots", "incidents", "approvals", "spending", "log"].iter().enumerate()
    {
        let mut play = Screenplay::usual(100, 22);
        play.keys(&(digit + 2).to_string());
        assert_snapshot!(format!("view_{name}"), play.shown());
    }
}

#[test]
fn an_agent_that_gave_up_shows_why_first() {
    let mut play = Screenplay::usual(80, 24);
    play.at_agent("invoice-sync").keys("\n");
    invoice_sync(&mut play);
    assert_snapshot!("agent_80x24", play.shown());
    play.keys("\n");
    assert_snapshot!("run_80x24", play.shown());
}

#[test]
fn beside_the_list_is_what_the_cursor_is_on() {
    let mut play = Screenplay::usual(140, 40);
    assert_eq!(play.model.list().current(), Some(&RowKey::Approval("0637e0e0-8-0".into())), "the worst line");
    let shown = play.shown();
    assert!(shown.contains("it arrives within three days."), "the whole call is there:\n{shown}");
    play.at_agent("invoice-sync");
    invoice_sync(&mut play);
    assert_snapshot!("pane_140x40", play.shown());
}

#[test]
fn a_daemon_that_is_away_is_told_and_what_was_known_stays() {
    let mut play = Screenplay::usual(80, 24);
    play.input(TopInput::Heard(super::super::asks::TopNotice::Gone));
    play.wait(12_000).input(TopInput::Tick);
    assert_eq!(play.effects, [], "nobody is asked");
    let shown = play.shown();
    assert!(shown.contains("daemon away since 22:43:45 (12s), reconnecting"), "{shown}");
    assert!(shown.contains("invoice-sync"), "{shown}");
    let dim = |cell: &ratatui::buffer::Cell| cell.modifier.contains(ratatui::style::Modifier::DIM);
    assert!(play.buffer(PLAIN).content[80 * 5..80 * 6].iter().all(dim));
    play.wait(1000).input(TopInput::Heard(super::super::asks::TopNotice::Back));
    assert!(
        play.asks().contains(&&TopRequest::Agents(Vec::new())),
        "everything is asked for: {:?}",
        play.effects
    );
    assert!(play.shown().contains("the daemon is back after 13s"), "{}", play.shown());
}

#[test]
fn long_fleets_are_one_line_where_all_is_well() {
    let many = (0..10_000).map(|n| agent(&format!("agent-{n:05}"), json!({}))).collect();
    let mut play = Screenplay::of(80, 24, vec![(TopRequest::Agents(Vec::new()), TopAnswer::Agents(many))]);
    assert!(play.shown().contains("10000 agents well: Enter lists all agents"), "{}", play.shown());
    assert!(play.shown().contains("NOTHING NEEDS YOU"), "{}", play.shown());
    play.keys("\n");
    assert_eq!(play.model.view, crate::top::model::TopView::Agents);
    play.keys("G");
    assert!(play.shown().contains(">✓ agent-09999"), "{}", play.shown());
}

#[test]
fn what_others_wrote_can_do_nothing_to_the_terminal() {
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{202e}gpj.exe \u{9b}31m tab\there";
    let fleet = vec![
        (
            TopRequest::Agents(Vec::new()),
            TopAnswer::Agents(vec![agent(
                "bad",
                json!({"health": "failing", "schedule": evil, "last_run": {
                "run_id": run_id(3), "status": "failed", "started_at": null, "finished_at": NOW, "duration_ms": 1,
                "error": {"kind": "exit_status", "message": evil}}}),
            )]),
        ),
        (
            TopRequest::Incidents(false),
            TopAnswer::Incidents(vec![fleet::incident("bad", evil, "critical", NOW, evil)]),
        ),
        (
            TopRequest::Approvals,
            TopAnswer::Approvals(vec![of(
                json!({"id": evil, "agent_id": "bad", "run_id": run_id(7), "requested_at": NOW,
            "tool": evil, "args": {evil: evil, "other": [evil]}}),
            )]),
        ),
    ];
    for keys in ["", "\n", "5", "5\n", "6\n", "A", "D", "2\n", "w", "j", "jj\n"] {
        let mut play = Screenplay::of(140, 40, fleet.clone());
        play.keys(keys);
        play.answer(
            TopRequest::Detail("bad".parse().unwrap()),
            TopAnswer::Detail(Box::new(detail("bad", json!({"schedule": evil, "runs": evil})))),
        );
        let acts = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        for cell in &play.buffer(PLAIN).content {
            assert!(!cell.symbol().contains(acts), "{keys:?}: {:?}", cell.symbol());
        }
    }
}
