//! The protocol over the real socket: golden lines, hostile input, streams without a gap.
use super::support::{Daemon, wait_for};
use serde_json::{Value, json};

const FLEET: &str = "[agents.a]\ncommand = [\"true\"]\n[agents.b]\ncommand = [\"true\"]\n";

#[test]
fn hello_agrees_or_names_both_sides() {
    let daemon = Daemon::start(FLEET);
    let view = daemon.call("hello", json!({"protocols": [1, 99], "client": "test 1"}));
    assert_eq!((&view["protocol"], &view["protocols"]), (&json!(1), &json!([1])));
    assert_eq!(view["pid"], daemon.child.as_ref().expect("it runs").id());
    let error = daemon
        .client()
        .try_call("hello", json!({"protocols": [99], "client": "test 1"}))
        .expect_err("no common one");
    assert_eq!(error["code"], 7);
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("test 1") && message.contains("99") && message.contains("[1]"), "{message}");
}

#[test]
fn bad_lines_get_an_error_and_the_connection_goes_on() {
    let daemon = Daemon::start(FLEET);
    let mut client = daemon.client();
    check(&mut client, "no json", -32700);
    check(&mut client, "\u{0}\u{1}", -32700);
    check(&mut client, "[]", -32600);
    check(&mut client, "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", -32600);
    check(&mut client, "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", -32600);
    check(&mut client, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", -32600);
    check(&mut client, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":[1]}", -32602);
    check(&mut client, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pnig\"}", -32601);
    check(&mut client, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pause_agent\",\"params\":{}}", -32602);
    check(&mut client, &"[".repeat(200_000), -32700);
    check(
        &mut client,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"get_agent_status\",\"params\":{\"agent_id\":\"../x\"}}",
        1,
    );
    assert!(client.try_call("ping", json!({"unknown": "fields are ignored"})).is_ok());

    #[track_caller]
    fn check(client: &mut super::support::Client, line: &str, code: i64) {
        client.send(line.as_bytes()).expect("it is read");
        client.send(b"\n").expect("it is read");
        let answer = client.line().expect("an answer").expect("an answer");
        assert_eq!(answer["error"]["code"], code, "{}: {answer}", &line[..line.len().min(60)]);
    }
}

#[test]
fn an_oversized_line_gets_an_error_and_the_end() {
    let daemon = Daemon::start(FLEET);
    let mut client = daemon.client();
    let _ = client.send(&vec![b'x'; (1 << 20) + 10]); // it may hang up before the last byte
    let answer = client.line().ok().flatten();
    if let Some(answer) = answer {
        assert_eq!(answer["error"]["code"], -32600);
    }
    assert!(!matches!(client.line(), Ok(Some(_))), "the connection is closed");
    assert!(daemon.client().try_call("ping", json!({})).is_ok(), "the daemon lives");
}

/// Half lines, vanished clients, clients that never read, random bytes: the daemon lives, and its
/// answers stay quick.
#[test]
fn hostile_clients_hurt_only_themselves() {
    let daemon = Daemon::start(FLEET);
    let mut never_reads = Vec::new();
    for _ in 0..20 {
        let mut client = daemon.client();
        for _ in 0..200 {
            if client.send(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"list_agents\"}\n").is_err() {
                break;
            }
        }
        never_reads.push(client);
        let mut half = daemon.client();
        let _ = half.send(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"shut");
    }
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..500 {
        let mut client = daemon.client();
        let mut bytes = Vec::new();
        for _ in 0..64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes.extend(random.to_be_bytes());
        }
        bytes.push(b'\n');
        let _ = client.send(&bytes);
    }
    let began = std::time::Instant::now();
    daemon.call("list_agents", json!({}));
    assert!(began.elapsed() < super::support::SOON);
}

