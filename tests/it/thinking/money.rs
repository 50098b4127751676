//! One budget for many runs side by side: never overspent, not even over a kill, and said once.
use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// US dollars that the fleet may spend a day: a request may take a bit more than 0.002.
const BUDGET: f64 = 0.05;
const RUNS: usize = 64;

fn fleet(endpoint: &Endpoint) -> String {
    let agents = format!(
        "[daemon]\nmax_parallel_runs = {RUNS}\n[budget]\nusd_per_day = {BUDGET}\n\
         [defaults]\nretry = {{ max = 0 }}\ncircuit_breaker = {{ open_after = 0 }}\n\
         [agents.a]\nquery = \"Look after it.\"\nmodel = \"main\"\noverlap = \"parallel\"\n\
         [agents.tick]\nquery = \"Look after it.\"\nmodel = \"main\"\ninterval = 1\nenabled = false\n"
    );
    config(endpoint, &agents)
}

/// What is spent or held, by the daemon's own account.
fn held(daemon: &Daemon) -> f64 {
    daemon.call("get_daemon_status", json!({}))["budget"][0]["used"].as_f64().expect("dollars")
}

fn ended(daemon: &Daemon) -> Vec<Value> {
    let rows = daemon.call("list_runs", json!({"agent_id": "a", "limit": RUNS}));
    let rows = rows.as_array().expect("rows");
    rows.iter().filter(|row| row["finished_at"].is_string()).cloned().collect()
}

/// Runs that ended by the budget; no run ended in another way than that or in success.
fn refused(rows: &[Value]) -> usize {
    let by_budget = |row: &&Value| row["status"] == "failed" && row["error"]["kind"] == "budget";
    let refused = rows.iter().filter(by_budget).count();
    let completed = rows.iter().filter(|row| row["status"] == "completed").count();
    assert_eq!(refused + completed, rows.len(), "{rows:#?}");
    refused
}

/// A full house: as many requests under way as the budget holds, and all other runs wait for one of
/// them to have its end.
fn crowd(daemon: &Daemon, endpoint: &Endpoint) -> usize {
    let mut client = daemon.client();
    for _ in 0..RUNS {
        client.call("run_agent", json!({"agent_id": "a"}));
    }
    let under_way = wait_for("a full house", || {
        let running = daemon.call("list_runs", json!({"agent_id": "a", "status": "running", "limit": RUNS}));
        let (asked, held) = (endpoint.requests().len(), held(daemon));
        // nothing more fits, and what is held was sent
        let is_full = held + 0.0022 > BUDGET && (held / 0.0022).floor() as usize <= asked;
        (is_full && running.as_array().is_some_and(|rows| rows.len() == RUNS)).then_some(asked)
    });
    assert!(ended(daemon).is_empty(), "what is only held refuses nobody");
    assert!((15..=25).contains(&under_way), "{under_way}");
    assert!(held(daemon) <= BUDGET, "{}", held(daemon));
    under_way
}

