//! Streams as the real programs wrote them, and what can be wrong with one. What is made of each
//! of them stands in `events.txt`.
use super::*;
use crate::domain::{
    EnvValue, ErrorKind, Finish, PermissionDefault, PermissionKind, Permissions, Preset, Provider, RunError,
    RunnerPreset, RunnerProtocol, RunnerSpec, SandboxSetting,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const PROTOCOLS: [(&str, RunnerProtocol); 4] = [
    ("claude", RunnerProtocol::ClaudeJson),
    ("codex", RunnerProtocol::CodexJson),
    ("gemini", RunnerProtocol::GeminiJson),
    ("opencode", RunnerProtocol::OpencodeJson),
];

/// By name, as the programs wrote them.
const STREAMS: &[(&str, &str)] = &[
    ("claude-agent", include_str!("tests/streams/claude-agent.jsonl")),
    ("claude-err400", include_str!("tests/streams/claude-err400.jsonl")),
    ("claude-maxtok", include_str!("tests/streams/claude-maxtok.jsonl")),
    ("claude-perm-dontask", include_str!("tests/streams/claude-perm-dontask.jsonl")),
    ("claude-shape-mcp", include_str!("tests/streams/claude-shape-mcp.jsonl")),
    ("claude-tools", include_str!("tests/streams/claude-tools.jsonl")),
    ("codex-err400", include_str!("tests/streams/codex-err400.jsonl")),
    ("codex-maxtok", include_str!("tests/streams/codex-maxtok.jsonl")),
    ("codex-shape-mcp", include_str!("tests/streams/codex-shape-mcp.jsonl")),
    ("codex-tools", include_str!("tests/streams/codex-tools.jsonl")),
    ("gemini-err400", include_str!("tests/streams/gemini-err400.jsonl")),
    ("gemini-maxtok", include_str!("tests/streams/gemini-maxtok.jsonl")),
    ("gemini-shape-mcp", include_str!("tests/streams/gemini-shape-mcp.jsonl")),
    ("gemini-tools", include_str!("tests/streams/gemini-tools.jsonl")),
    ("opencode-err400", include_str!("tests/streams/opencode-err400.jsonl")),
    ("opencode-maxtok", include_str!("tests/streams/opencode-maxtok.jsonl")),
    ("opencode-shape-mcp", include_str!("tests/streams/opencode-shape-mcp.jsonl")),
    ("opencode-tools", include_str!("tests/streams/opencode-tools.jsonl")),
];

fn stream(name: &str) -> (&'static str, RunnerProtocol) {
    let text = STREAMS.iter().find(|(known, _)| *known == name).expect("a stream").1;
    let protocol = PROTOCOLS.iter().find(|(program, _)| name.starts_with(program)).expect("a program").1;
    (text, protocol)
}

fn decoded(text: &str, protocol: RunnerProtocol) -> (Vec<ProgramEvent>, Option<String>) {
    let mut decoder = Decoder::new(protocol);
    let mut events = decoder.push(text);
    events.extend(decoder.finish());
    (events, decoder.unread())
}

fn heard(events: &[ProgramEvent]) -> HeardSoFar {
    let mut heard = HeardSoFar::default();
    events.iter().for_each(|event| heard.hear(event));
    heard
}

fn exited(code: i32) -> ProgramEnd {
    ProgramEnd { code: Some(code), how: format!("exit status {code}") }
}

fn asked() -> Metered {
    Metered { requests: 3, finish: Some(Finish::Stop), ..Metered::default() }
}

/// All streams, each with its events and with what is to be thought of it.
fn all_told() -> String {
    let mut told = String::new();
    for (name, _) in STREAMS {
        let (text, protocol) = stream(name);
        let (events, unread) = decoded(text, protocol);
        writeln!(told, "== {name}").unwrap();
        events.iter().for_each(|event| writeln!(told, "{event:?}").unwrap());
        writeln!(told, "-> {:?}", judge("it", &heard(&events), &asked(), &exited(0))).unwrap();
        assert_eq!(unread, None, "{name}");
    }
    told
}

#[test]
fn streams_of_the_real_programs_are_understood() {
    let told = all_told();
    let before = include_str!("tests/events.txt");
    for (at, (before, now)) in before.lines().zip(told.lines()).enumerate() {
        assert_eq!(before, now, "line {}: if this is better, write it there", at + 1);
    }
    assert_eq!(before, told, "if this is better, write it there");
}

#[test]
fn what_is_no_event_is_counted_and_passed_over() {
    for (program, protocol) in PROTOCOLS {
        let (text, _) = stream(&format!("{program}-tools"));
        let (events, _) = decoded(text, protocol);
        let lines: Vec<&str> = text.lines().collect();
        let noisy = lines.join("\nnpm warn something\n[1,2]\n{\"type\":7}\n\n{\"a\":");
        let (among, unread) = decoded(&noisy, protocol);
        // what follows half a line on its line is lost with it
        let unread = unread.expect("something was not read");
        assert!(unread.contains("`npm warn something`"), "{unread}");
        assert!(among.len() < events.len() && !among.is_empty(), "{program}");
        let kept = lines.join("\nnpm warn something\n[1,2]\n{\"type\":7}\n\n");
        assert_eq!(decoded(&kept, protocol).0, events, "{program}");
        // one that this release does not know
        let newer = format!("{{\"type\":\"from.the.future\",\"x\":1}}\n{text}");
        assert_eq!(decoded(&newer, protocol), (events, None), "{program}");
    }
}

#[test]
fn half_a_stream_is_no_success() {
    for (program, protocol) in PROTOCOLS {
        let (text, _) = stream(&format!("{program}-tools"));
        let lines = text.lines().count();
        for kept in 0..lines {
            let part: String = text.lines().take(kept).map(|line| format!("{line}\n")).collect();
            let half = format!("{part}{{\"type\":\"resu");
            for text in [&part, &half] {
                let heard = heard(&decoded(text, protocol).0);
                let judged = judge("it", &heard, &asked(), &exited(0));
                assert!(judged.is_err(), "{program} after {kept} lines: {judged:?}");
            }
        }
        assert!(judge("it", &heard(&decoded(text, protocol).0), &asked(), &exited(0)).is_ok(), "{program}");
    }
}

#[test]
fn calls_in_flight_are_known() {
    let (text, protocol) = stream("codex-tools");
    let until: String = text.lines().take(6).map(|line| format!("{line}\n")).collect();
    let open = heard(&decoded(&until, protocol).0).open_calls;
    assert_eq!(open.len(), 1);
    assert!(open[0].1.starts_with("shell {\"command\":"), "{open:?}");
}

#[test]
fn trying_again_is_no_progress() {
    let lines = r#"{"type":"thread.started","thread_id":"t"}
{"type":"error","message":"Reconnecting... 1/5"}
{"type":"item.completed","item":{"id":"1","type":"error","message":"Reconnecting... 2/5"}}
"#;
    let (events, _) = decoded(lines, RunnerProtocol::CodexJson);
    let progress: Vec<bool> = events.iter().map(ProgramEvent::is_progress).collect();
    assert_eq!(progress, [true, false, false]);
    assert_eq!(heard(&events).retries, 2);
    let retry = r#"{"type":"system","subtype":"api_retry","attempt":2,"max_retries":10,"error_status":529}"#;
    let (events, _) = decoded(retry, RunnerProtocol::ClaudeJson);
    assert_eq!(events, [ProgramEvent::Retry("attempt 2 of 10, status 529".into())]);
}

#[test]
fn the_meter_is_believed_before_the_program() {
    let (text, protocol) = stream("claude-tools");
    let good = heard(&decoded(text, protocol).0);
    let error = |kind| RunError::new(kind, "because");
    let refused = Metered { refused: Some(error(ErrorKind::CostLimit)), ..asked() };
    let failed = Metered { failed: Some(error(ErrorKind::RateLimit)), ..asked() };
    let ended = |finish| Metered { finish: Some(finish), ..asked() };
    let silent = Metered::default();
    let nothing = HeardSoFar { session: Some("s".into()), ..HeardSoFar::default() };
    let bad = HeardSoFar { errors: vec!["no such model".into()], ..nothing.clone() };
    let denied = HeardSoFar { denied: vec!["Bash".into()], ..good.clone() };
    for (heard, metered, code, expected) in [
        (&good, &asked(), 0, Ok("all done: the final words".to_owned())),
        (&good, &refused, 0, Err((ErrorKind::CostLimit, "because"))),
        (&good, &failed, 0, Err((ErrorKind::RateLimit, "because"))),
        (&good, &ended(Finish::Length), 0, Err((ErrorKind::BadResponse, "cut off"))),
        (&good, &ended(Finish::Refusal(String::new())), 0, Err((ErrorKind::Provider, "refused"))),
        (&good, &asked(), 1, Err((ErrorKind::ExitStatus, "it ended with exit status 1"))),
        (&good, &silent, 0, Err((ErrorKind::BadResponse, "without one request"))),
        (&denied, &asked(), 0, Err((ErrorKind::PermissionDenied, "Bash"))),
        (&nothing, &asked(), 0, Err((ErrorKind::EmptyAnswer, "without an answer"))),
        (&bad, &asked(), 0, Err((ErrorKind::EmptyAnswer, "no such model"))),
        (&bad, &asked(), 2, Err((ErrorKind::ExitStatus, "no such model"))),
        (&HeardSoFar::default(), &silent, 0, Err((ErrorKind::EmptyAnswer, "the right program?"))),
    ] {
        let judged = judge("it", heard, metered, &exited(code));
        match (&judged, &expected) {
            (Ok(answer), Ok(expected)) => assert_eq!(answer, expected),
            (Err(error), Err((kind, part))) => {
                assert!(error.kind == *kind && error.message.contains(part), "{error:?}, not {expected:?}");
            }
            _ => panic!("{judged:?}, not {expected:?}"),
        }
    }
}

proptest! {
    #[test]
    fn a_stream_is_the_same_in_whatever_pieces_it_comes(cuts in prop::collection::vec(0usize..6000, 0..40)) {
        for (program, protocol) in PROTOCOLS {
            let (text, _) = stream(&format!("{program}-tools"));
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(*cut)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut decoder = Decoder::new(protocol);
            let mut events: Vec<ProgramEvent> =
                cuts.windows(2).flat_map(|cut| decoder.push(&text[cut[0]..cut[1]])).collect();
            events.extend(decoder.finish());
            prop_assert_eq!((events, decoder.unread()), decoded(text, protocol));
        }
    }

    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        for (_, protocol) in PROTOCOLS {
            let _ = heard(&decoded(&text, protocol).0);
        }
    }

    #[test]
    fn no_shape_breaks_it(kind in "system|assistant|user|result|error|item.started|item.completed|turn.failed|tool_use|tool_result|step_finish|message",
                          json in "\\{(\"(message|item|part|error|state|content|type)\":(1|null|\"x\"|\\[\\]|\\{\\}|\\[\\{\\}\\])(,\"subtype\":\"init\")?)?\\}") {
        let line = match json.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some("") | None => format!("{{\"type\":\"{kind}\"}}"),
            Some(rest) => format!("{{\"type\":\"{kind}\",{rest}}}"),
        };
        for (_, protocol) in PROTOCOLS {
            let _ = heard(&decoded(&line, protocol).0);
        }
    }
}

