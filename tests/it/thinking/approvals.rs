//! Calls that need a person: they wait without holding a place, over restarts, until somebody decides.
use super::*;

const KEYS: &str = "tools = [\"remember\", \"recall\"]\napprove = [\"remember\"]\napproval = \"wait\"";

fn model() -> Endpoint {
    Endpoint::answering(|request| match results(request).first() {
        None => Reply::calls(&[("recall", "{}"), ("remember", r#"{"key": "k", "text": "v"}"#)]),
        Some(_) => Reply::text(&results(request)[1]),
    })
}

/// Starts a run and waits for its wish.
fn wish(daemon: &Daemon) -> (Value, Value) {
    let run = start(daemon);
    let wished =
        daemon.until_event("a wish", |event| event["type"] == "approval_requested" && event["run_id"] == run);
    (run, wished["payload"].clone())
}

#[test]
fn a_call_waits_and_is_made_when_a_person_says_so_also_after_a_restart() {
    let endpoint = model();
    let mut daemon = Daemon::start(&agent(&endpoint, KEYS));
    let (run, wished) = wish(&daemon);
    assert_eq!(wished["tool"], "remember");
    for killed in [false, true] {
        if killed {
            daemon.kill();
            daemon.up();
        }
        let view = daemon.call("get_run", json!({"run_id": run}));
        assert_eq!(view["status"], "waiting_approval", "{view:#}");
        let list = daemon.call("list_approvals", json!({}));
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{list:#}");
        assert_eq!((&list[0]["id"], &list[0]["tool"]), (&wished["approval_id"], &json!("remember")));
        assert_eq!((&list[0]["args"]["text"], &list[0]["run_id"]), (&json!("v"), &run));
        assert_eq!(daemon.call("list_agents", json!({}))[0]["activity"], "waiting_approval");
        assert_eq!(daemon.call("get_daemon_status", json!({}))["running"], 0);
    }
    assert_eq!(endpoint.requests().len(), 1);
    daemon.call("decide_approval", json!({"id": wished["approval_id"], "approve": true}));
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "completed", "{view:#}");
    assert!(view["result"].as_str().expect("text").contains("\"kept\":true"), "{view:#}");
    assert_eq!(told(&view, "approval_decided")[0]["approved"], true);
    assert_eq!(told(&view, "tool_call_result").len(), 2);
    assert_eq!(endpoint.requests().len(), 2);
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"}))[0]["value"], "v");
    assert_eq!(daemon.call("list_approvals", json!({})), json!([]));
    books_agree(&daemon, &[&view]);
    // a second word about it is too late
    let late = json!({"id": wished["approval_id"], "approve": false});
    daemon.client().try_call("decide_approval", late).expect_err("it is decided");
}

#[test]
fn somebody_is_told_that_a_call_waits_once_and_over_restarts() {
    let endpoint = model();
    let told = "notify = { to = [\"night\"] }\n[notify.night]\ntype = \"file\"\npath = \"told.jsonl\"";
    let mut daemon = Daemon::start(&agent(&endpoint, &format!("{KEYS}\n{told}")));
    let (run, wished) = wish(&daemon);
    let messages = |daemon: &Daemon| -> Vec<Value> {
        let text = std::fs::read_to_string(daemon.path("told.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let first = wait_for("a message", || messages(&daemon).pop());
    assert_eq!(first["about"], "approval_requested", "{first}");
    let command = format!("bgagent approve {}", wished["approval_id"].as_str().expect("an id"));
    assert!(first["body"].as_str().is_some_and(|body| body.contains(&command)), "{first}");
    daemon.kill();
    daemon.up();
    daemon.call("decide_approval", json!({"id": wished["approval_id"], "approve": true}));
    assert_eq!(daemon.finished(&run)["status"], "completed");
    let queued: i64 =
        daemon.database().query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).expect("a number");
    // a kill right after a delivery may deliver the same message once more: it has the same id
    let all = messages(&daemon);
    assert!(queued <= 1 && all.iter().all(|message| message["id"] == first["id"]), "{queued} {all:?}");
}

#[test]
fn a_call_that_is_denied_is_told_and_not_made() {
    let endpoint = model();
    let daemon = Daemon::start(&agent(&endpoint, KEYS));
    let (run, wished) = wish(&daemon);
    let no = json!({"id": wished["approval_id"], "approve": false, "reason": "not today"});
    daemon.call("decide_approval", no);
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "completed", "{view:#}");
    assert!(view["result"].as_str().expect("text").contains("not today"), "{view:#}");
    let decided = told(&view, "approval_decided")[0];
    assert_eq!((&decided["approved"], &decided["reason"]), (&json!(false), &json!("not today")));
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"})), json!([]), "no session is kept, no note");
}

#[test]
fn a_kill_right_after_the_word_loses_nothing() {
    let endpoint = model();
    let mut daemon = Daemon::start(&agent(&endpoint, KEYS));
    let (run, wished) = wish(&daemon);
    daemon.call("decide_approval", json!({"id": wished["approval_id"], "approve": true}));
    daemon.kill();
    daemon.up();
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "completed", "{view:#}");
    assert_eq!(told(&view, "approval_requested").len(), 1, "nobody is asked twice");
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"}))[0]["value"], "v");
}

#[test]
fn a_stop_ends_the_wait() {
    let endpoint = model();
    let daemon = Daemon::start(&agent(&endpoint, KEYS));
    let (run, wished) = wish(&daemon);
    daemon.call("stop_agent", json!({"agent_id": "a"}));
    let view = daemon.finished(&run);
    assert_eq!(view["status"], "cancelled", "{view:#}");
    assert_eq!(daemon.call("list_approvals", json!({})), json!([]));
    let late = json!({"id": wished["approval_id"], "approve": true});
    daemon.client().try_call("decide_approval", late).expect_err("nobody waits");
    assert_eq!(endpoint.requests().len(), 1);
    // its one request is in the record and in the books
    books_agree(&daemon, &[&view]);
}

#[test]
fn where_nobody_is_asked_the_model_gets_a_no_at_once() {
    let endpoint = model();
    let daemon = Daemon::start(&agent(&endpoint, &KEYS.replace("wait", "deny")));
    let view = completed(&daemon);
    assert!(view["result"].as_str().expect("text").starts_with("denied:"), "{view:#}");
    assert!(told(&view, "approval_requested").is_empty());
    assert_eq!(told(&view, "tool_call_error")[0]["tool"], "remember");
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"})), json!([]), "no session is kept, no note");
}

#[test]
fn a_wait_ends_with_the_time_of_the_run() {
    let endpoint = model();
    let mut daemon = Daemon::start(&agent(&endpoint, &format!("{KEYS}\ntimeout = 1\ntotal_timeout = 2")));
    let (run, wished) = wish(&daemon);
    daemon.kill();
    daemon.up();
    let view = daemon.finished(&run);
    assert_eq!(
        (&view["status"], &view["error"]["kind"]),
        (&json!("timed_out"), &json!("timeout")),
        "{view:#}"
    );
    let message = view["error"]["message"].as_str().expect("text");
    assert!(message.contains("`remember`") && message.contains("`total_timeout` of 2s"), "{message}");
    assert_eq!(daemon.call("list_approvals", json!({})), json!([]));
    let late = json!({"id": wished["approval_id"], "approve": true});
    daemon.client().try_call("decide_approval", late).expect_err("nobody waits");
    assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"})), json!([]));
    books_agree(&daemon, &[&view]);
}

#[test]
fn a_person_decides_by_command() {
    for (word, kept, answer) in [("approve", 1, "kept"), ("deny", 0, "too early")] {
        let endpoint = model();
        let daemon = Daemon::start(&agent(&endpoint, KEYS));
        let (run, wished) = wish(&daemon);
        let id = wished["approval_id"].as_str().expect("an id");
        let listed = daemon.ok(&["approvals"]);
        assert!(listed.contains(id) && listed.contains("remember"), "{listed}");
        let args: &[&str] = if kept == 1 { &[word, id] } else { &[word, id, "--reason", "too early"] };
        daemon.ok(args);
        let view = daemon.finished(&run);
        assert!(view["result"].as_str().expect("text").contains(answer), "{view:#}");
        assert_eq!(daemon.call("get_memory", json!({"agent_id": "a"})).as_array().map(Vec::len), Some(kept));
        assert!(!daemon.run(args).status.success(), "it is decided");
    }
}
