//! `bgagent top` through the real program: in a terminal, as lines, and once.
use super::pty::Pty;
use super::support::{Daemon, bgagent, code, signal, wait_for};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const FLEET: &str = "[agents.good]\ninterval = 3600\ncommand = \"echo fine\"\n\
    [agents.bad]\ncommand = \"echo what it said before; exit 3\"\n\
    [agents.long]\ncommand = [\"sleep\", \"600\"]\n";

/// In a terminal with colours and UTF-8.
fn top(daemon: &Daemon, args: &[&str]) -> Command {
    let mut command = daemon.command(&[&["top"], args].concat());
    command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
    command
}

#[test]
fn once_prints_what_needs_a_person_and_ends() {
    let daemon = Daemon::start(FLEET);
    daemon.run_by_hand("bad");
    code(&daemon, &["top", "--once"], 0, "NEEDS YOU 1");
    code(&daemon, &["top", "--once"], 0, "exit status 3");
    code(&daemon, &["top", "--json"], 2, "has no JSON");
    code(&daemon, &["top", "--once", "--plain"], 2, "cannot be used with");
    let ascii = daemon.ok(&["top", "--once", "--ascii"]);
    assert!(ascii.is_ascii() && ascii.contains("X bad"), "{ascii}");
}

#[test]
fn without_a_daemon_it_says_what_all_commands_say() {
    let daemon = Daemon::with(FLEET);
    for args in [&["top"][..], &["top", "--once"], &["top", "--plain"]] {
        code(&daemon, args, 3, "`bgagent daemon` starts it");
    }
    let mut pty = Pty::start(&mut top(&daemon, &[]), 80, 24);
    assert_eq!(pty.ended().code(), Some(3));
    assert!(!pty.written().contains("\u{1b}[?1049h"), "the terminal was never taken over: {}", pty.written());
}

#[test]
fn lines_tell_each_change_also_over_a_restart() {
    let mut daemon = Daemon::start(FLEET);
    // no terminal: the same as --plain
    let mut command = top(&daemon, &[]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut until = |text: &str| {
        for line in lines.by_ref() {
            if line.expect("a line").contains(text) {
                return;
            }
        }
        panic!("`{text}` did not come");
    };
    until("NOTHING NEEDS YOU");
    daemon.run_by_hand("bad");
    until("bad failing: exit status 3");
    daemon.kill();
    until("the daemon has gone away");
    daemon.up();
    until("the daemon is back");
    daemon.call("stop_agent", json!({"agent_id": "bad"}));
    until("bad no longer needs you (was: failing)");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn a_person_goes_from_a_red_line_to_its_cause() {
    let daemon = Daemon::start(FLEET);
    daemon.run_by_hand("bad");
    let mut pty = Pty::start(&mut top(&daemon, &[]), 80, 24);
    pty.until(&["NEEDS YOU 1", ">✗ bad", "[1 Now]", "✓ good"]);
    pty.press("\r");
    pty.until(&["Now › bad", "exit status 3", "what it said before", "agents.toml"]);
    pty.press("\r");
    pty.until(&["› run", "because", "manual"]);
    pty.press("l");
    pty.until(&["output", "what it said before"]);
    // any size will do
    for (columns, lines) in [(1, 1), (300, 100), (20, 8), (120, 30)] {
        pty.resize(columns, lines);
    }
    pty.until(&["what it said before"]);
    pty.press("qq");
    pty.until(&["NEEDS YOU 1", ">✗ bad", "│"]);
    pty.press("q");
    assert!(pty.ended().success());
    assert!(pty.written().contains("\u{1b}[?1049l"), "the terminal is given back");
}

#[test]
fn acts_are_asked_for_and_done() {
    let daemon = Daemon::start(FLEET);
    let mut pty = Pty::start(&mut top(&daemon, &[]), 100, 24);
    let state = |agent: &str| daemon.call("get_agent_status", json!({"agent_id": agent}))["state"].clone();
    pty.until(&["[1 Now]", "good"]);
    pty.press("2/good\r");
    pty.until(&[">✓ good"]);
    pty.press("P\r");
    pty.until(&["Pause good until somebody resumes it?  y/N"]);
    // Enter is a no, as soon as it is taken for an answer
    wait_for("the answer", || {
        pty.press("\r");
        (!pty.shown().contains("y/N")).then_some(())
    });
    assert_eq!(state("good"), "active");
    // Enter may have opened pages meanwhile; Backspace leads back, and does nothing on the first view
    wait_for("the first view", || {
        pty.press("\u{7f}");
        pty.shown().contains("[1 Now]").then_some(())
    });
    pty.press("2/good\r");
    pty.until(&[">✓ good"]);
    pty.press("P30m\r");
    pty.until(&["Pause good for 30m?"]);
    wait_for("the pause", || {
        pty.press("y");
        (state("good") == "paused").then_some(())
    });
    pty.until(&[">‖ good", "paused"]);
}

#[test]
fn read_only_does_nothing_and_a_signal_gives_the_terminal_back() {
    let daemon = Daemon::start(FLEET);
    let mut pty = Pty::start(&mut top(&daemon, &["--read-only"]), 80, 24);
    pty.until(&["good"]);
    pty.press("2R");
    pty.until(&["read-only: nothing can be done here"]);
    assert!(!pty.shown().contains("y/N"));
    signal(pty.child.id(), rustix::process::Signal::TERM);
    assert!(pty.ended().success());
    assert!(pty.written().contains("\u{1b}[?1049l"), "the terminal is given back");
}

#[test]
fn a_daemon_that_dies_is_waited_for() {
    let mut daemon = Daemon::start(FLEET);
    daemon.call("run_agent", json!({"agent_id": "long"}));
    let mut pty = Pty::start(&mut top(&daemon, &[]), 80, 24);
    pty.until(&["RUNNING 1", "▶ long"]);
    daemon.kill();
    pty.until(&["daemon away since", "long"]);
    pty.press("R");
    pty.until(&["the daemon is away"]);
    daemon.up();
    // its run was cut off, and it is known without a key
    pty.until(&["NEEDS YOU 1", "✗ long"]);
    assert!(!pty.shown().contains("daemon away"), "{}", pty.shown());
}

#[test]
fn a_terminal_that_can_do_nothing_gets_lines() {
    let daemon = Daemon::start(FLEET);
    let mut command = bgagent();
    command.arg("--state-dir").arg(daemon.path("state")).arg("top").env("TERM", "dumb").env("LC_ALL", "C");
    let mut pty = Pty::start(&mut command, 80, 24);
    let shown = pty.until(&["NOTHING NEEDS YOU", "good"]);
    assert!(shown.is_ascii() && !pty.written().contains('\u{1b}'), "{shown}");
}