/// After that day's money is gone, slots are refused; it is told once.
fn later_slots_are_refused(daemon: &Daemon) {
    daemon.call("start_agent", json!({"agent_id": "tick"}));
    let skipped = daemon.until_event("a refused slot", |event| {
        event["type"] == "background_slot_skipped" && event["agent_id"] == "tick"
    });
    assert_eq!(skipped["payload"]["verdict"], "refused_budget", "{skipped}");
    let why = daemon.call("explain_slot", json!({"agent_id": "tick", "at": skipped["payload"]["slot"]}));
    assert_eq!(why["verdict"], "refused_budget", "{why}");
    let text = why["sentence"].as_str().expect("a sentence");
    assert!(text.contains("usd_per_day") || why["cause"].to_string().contains("usd_per_day"), "{why}");
    let told: i64 = daemon
        .database()
        .query_row("SELECT count(*) FROM events WHERE type = 'budget_exhausted'", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(told, 1);
}

#[test]
fn runs_side_by_side_do_not_overspend() {
    let open = Arc::new(AtomicBool::new(false));
    let may = open.clone();
    // says that it used all that it could
    let most = Used { input: 100, cached: 0, output: 500, thoughts: 0 };
    let endpoint = Endpoint::answering(move |_| {
        wait_for("the door to open", || may.load(Ordering::SeqCst).then_some(()));
        Reply::text("done").using(most)
    });
    let daemon = Daemon::start(&fleet(&endpoint));
    let under_way = crowd(&daemon, &endpoint);
    open.store(true, Ordering::SeqCst);
    let rows = wait_for("the end of all runs", || Some(ended(&daemon)).filter(|rows| rows.len() == RUNS));
    // what they left may do for a few more
    let completed = RUNS - refused(&rows);
    assert!((under_way..under_way + 5).contains(&completed), "{under_way} {completed}");
    books_agree(&daemon, &rows.iter().collect::<Vec<_>>());
    // until nothing more fits
    while let Ok(started) = daemon.client().try_call("run_agent", json!({"agent_id": "a"})) {
        daemon.finished(&started["run_id"]);
    }
    assert!(held(&daemon) + 0.0022 > BUDGET, "{}", held(&daemon));
    let (_, _, usd) = charged(&daemon);
    assert!(usd <= BUDGET && usd > 0.8 * BUDGET, "{usd}");
    assert!(near(usd, held(&daemon)), "{usd} {}", held(&daemon));
    later_slots_are_refused(&daemon);
}

#[test]
fn a_kill_does_not_make_money() {
    let endpoint = Endpoint::script([Reply::hang()]);
    let mut daemon = Daemon::start(&fleet(&endpoint));
    let under_way = crowd(&daemon, &endpoint);
    let before = held(&daemon);
    daemon.kill();
    daemon.up();
    // nobody knows what became of the open requests: all of it is charged, and nothing fits any more
    let rows = wait_for("the end of all runs", || Some(ended(&daemon)).filter(|rows| rows.len() == RUNS));
    assert_eq!(refused(&rows), RUNS);
    assert_eq!(endpoint.requests().len(), under_way);
    let (requests, _, usd) = charged(&daemon);
    assert_eq!(requests, under_way as u64);
    assert!(near(usd, before) && usd <= BUDGET, "{usd} {before}");
    books_agree(&daemon, &rows.iter().collect::<Vec<_>>());
    later_slots_are_refused(&daemon);
}

#[test]
fn an_agent_has_limits_of_its_own() {
    for (key, allowed) in [("requests_per_day", "2"), ("tokens_per_day", "900"), ("usd_per_day", "0.0025")] {
        let endpoint = Endpoint::script([Reply::text("done")]);
        let daemon = Daemon::start(&agent(&endpoint, &format!("{key} = {allowed}\nretry = {{ max = 0 }}")));
        let mut runs = vec![completed(&daemon)];
        // what is used up refuses a run at once; what is only too little, when its request does not fit
        let refused = loop {
            match daemon.client().try_call("run_agent", json!({"agent_id": "a"})) {
                Err(error) => break error,
                Ok(started) => {
                    let view = daemon.finished(&started["run_id"]);
                    match view["status"].as_str() {
                        Some("completed") => runs.push(view),
                        _ => assert_eq!(view["error"]["kind"], "budget", "{key} {view:#}"),
                    }
                }
            }
            assert!(runs.len() < 5);
        };
        assert_eq!(refused["code"], 5, "{refused}");
        assert!(refused["message"].as_str().expect("text").contains(key), "{refused}");
        let output = daemon.run(&["run", "a", "--wait"]);
        assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(endpoint.requests().len(), runs.len(), "{key}");
        let exhausted = daemon.until("budget_exhausted", "a");
        assert_eq!(exhausted["payload"]["limit"], key, "{exhausted}");
    }
}

/// A fleet that stands still for want of money does not do so in silence.
#[test]
fn slots_that_are_refused_are_told_once_and_seen_everywhere() {
    let endpoint = Endpoint::script([Reply::text("done")]);
    let keys = "interval = 1\nrequests_per_day = 2\nnotify = { to = [\"log\"], on = [\"budget_exhausted\"] }\n\
        [notify.log]\ntype = \"file\"\npath = \"told.jsonl\"";
    let daemon = Daemon::start(&agent(&endpoint, keys));
    let warned = daemon.until("budget_warning", "a");
    assert_eq!(warned["payload"]["limit"], "requests_per_day", "{warned}");
    let exhausted = daemon.until("budget_exhausted", "a");
    assert_eq!(exhausted["payload"]["used"], json!(2.0), "{exhausted}");
    let text = wait_for("a message", || {
        std::fs::read_to_string(daemon.path("told.jsonl")).ok().filter(|text| text.ends_with('\n'))
    });
    assert!(text.contains("2 requests are used; raise it"), "{text}");
    let again = wait_for("some more slots", || {
        let status = daemon.call("get_agent_status", json!({"agent_id": "a"}));
        (status["skipped_count"].as_u64()? >= 3).then_some(status)
    });
    assert!(again["budget_used_up_until"].is_string(), "{again:#}");
    assert!(again["notes"].to_string().contains("its slots are refused"), "{again:#}");
    assert_eq!(endpoint.requests().len(), 2);
    let told: i64 = daemon
        .database()
        .query_row("SELECT count(*) FROM events WHERE type LIKE 'budget_%'", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(told, 2, "one warning, one end");
    assert!(daemon.ok(&["list"]).contains("no budget"));
    let health = daemon.run(&["health"]);
    let text = String::from_utf8_lossy(&health.stdout);
    assert!(health.status.code() == Some(1) && text.contains("a: its last slot was refused"), "{text}");
}

#[test]
fn what_a_model_without_a_price_used_is_not_called_free() {
    let endpoint = Endpoint::script([Reply::text("Done."), Reply::text("Done.")]);
    let free = config(&endpoint, "").replace("models.main", "models.free").replace("price =", "#");
    let agents = "[agents.a]\nquery = \"q\"\nmodel = \"main\"\n[agents.b]\nquery = \"q\"\nmodel = \"free\"\n";
    let daemon = Daemon::start(&(config(&endpoint, "") + &free + agents));
    daemon.run_by_hand("b");
    let said = daemon.ok(&["usage", "--by", "model"]);
    assert!(
        !said.contains('$') && said.contains("1 model has no price, so what it cost is not known: free"),
        "{said}"
    );
    daemon.run_by_hand("a");
    for by in ["model", "agent", "day"] {
        let said = daemon.ok(&["usage", "--by", by]);
        assert!(!said.contains("$0.00\n") && said.contains("$0.0001"), "{said}");
        assert!(said.contains("1 model has no price"), "{said}");
    }
}

#[test]
fn what_is_held_for_a_request_under_way_is_not_called_used() {
    let endpoint = Endpoint::script([Reply::text("Done."), Reply::hang()]);
    let daemon = Daemon::start(
        &(config(&endpoint, "[budget]\nusd_per_day = 1.0\n")
            + "[agents.a]\nquery = \"q\"\nmodel = \"main\"\ntokens_per_day = 100000\n"),
    );
    daemon.run_by_hand("a");
    assert!(!daemon.ok(&["usage"]).contains("held"));
    daemon.ok(&["run", "a"]);
    endpoint.until_asked(2);
    for (args, limit) in [
        (&["usage", "--by", "model"][..], "usd_per_day: $0.0001 of $1.00 used, up to $0.0"),
        (&["status"], "usd_per_day: $0.0001 of $1.00 used, up to $0.0"),
        (&["status", "a"], "tokens_per_day: 110 of 100000 used, up to "),
    ] {
        let said = daemon.ok(args);
        assert!(said.contains(limit) && said.contains(" held for requests under way, "), "{args:?}: {said}");
    }
}