#[test]
fn a_mutation_that_is_sent_again_gets_the_same_answer() {
    let mut daemon = Daemon::start(FLEET);
    let params = json!({"agent_id": "a", "request_id": "once"});
    let first = daemon.call("run_agent", params.clone());
    assert_eq!(daemon.call("run_agent", params.clone()), first);
    daemon.until("background_task_completed", "a");
    daemon.kill();
    daemon.up();
    assert_eq!(daemon.call("run_agent", params), first, "also after a crash");
    assert_eq!(daemon.call("list_runs", json!({"agent_id": "a"})).as_array().map(Vec::len), Some(1));
}

/// The same, while the first one is still on its way to the disk.
#[test]
fn a_mutation_that_is_sent_again_too_soon_is_done_once() {
    let daemon = Daemon::start("[agents.a]\ncommand = [\"true\"]\noverlap = \"parallel\"\n");
    let mut client = daemon.client();
    client.call("ping", json!({}));
    let lock = daemon.lock_database();
    for id in [10, 11, 12] {
        let params = json!({"agent_id": "a", "request_id": "once"});
        let line = json!({"jsonrpc": "2.0", "id": id, "method": "run_agent", "params": params});
        client.send(format!("{line}\n").as_bytes()).expect("it is read");
    }
    client.send(b"{\"jsonrpc\":\"2.0\",\"id\":13,\"method\":\"ping\"}\n").expect("it is read");
    let mut answers = Vec::new();
    let mut answer = || client.line().expect("a line").expect("an answer");
    // it is answered when the calls before it are in the loop's inbox; records on a server are not locked, and come earlier
    loop {
        let next = answer();
        if next["id"] == 13 {
            break;
        }
        answers.push(next);
    }
    drop(lock);
    while answers.len() < 3 {
        answers.push(answer());
    }
    for answer in &answers {
        assert!(answer["result"]["run_id"].is_string(), "{answer}");
        assert_eq!(answer["result"], answers[0]["result"]);
    }
    assert_eq!(daemon.call("list_runs", json!({"agent_id": "a"})).as_array().map(Vec::len), Some(1));
}

/// A run that never began leaves no record; its end is told all the same, and told again.
#[test]
fn a_run_that_waits_is_cancelled_and_that_is_told_again() {
    let mut daemon = Daemon::start(
        "[daemon]\nmax_parallel_runs = 1\n[agents.a]\ncommand = [\"sleep\", \"600\"]\n\
         [agents.b]\ncron = \"* * * * * *\"\ncommand = [\"true\"]\n",
    );
    let running = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    // an earlier slot of the other one may have been first
    daemon.until("background_task_started", "a");
    let waiting = wait_for("a slot that waits", || {
        let runs = daemon.call("list_runs", json!({"agent_id": "b", "status": "queued"}));
        runs[0]["run_id"].as_str().map(str::to_owned)
    });
    let params = json!({"run_id": waiting, "request_id": "once"});
    let cancelled = daemon.call("cancel_run", params.clone());
    assert_eq!((&cancelled["run_id"], &cancelled["status"]), (&json!(waiting), &json!("cancelled")));
    assert_eq!(daemon.call("cancel_run", params.clone()), cancelled);
    daemon.kill();
    daemon.up();
    assert_eq!(daemon.call("cancel_run", params), cancelled);
    let error = daemon.client().try_call("cancel_run", json!({"run_id": running, "request_id": ""}));
    assert_eq!(error.expect_err("no id")["code"], -32602);
}