fn spec(preset: Option<RunnerPreset>, command: &[&str]) -> RunnerSpec {
    RunnerSpec {
        preset,
        protocol: preset.map_or(RunnerProtocol::ClaudeJson, |preset| Preset::of(preset).protocol),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        version: None,
        meter: "main".into(),
        env: BTreeMap::<String, EnvValue>::new(),
        first_event: RunnerSpec::FIRST_EVENT,
        idle: RunnerSpec::IDLE,
        sandbox: SandboxSetting::Unset,
    }
}

const PLACES: LaunchPlaces<'static> = LaunchPlaces {
    query: "do {model} \"it\"",
    session: "s-1",
    model: "the \"model\"",
    meter: "http://127.0.0.1:3128",
    key: "k-1",
    mcp: "http://127.0.0.1:3128/mcp",
    is_handed: false,
    output: 4000,
    home: "/h",
    work: "/w",
};

#[test]
fn places_are_filled_once_and_json_stays_json() {
    let own =
        spec(None, &["x", "{query}", "--m={model}", "{unknown}", "{\"u\":\"{meter}\",\"m\":\"{model}\"}"]);
    let called = launch(&own, Provider::Anthropic, None, false, &PLACES);
    assert_eq!(
        called.argv,
        [
            "x",
            "do {model} \"it\"",
            "--m=the \"model\"",
            "{unknown}",
            r#"{"u":"http://127.0.0.1:3128","m":"the \"model\""}"#
        ]
    );
    assert_eq!((called.env.len(), called.files.len()), (0, 0));
}

