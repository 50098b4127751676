//! Requests that almost make sense, over the real socket: every method, parameters of every shape, and
//! bytes that are changed at random. Each line gets one answer, and the daemon lives.
//!
//! A short run is a part of the suite. `BGAGENT_FUZZ_SECONDS=3600 cargo test --test it fuzz -- --nocapture`
//! goes on for an hour, and `BGAGENT_FUZZ_SEED` repeats a run from the seed that it printed.
use super::rng::Rng;
use super::support::{Client, Daemon};
use bgagent::protocol::Request;
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Keys that parameters have, and some that they don't.
const KEYS: &[&str] = &[
    "agent_id",
    "agents",
    "all",
    "run_id",
    "reason",
    "for",
    "until",
    "query",
    "limit",
    "status",
    "from",
    "since",
    "follow",
    "types",
    "subscription",
    "request_id",
    "key",
    "name",
    "args",
    "by",
    "at",
    "protocols",
    "client",
    "now",
    "mode",
    "rehearse",
    "replay_of",
    "model",
    "id",
    "approved",
    "x",
    "",
];

fn value(random: &mut Rng, depth: usize) -> Value {
    match random.below(if depth == 0 { 9 } else { 11 }) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(random.next()),
        3 => json!(-(random.below(1 << 40) as i64)),
        4 => json!(*random.pick(&[0.5, -1e300, 1e18, f64::MIN_POSITIVE])),
        5 => json!(*random.pick(&[
            "a",
            "b",
            "news-*",
            "*",
            "../x",
            "",
            "\u{0}",
            "ä\u{202e}",
            "now",
            "10m",
            "-1s"
        ])),
        6 => json!(*random.pick(&[
            "2026-11-24T10:00:00Z",
            "9999-12-31T23:59:59Z",
            "-292277026596-01-01",
            "12:61"
        ])),
        7 => json!("x".repeat(random.below(5000))),
        8 => json!(*random.pick(&[
            "0199a0c0-0000-7000-8000-000000000000",
            "0199",
            "running",
            "agent",
            "' OR 1=1 --"
        ])),
        9 => (0..random.below(5)).map(|_| value(random, depth - 1)).collect(),
        _ => params(random, depth - 1),
    }
}

fn params(random: &mut Rng, depth: usize) -> Value {
    let mut all = serde_json::Map::new();
    for _ in 0..random.below(6) {
        all.insert((*random.pick(KEYS)).to_owned(), value(random, depth));
    }
    Value::Object(all)
}

/// A line without its end. Its `id` is 7, if that survives.
fn line(random: &mut Rng, methods: &[&str]) -> Vec<u8> {
    let params = if random.below(10) == 0 { value(random, 2) } else { params(random, 3) };
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": random.pick(methods), "params": params});
    let mut bytes = call.to_string().into_bytes();
    let changes = if random.below(3) == 0 { 1 + random.below(4) } else { 0 };
    for _ in 0..changes {
        let at = random.below(bytes.len().max(1));
        match random.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), random.next() as u8),
            2 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            _ => {
                let piece = bytes[at.min(bytes.len())..].to_vec();
                bytes.extend(piece);
            }
        }
    }
    bytes.retain(|byte| !matches!(byte, b'\n' | b'\r'));
    if bytes.iter().all(u8::is_ascii_whitespace) {
        bytes = b"x".to_vec(); // an empty line is no message, and gets no answer
    }
    bytes
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn each_line_gets_an_answer_and_the_daemon_lives() {
    let seed = number("BGAGENT_FUZZ_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20 | 7);
    let time = number("BGAGENT_FUZZ_SECONDS").map(Duration::from_secs);
    println!("BGAGENT_FUZZ_SEED={seed}");
    let mut random = Rng::new(seed);
    let daemon = Daemon::start(
        "[agents.a]\ncommand = [\"true\"]\n[agents.b]\ninterval = 3600\ncommand = [\"true\"]\n[agents.news-1]\ntool = \"system_metrics\"\n",
    );
    let methods: Vec<&str> = Request::NAMES.iter().copied().filter(|name| *name != "shutdown").collect();
    let connect = || Client::new(UnixStream::connect(daemon.path("socket")).expect("it listens"));
    let (began, mut sent) = (Instant::now(), 0_u32);
    while time.map_or(sent < 3000, |time| began.elapsed() < time) {
        // a connection has its bounds, of subscriptions for example
        let mut client = connect();
        for _ in 0..50 {
            let line = line(&mut random, &methods);
            let shown = || String::from_utf8_lossy(&line).chars().take(300).collect::<String>();
            client.send(&[&line[..], b"\n"].concat()).expect("it is read");
            sent += 1;
            // a call without an id is a notification: nobody answers it
            if serde_json::from_slice::<Value>(&line)
                .is_ok_and(|call| call.is_object() && call.get("id").is_none())
            {
                client.call("ping", json!({}));
                continue;
            }
            loop {
                let answer =
                    client.line().unwrap_or_else(|error| panic!("no answer to {}: {error}", shown()));
                let answer = answer.unwrap_or_else(|| panic!("hung up after {}", shown()));
                assert_eq!(answer["jsonrpc"], "2.0", "{answer}");
                // events of subscriptions come in between
                if answer.get("method").is_none() {
                    assert!(answer.get("result").is_some() != answer.get("error").is_some(), "{answer}");
                    assert_ne!(
                        answer["error"]["code"],
                        -32603,
                        "an internal error after {}: {answer}",
                        shown()
                    );
                    break;
                }
            }
        }
    }
    println!("{sent} lines");
    let mut client = connect();
    client.call("ping", json!({}));
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}
