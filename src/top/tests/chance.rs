//! Whatever comes, in whatever order, at whatever size: nothing panics, and the cursor stays where a person left it.
use super::fleet::{self, of, run_id};
use super::*;
use crate::top::asks::TopNotice;
use proptest::prelude::*;
use serde_json::json;

/// Texts that screens stumble over: wide, combining, from right to left, escapes, nothing, very long.
const TEXTS: [&str; 9] = [
    "",
    "plain",
    "日本語のエラー",
    "e\u{301}\u{302}\u{303}",
    "שלום עולם",
    "\u{1b}[31mred\u{1b}[0m\r\n\t\u{7}",
    "👩‍👩‍👧‍👦 family",
    "\u{202e}desrever\u{2066}",
    "a-name-of-sixty-four-characters-which-is-as-long-as-names-can-be",
];

#[derive(Debug, Clone)]
enum Doing {
    Key(KeyCode),
    Size(u16, u16),
    Wait(u64),
    Agents(Vec<(usize, usize, usize)>),
    Incidents(Vec<(usize, usize)>),
    Approvals(Vec<usize>),
    Gone,
    Back,
}

fn key() -> impl Strategy<Value = KeyCode> {
    prop_oneof![
        5 => prop::sample::select("jkgGnN12345678/fsawloyY? RPUSKXADCqy0".chars().map(KeyCode::Char).collect::<Vec<_>>()),
        3 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::PageUp,
            KeyCode::PageDown, KeyCode::Home, KeyCode::End, KeyCode::Backspace,
        ]),
    ]
}

fn data() -> impl Strategy<Value = Doing> {
    prop_oneof![
        prop::collection::vec((0..8usize, 0..6usize, 0..TEXTS.len()), 0..8).prop_map(Doing::Agents),
        prop::collection::vec((0..6usize, 0..TEXTS.len()), 0..6).prop_map(Doing::Incidents),
        prop::collection::vec(0..TEXTS.len(), 0..4).prop_map(Doing::Approvals),
        (0..5000u64).prop_map(Doing::Wait),
        Just(Doing::Gone),
        Just(Doing::Back),
    ]
}

fn anything() -> impl Strategy<Value = Doing> {
    prop_oneof![
        4 => key().prop_map(Doing::Key),
        3 => data(),
        1 => (1..=300u16, 1..=100u16).prop_map(|(width, height)| Doing::Size(width, height)),
    ]
}

fn agent(name: usize, how: usize, text: usize) -> crate::protocol::AgentView {
    let text = TEXTS[text];
    let changes = match how {
        0 => json!({}),
        1 => {
            json!({"health": "failing", "consecutive_errors": 3, "last_run": {"run_id": run_id(3), "status": "failed",
            "started_at": null, "finished_at": NOW, "duration_ms": 5, "error": {"kind": "exit_status", "message": text}}})
        }
        2 => json!({"health": "circuit_open", "schedule": text}),
        3 => json!({"state": "paused", "reason": text, "next_run": null, "resume_at": NOW}),
        4 => json!({"activity": "running", "runs_in_flight": [run_id(5)], "cost_today_usd": 0.1}),
        _ => json!({"state": "stopped", "last_run": null, "next_run": null, "reason": text}),
    };
    let names = ["a", "bb", "backup", "invoice-sync", "x.y_z-1", "log", "z", TEXTS[8]];
    fleet::agent(names[name], changes)
}

fn does(play: &mut Screenplay, doing: &Doing) {
    match doing {
        Doing::Key(code) => {
            play.wait(400).key(*code);
        }
        Doing::Size(width, height) => {
            play.input(TopInput::Resized(*width, *height));
        }
        Doing::Wait(ms) => {
            play.wait(*ms).input(TopInput::Tick);
        }
        Doing::Agents(all) => {
            let all = all.iter().map(|(name, how, text)| agent(*name, *how, *text)).collect();
            play.answer(TopRequest::Agents(Vec::new()), TopAnswer::Agents(all));
        }
        Doing::Incidents(all) => {
            let incident = |(key, text): &(usize, usize)| {
                let severity = if key % 2 == 0 { "critical" } else { "warning" };
                fleet::incident("backup", &format!("{}{key}", TEXTS[*text]), severity, NOW, TEXTS[*text])
            };
            play.answer(
                TopRequest::Incidents(false),
                TopAnswer::Incidents(all.iter().map(incident).collect()),
            );
        }
        Doing::Approvals(all) => {
            let approval = |text: &usize| {
                of(
                    json!({"id": format!("{text}"), "agent_id": "backup", "run_id": run_id(7), "requested_at": NOW,
                    "tool": TEXTS[*text], "args": {TEXTS[*text]: TEXTS[*text], "n": [1, {"a": TEXTS[*text]}]}}),
                )
            };
            play.answer(TopRequest::Approvals, TopAnswer::Approvals(all.iter().map(approval).collect()));
        }
        Doing::Gone => {
            play.input(TopInput::Heard(TopNotice::Gone));
        }
        Doing::Back => {
            play.input(TopInput::Heard(TopNotice::Back));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_at_any_size(
        size in (1..=300u16, 1..=100u16),
        what in prop::collection::vec(anything(), 0..40),
        color: bool,
        ascii: bool,
    ) {
        let mut play = Screenplay::usual(size.0, size.1);
        let theme = Theme { color, ascii };
        for doing in &what {
            does(&mut play, doing);
            let buffer = play.buffer(theme);
            if ascii {
                prop_assert!(buffer.content.iter().all(|cell| cell.symbol().is_ascii()));
            }
        }
    }

    #[test]
    fn the_cursor_stays_on_its_item_without_a_key(
        steps in 0..20usize,
        view in 1..=8u8,
        what in prop::collection::vec(data(), 1..20),
    ) {
        let mut play = Screenplay::usual(80, 24);
        play.keys(&view.to_string());
        for _ in 0..steps {
            play.key(KeyCode::Down);
        }
        for doing in &what {
            let before = play.model.list().current().cloned();
            does(&mut play, doing);
            let after = play.model.list().current().cloned();
            if let Some(before) = before.filter(|before| play.model.list().rows().contains(before)) {
                prop_assert_eq!(after, Some(before));
            }
        }
    }

    #[test]
    fn the_cursor_is_always_in_sight(
        size in (20..=200u16, 4..=60u16),
        what in prop::collection::vec(anything(), 0..40),
    ) {
        let mut play = Screenplay::usual(size.0, size.1);
        for doing in &what {
            does(&mut play, doing);
            let (list, height) = (play.model.list(), play.model.height());
            if let Some(at) = list.cursor() {
                prop_assert!(list.offset() <= at && at < list.offset() + height.max(1), "{at} in {}+{height}", list.offset());
                prop_assert!(list.rows()[at].takes_cursor());
            }
        }
    }
}
