//! Runs of models against an endpoint on this machine that answers at once, or slowly.
use super::{Client, Daemon, percentile, row};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ANSWER: &str = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"All is well."},"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":5}}"#;

/// Answers each request after `delay`; ends with the program.
fn endpoint(delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("a flag");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, delay));
            }
        });
    });
    format!("http://{address}/v1")
}

async fn serve(mut stream: tokio::net::TcpStream, delay: Duration) {
    let _ = stream.set_nodelay(true);
    let mut got = Vec::new();
    let mut piece = [0; 16_384];
    loop {
        let Ok(count @ 1..) = stream.read(&mut piece).await else { return };
        got.extend_from_slice(&piece[..count]);
        let Some(head) = got.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&got[..head]).to_lowercase();
        let length = text.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        if got.len() < head + 4 + length {
            continue;
        }
        got.drain(..head + 4 + length);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ANSWER}",
            ANSWER.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn config(url: &str, parallel: usize) -> String {
    format!(
        "[daemon]\nmax_parallel_runs = {parallel}\n[models.m]\nprovider = \"openai-compatible\"\nmodel = \"m\"\n\
         base_url = \"{url}\"\nprice = {{ input = 1.0, output = 1.0 }}\n\
         [agents.a]\nquery = \"Is all well?\"\nmodel = \"m\"\noverlap = \"parallel\"\n"
    )
}

/// Asks for so many runs, in one go.
pub(super) fn start(client: &mut Client, runs: usize) {
    let mut calls = String::new();
    for id in 0..runs {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "run_agent", "params": {"agent_id": "a"}});
        writeln!(calls, "{call}").expect("a string");
    }
    let mut output = client.output.try_clone().expect("a socket");
    let sender = std::thread::spawn(move || output.write_all(calls.as_bytes()).expect("it is read"));
    for _ in 0..runs {
        client.line();
    }
    sender.join().expect("it ends");
}

/// Claimed, asked, answered, recorded and ended.
pub(super) fn runs_per_second() {
    const RUNS: usize = 3000;
    let daemon = Daemon::start(&config(&endpoint(Duration::ZERO), 64));
    let mut client = daemon.client();
    let began = Instant::now();
    start(&mut client, RUNS);
    client.events("background_task_completed", 1, RUNS);
    let rate = RUNS as f64 / began.elapsed().as_secs_f64();
    row("model runs, 64 at a time, instant endpoint", format!("{rate:.0} /s"));
}

/// What a request takes beyond a bare one on the same endpoint, one run after the other.
pub(super) fn own_time() {
    const RUNS: usize = 200;
    let url = endpoint(Duration::ZERO);
    let address = url.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let mut stream = TcpStream::connect(&address).expect("it listens");
    stream.set_nodelay(true).expect("a flag");
    let mut bare: Vec<f64> = (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            stream
                .write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
                .expect("it is read");
            let mut piece = [0; 4096];
            assert!(stream.read(&mut piece).expect("an answer") > 0);
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    let daemon = Daemon::start(&config(&url, 1));
    let mut client = daemon.client();
    start(&mut client, RUNS);
    client.events("background_task_completed", 1, RUNS);
    let database = daemon.folder.path().join("state/bgagent.db");
    let database =
        rusqlite::Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
            .expect("it opens");
    // from "held, to be sent" to "answered", both durable
    let mut statement = database
        .prepare("SELECT (b.at - a.at) / 1000.0 FROM steps a JOIN steps b ON b.run = a.run AND b.n = a.n + 1 WHERE a.n = 1")
        .expect("SQL");
    let mut ours: Vec<f64> = statement.query_map([], |row| row.get(0)).expect("rows").flatten().collect();
    assert!(!ours.is_empty());
    let (ours, bare) = (percentile(&mut ours, 0.5), percentile(&mut bare, 0.5));
    row(
        "a request: ours from held to answered, a bare one, the difference (medians)",
        format!("{ours:.2} ms, {bare:.2} ms, {:.2} ms", ours - bare),
    );
}

/// Memory with so many runs in flight on a slow endpoint.
pub(super) fn in_flight(runs: usize) {
    let daemon = Daemon::start(&config(&endpoint(Duration::from_secs(8)), runs));
    let mut client = daemon.client();
    let before = daemon.memory();
    start(&mut client, runs);
    client.events("model_request", 1, runs);
    row(
        &format!("{runs} model runs in flight: memory, of it for the runs"),
        format!("{:.0} MiB, {:.0} MiB", daemon.memory(), daemon.memory() - before),
    );
}
