//! `kill -9` in the middle of a conversation.
use super::super::support::wait_for;
use super::*;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SERVER: &str = include_str!("server.py");

/// A daemon whose agent has a tool with an effect: a line in the file `witness`.
fn with_witness(endpoint: &Endpoint) -> Daemon {
    let mut daemon = Daemon::with("");
    let script = daemon.path("server.py");
    fs::write(&script, SERVER).expect("the folder can be written");
    let witness = daemon.path("witness");
    daemon.configure(&config(
        endpoint,
        PRICE,
        &format!(
            "[mcp.s]\ncommand = [\"python3\", \"{}\", \"{}\"]\n\
             [agents.a]\nquery = \"Write.\"\nmodel = \"m\"\ntools = [\"s/write\", \"remember\", \"system_metrics\"]\n",
            script.display(),
            witness.display()
        ),
    ));
    daemon.up();
    daemon
}

/// What the model wants, by what it has seen: three calls one after the other, then an answer.
fn stage(request: &Request) -> Reply {
    match tool_messages(request) {
        0 => Reply::calls(&[("system_metrics", "{\"top\":0}")]),
        1 => Reply::calls(&[("remember", "{\"key\":\"k\",\"text\":\"v\"}")]),
        2 => Reply::calls(&[("s/write", "{\"text\":\"once\"}")]),
        _ => Reply::text("done"),
    }
}

#[test]
fn a_run_goes_on_from_its_last_finished_step() {
    for killed_at in 0..4 {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        // the request of this stage gets no answer the first time
        let endpoint = Endpoint::answering(move |request| {
            let first = tool_messages(request) == killed_at && count.fetch_add(1, Ordering::SeqCst) == 0;
            if first { Reply::hang() } else { stage(request) }
        });
        let mut daemon = with_witness(&endpoint);
        let id = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
        wait_for("the request", || (asked.load(Ordering::SeqCst) > 0).then_some(()));
        daemon.kill();
        daemon.up();
        let view = ended(&daemon, &id);
        assert_eq!(view["status"], "completed", "{killed_at}: {view}");
        assert_eq!(of_kind(&view, "background_task_resumed").len(), 1);
        assert_eq!(of_kind(&view, "tool_call_started").len(), 3, "no finished call is repeated");
        assert_eq!(fs::read_to_string(daemon.path("witness")).unwrap(), "once\n");
        assert_eq!(endpoint.requests().len(), 5, "four, and the one that nobody saw answered");
        // that one is charged by its worst case
        assert_eq!(view["usage"]["requests"], 5, "{view}");
        let charged = daemon.call("get_usage", json!({"by": "agent"}));
        assert_eq!(charged[0]["usage"]["requests"], 5, "{charged}");
    }
}

#[test]
fn an_effect_in_flight_is_not_repeated_and_the_model_is_told() {
    let endpoint = Endpoint::answering(|request| match tool_messages(request) {
        0 => Reply::calls(&[("s/write", "{\"text\":\"slow\"}")]),
        _ => Reply::text("I can't know"),
    });
    let mut daemon = with_witness(&endpoint);
    let id = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    wait_for("the effect", || {
        fs::read_to_string(daemon.path("witness")).ok().filter(|text| !text.is_empty())
    });
    daemon.kill();
    daemon.up();
    let view = ended(&daemon, &id);
    assert_eq!(view["status"], "completed", "{view}");
    assert_eq!(fs::read_to_string(daemon.path("witness")).unwrap(), "slow\n");
    let told = text_of(&endpoint.requests()[1]);
    assert!(told.contains("outcome unknown"), "{told}");
    let warnings = view["warnings"].to_string();
    assert!(warnings.contains("s/write") && warnings.contains("unknown"), "{warnings}");
}

#[test]
fn a_call_that_may_be_repeated_is() {
    let endpoint = Endpoint::answering(|request| match tool_messages(request) {
        0 => Reply::calls(&[("system_metrics", "{\"top\":1}")]),
        _ => Reply::text("done"),
    });
    let mut daemon = with_witness(&endpoint);
    let id = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    // the call takes about a fifth of a second
    daemon.until("tool_call_started", "a");
    daemon.kill();
    daemon.up();
    assert_eq!(ended(&daemon, &id)["status"], "completed");
}

#[test]
fn a_shutdown_leaves_the_run_to_the_next_life() {
    let asked = AtomicUsize::new(0);
    let endpoint = Endpoint::answering(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::hang(),
        _ => Reply::text("done"),
    });
    let mut daemon = with_witness(&endpoint);
    let id = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    endpoint.until_asked(1);
    daemon.down();
    daemon.up();
    assert_eq!(ended(&daemon, &id)["status"], "completed");
}