#[test]
fn each_preset_is_called_as_it_should_be() {
    for preset in RunnerPreset::ALL.iter().filter(|preset| **preset != RunnerPreset::Goose) {
        for wire in Preset::of(*preset).wires {
            let provider = wire.providers[0];
            for resumes in [false, true] {
                let called = launch(&spec(Some(*preset), &["p"]), provider, None, resumes, &PLACES);
                let all = format!("{called:?}");
                for left in ["{query}", "{session}", "{meter}", "{key}", "{output}", "{home}"] {
                    assert!(!all.contains(left), "{preset}: {left} in {all}");
                }
                assert_eq!(called.argv.iter().filter(|word| word.contains("do {model} \"it\"")).count(), 1);
                assert_eq!(
                    called.argv.iter().any(|word| word == "s-1"),
                    resumes || Preset::of(*preset).names_session
                );
                for (name, value) in called.env.iter().filter(|(_, value)| value.starts_with('{')) {
                    serde_json::from_str::<serde_json::Value>(value)
                        .unwrap_or_else(|error| panic!("{name}: {error}"));
                }
                for (path, text) in called.files.iter().filter(|(path, _)| path.ends_with(".toml")) {
                    toml::from_str::<toml::Value>(text).unwrap_or_else(|error| panic!("{path}: {error}"));
                }
            }
        }
    }
}

