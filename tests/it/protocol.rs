//! The clients of docs/PROTOCOL.md, as they stand there, against a real daemon.
use crate::support::{Daemon, wait_for};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The program of the document that is in this language. There is one.
fn program(language: &str) -> String {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PROTOCOL.md");
    let document = std::fs::read_to_string(document).expect("the document can be read");
    let fence = format!("```{language}\n");
    let mut parts = document.split(fence.as_str()).skip(1);
    let program = parts.next().and_then(|rest| rest.split("\n```").next()).expect("a program").to_owned();
    assert!(parts.next().is_none(), "two programs in {language}");
    program
}

fn is_there(name: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", name]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// A program that follows, with what it starts.
struct Follower {
    child: Child,
}

impl Follower {
    fn start(daemon: &Daemon, interpreter: &str, file: &str) -> Self {
        let printed = std::fs::OpenOptions::new().create(true).append(true).open(daemon.path("printed"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(daemon.path("followed"));
        let child = Command::new(interpreter)
            .args([daemon.path(file), daemon.path("socket"), daemon.path("cursor")])
            .stdin(Stdio::null())
            .stdout(printed.expect("a file"))
            .stderr(log.expect("a file"))
            .process_group(0)
            .spawn()
            .expect("the interpreter can be started");
        Self { child }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

/// What was printed so far, whole lines of it.
fn printed(daemon: &Daemon) -> Vec<Value> {
    let text = std::fs::read_to_string(daemon.path("printed")).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The program has printed an event that says so, and put it into its cursor.
#[track_caller]
fn dealt_with(daemon: &Daemon, reason: &str) {
    wait_for(&format!("an event with the reason {reason}"), || {
        let seq = printed(daemon).iter().find(|event| event["payload"]["reason"] == reason)?["seq"].clone();
        let cursor = std::fs::read_to_string(daemon.path("cursor")).unwrap_or_default();
        (cursor.split_whitespace().last() == Some(&seq.to_string())).then_some(())
    });
}

fn pause(daemon: &Daemon, reason: &str) {
    daemon.call("pause_agent", json!({"agent_id": "a", "reason": reason}));
    daemon.call("resume_agent", json!({"agent_id": "a", "reason": format!("after {reason}")}));
}

/// It misses nothing and prints nothing twice, while the daemon and itself go down and come up again.
fn follows(interpreter: &str, file: &str, program: &str) {
    let mut daemon = Daemon::start(
        "[agents.a]\ninterval = \"1h\"\nfirst_run = \"after_interval\"\ncommand = [\"true\"]\n",
    );
    std::fs::write(daemon.path(file), program).expect("the folder can be written");
    pause(&daemon, "before");
    let follower = Follower::start(&daemon, interpreter, file);
    dealt_with(&daemon, "after before");
    pause(&daemon, "live");
    dealt_with(&daemon, "after live");
    daemon.kill();
    daemon.up();
    pause(&daemon, "another life");
    dealt_with(&daemon, "after another life");
    drop(follower);
    pause(&daemon, "unseen");
    let follower = Follower::start(&daemon, interpreter, file);
    dealt_with(&daemon, "after unseen");
    drop(follower);
    let numbers: Vec<u64> = printed(&daemon).iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn the_python_client_of_the_document_follows() {
    if !is_there("python3") {
        eprintln!("skipped: there is no python3 on this machine");
        return;
    }
    follows("python3", "follow.py", &program("python"));
}

#[test]
fn the_shell_client_of_the_document_follows() {
    if !is_there("jq") || !(is_there("socat") || is_there("nc")) {
        eprintln!("skipped: there is no jq, or neither socat nor nc, on this machine");
        return;
    }
    follows("sh", "follow.sh", &program("sh"));
}