#[test]
fn a_kept_answer_tells_the_event_that_it_led_to() {
    let mut daemon = Daemon::start("[agents.a]\ninterval = 3600\ncommand = [\"true\"]\n");
    daemon.until("background_task_completed", "a");
    let pause = json!({"agent_id": "a", "request_id": "pause"});
    let paused = daemon.call("pause_agent", pause.clone());
    let event = daemon.until_event("the pause", |event| {
        event["type"] == "background_agent_status" && event["agent_id"] == "a"
    });
    assert_eq!(paused["seq"], event["seq"]);
    let resume = json!({"agent_id": "a"});
    assert_eq!(daemon.call("resume_agent", resume)["seq"].as_u64(), event["seq"].as_u64().map(|seq| seq + 1));
    let skip = json!({"agent_id": "a", "request_id": "skip"});
    let skipped = daemon.call("skip_agent", skip.clone());
    assert_eq!(skipped["agent_id"], "a");
    for _ in 0..2 {
        assert_eq!(daemon.call("pause_agent", pause.clone()), paused);
        assert_eq!(daemon.call("skip_agent", skip.clone()), skipped);
        daemon.kill();
        daemon.up();
    }
}

#[test]
fn a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let mut daemon = Daemon::start("[agents.a]\ninterval = 1\ncommand = [\"true\"]\n");
    let mut seen: Vec<u64> = Vec::new();
    for life in 0..4u64 {
        let mut client = daemon.client();
        let from = seen.last().map_or(1, |seq| seq + 1);
        client.call("stream_agent_events", json!({"from": from, "follow": true}));
        let enough = seen.len() + 6;
        while seen.len() < enough {
            let line = client.line().expect("a line").expect("more to come");
            if line["method"] == "event" {
                seen.push(line["params"]["event"]["seq"].as_u64().expect("a number"));
            }
        }
        if life < 3 {
            daemon.kill();
            daemon.up();
        }
    }
    let expected: Vec<u64> = (1..=seen.len() as u64).collect();
    assert_eq!(seen, expected);
}

#[test]
fn streams_are_filtered_bounded_and_ended() {
    let daemon = Daemon::start(FLEET);
    for agent in ["a", "b", "a"] {
        daemon.call("run_agent", json!({"agent_id": agent}));
        wait_for("it to end", || {
            let view = daemon.call("get_agent_status", json!({"agent_id": agent}));
            (view["activity"] == "idle").then_some(())
        });
    }
    let events = |params: Value| {
        let mut client = daemon.client();
        client.call("stream_agent_events", params);
        let mut found = Vec::new();
        loop {
            let line = client.line().expect("a line").expect("an end");
            match line["method"].as_str() {
                Some("event") => found.push(line["params"]["event"].clone()),
                Some("end") => return found,
                _ => {}
            }
        }
    };
    let completed =
        events(json!({"from": 0, "follow": false, "types": ["background_task_completed"], "agents": ["a"]}));
    assert_eq!(completed.len(), 2);
    assert!(
        completed
            .iter()
            .all(|event| event["agent_id"] == "a" && event["type"] == "background_task_completed")
    );
    assert_eq!(events(json!({"last": 2, "follow": false})).len(), 2);
    assert_eq!(events(json!({"from": 0, "follow": false, "agents": ["?"], "types": ["*_started"]})).len(), 3);
    let fields = &events(json!({"from": 0, "follow": false, "types": ["background_task_started"]}))[0];
    for field in ["seq", "ts", "type", "agent_id", "run_id", "payload"] {
        assert!(!fields[field].is_null(), "{field}: {fields}");
    }
    for field in ["run_count", "attempt", "trigger"] {
        assert!(!fields["payload"][field].is_null(), "{field}: {fields}");
    }
    let mut client = daemon.client();
    let subscription = client.call("stream_agent_events", json!({"follow": true}))["subscription"].clone();
    client.call("unsubscribe", json!({"subscription": subscription}));
    assert!(client.try_call("unsubscribe", json!({"subscription": 99})).is_err());
}

#[test]
fn frozen_methods_answer_without_a_hello() {
    let mut daemon = Daemon::start(FLEET);
    assert_eq!(daemon.call("get_daemon_status", json!({}))["state"], "ok");
    daemon.call("shutdown", json!({}));
    assert_eq!(daemon.wait_end(), Some(0));
    assert!(!daemon.path("socket").exists() && !daemon.path("state/daemon.json").exists());
}