#[test]
fn permissions_leave_only_the_tools_of_their_kinds() {
    let tools = |default, allow: &[PermissionKind]| {
        let permissions = Permissions {
            default,
            allow: allow.iter().map(|kind| (*kind).into()).collect(),
            ask: Vec::new(),
        };
        let called = launch(
            &spec(Some(RunnerPreset::Claude), &["p"]),
            Provider::Anthropic,
            Some(&permissions),
            false,
            &PLACES,
        );
        let flag = called.argv.iter().position(|word| word == "--tools")?;
        assert!(flag < called.argv.iter().position(|word| word == "--").unwrap());
        Some(called.argv[flag + 1].clone())
    };
    assert_eq!(tools(PermissionDefault::Allow, &[]), None);
    assert_eq!(tools(PermissionDefault::Deny, &[]).as_deref(), Some(""));
    assert_eq!(
        tools(PermissionDefault::Deny, &[PermissionKind::Read, PermissionKind::Fetch]).as_deref(),
        Some("Read,Glob,Grep,WebFetch")
    );
}

#[test]
fn who_is_handed_tools_is_told_where_they_are() {
    let places = LaunchPlaces { is_handed: true, ..PLACES };
    for (preset, provider, path) in [
        (RunnerPreset::Claude, Provider::Anthropic, ".bgagent/mcp.json"),
        (RunnerPreset::Codex, Provider::OpenAi, ".codex/config.toml"),
        (RunnerPreset::Opencode, Provider::OpenAi, ".config/opencode/opencode.json"),
        (RunnerPreset::Gemini, Provider::Gemini, ".gemini/settings.json"),
    ] {
        let spec = spec(Some(preset), &["x"]);
        let text = |places: &LaunchPlaces<'_>| {
            let launched = launch(&spec, provider, None, false, places);
            let of_path: Vec<String> =
                launched.files.into_iter().filter(|(known, _)| known == path).map(|(_, text)| text).collect();
            assert!(of_path.len() < 2, "{preset}: a file is written once");
            of_path.concat()
        };
        let (with, without) = (text(&places), text(&PLACES));
        assert!(with.contains("http://127.0.0.1:3128/mcp") && !without.contains("/mcp"), "{preset}: {with}");
        match path.ends_with("json") {
            true => {
                let with: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&with).unwrap();
                assert!(without.is_empty() || with.contains_key("security"), "{preset}");
            }
            false => {
                let with: toml::Table = with.parse().unwrap();
                assert!(with["mcp_servers"]["bgagent"]["url"].is_str(), "{preset}");
            }
        }
    }
}
