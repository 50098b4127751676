//! A reader of metrics: a request by hand, and what is in its answer.
use crate::support::{Daemon, PATIENCE, wait_for};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// Where a daemon lets metrics be read.
#[track_caller]
pub(super) fn address(daemon: &Daemon) -> String {
    wait_for("a listener", || {
        let metrics = daemon.call("get_daemon_status", json!({}))["metrics"].clone();
        metrics["problem"].is_null().then(|| metrics["address"].as_str().map(str::to_owned)).flatten()
    })
}

/// Asks for a path: status, headers in lower case, body.
#[track_caller]
pub(super) fn get(address: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer that ends");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, format!("{}\r\n", head.to_ascii_lowercase()), body.to_owned())
}

/// All metrics of a moment.
pub(super) struct Scrape {
    pub(super) text: String,
}

impl Scrape {
    pub(super) fn of(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// The value of a series, written with its labels.
    pub(super) fn value(&self, series: &str) -> Option<f64> {
        let mut lines = self.text.lines();
        lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }
}

/// Reads the metrics of a daemon.
#[track_caller]
pub(super) fn scrape(daemon: &Daemon) -> Scrape {
    let (status, _, text) = get(&address(daemon), "/metrics");
    assert_eq!(status, 200, "{text}");
    Scrape { text }
}

/// Prometheus's own tool finds nothing wrong with this text, where it is installed.
#[track_caller]
pub(super) fn promtool(text: &str) {
    let mut program = Command::new("promtool");
    program.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = match program.spawn() {
        Ok(program) => program,
        Err(error) => return println!("not checked: there is no promtool ({error})"),
    };
    program.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
    let output = program.wait_with_output().expect("it ends");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
