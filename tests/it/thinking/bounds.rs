//! Limits and budgets hold, whatever a model wants.
use super::super::endpoint::Used;
use super::*;
use std::time::Instant;

#[test]
fn side_by_side_nobody_overspends() {
    // 100 in and 20 out at 10 $ a million: 0.0012 $ a run
    let endpoint = Endpoint::script([Reply::text("fine")]);
    let mut daemon = Daemon::start(&config(
        &endpoint,
        PRICE,
        "[daemon]\nmax_parallel_runs = 64\n[budget]\nusd_per_day = 0.2\n\
         [agents.a]\nquery = \"?\"\nmodel = \"m\"\noverlap = \"parallel\"\nretry = { max = 0 }\ncircuit_breaker = { open_after = 0 }\n\
         [agents.later]\nquery = \"?\"\nmodel = \"m\"\ninterval = 1\nfirst_run = \"after_interval\"\nenabled = false\n",
    ));
    let mut client = daemon.client();
    let runs: Vec<Value> =
        (0..192).map(|_| client.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone()).collect();
    let mut kinds = std::collections::BTreeMap::new();
    for run in &runs {
        let view = ended(&daemon, run);
        *kinds.entry(view["error"]["kind"].as_str().unwrap_or("ok").to_owned()).or_insert(0) += 1;
    }
    let spent = |daemon: &Daemon| {
        let usage = daemon.call("get_usage", json!({"by": "day"}));
        usage[0]["usage"]["usd"].as_f64().expect("dollars")
    };
    assert!(spent(&daemon) <= 0.2 + 1e-9, "{kinds:?}: {}", spent(&daemon));
    assert!(kinds["ok"] >= 10 && kinds["budget"] >= 1, "{kinds:?}");
    let told = daemon.until_event("the budget", |event| event["type"] == "budget_exhausted");
    assert_eq!(told["payload"]["limit"], "usd_per_day");
    // also in the next life; and a slot is refused before anything runs
    daemon.kill();
    daemon.up();
    let view = run(&daemon, "a");
    if view["status"] != "completed" {
        assert_eq!(view["error"]["kind"], "budget", "{view}");
    }
    assert!(spent(&daemon) <= 0.2 + 1e-9);
    while run(&daemon, "later")["status"] == "completed" {}
    daemon.call("start_agent", json!({"agent_id": "later"}));
    let refused = daemon.until("background_slot_skipped", "later");
    assert_eq!(refused["payload"]["verdict"], "refused_budget", "{refused}");
    assert!(spent(&daemon) <= 0.2 + 1e-9);
}

#[test]
fn each_limit_of_a_run_ends_it_with_its_own_kind() {
    let asks_on = || {
        let n = std::sync::atomic::AtomicUsize::new(0);
        Endpoint::answering(move |_| {
            let n = n.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Reply::calls(&[("recall", &format!("{{\"key\":\"{n}\"}}"))]).using(Used {
                input: 1000,
                cached: 0,
                output: 10,
                thoughts: 0,
            })
        })
    };
    for (limit, kind) in [
        ("request_limit = 2", "request_limit"),
        ("total_tokens_limit = 5000", "token_limit"),
        ("max_steps = 3", "step_limit"),
        ("max_usd_per_run = 0.03", "cost_limit"),
    ] {
        let endpoint = asks_on();
        let daemon = Daemon::start(&config(
            &endpoint,
            PRICE,
            &format!("[agents.a]\nquery = \"?\"\nmodel = \"m\"\ntools = [\"recall\"]\n{limit}\n"),
        ));
        let view = run(&daemon, "a");
        assert_eq!(
            (&view["status"], &view["error"]["kind"]),
            (&json!("failed"), &json!(kind)),
            "{limit}: {view}"
        );
        assert!(
            view["error"]["message"].as_str().unwrap().contains(limit.split(' ').next().unwrap()),
            "{view}"
        );
    }
}

#[test]
fn time_is_up_and_a_cancel_is_quick() {
    let endpoint = Endpoint::script([Reply::hang()]);
    let daemon = Daemon::start(&config(
        &endpoint,
        "",
        "[agents.a]\nquery = \"?\"\nmodel = \"m\"\ntimeout = 1\nretry = { max = 0 }\n[agents.b]\nquery = \"?\"\nmodel = \"m\"\n\
         [agents.c]\nquery = \"?\"\nmodel = \"m\"\ntimeout = 60\ntotal_timeout = 1\n",
    ));
    for (agent, bound) in [("a", "its `timeout` of 1s"), ("c", "their `total_timeout` of 1s")] {
        let view = run(&daemon, agent);
        assert_eq!(view["status"], "timed_out", "{view}");
        assert!(view["error"]["message"].as_str().is_some_and(|text| text.contains(bound)), "{view}");
    }
    let id = daemon.call("run_agent", json!({"agent_id": "b"}))["run_id"].clone();
    daemon.until("model_request", "b");
    let began = Instant::now();
    daemon.call("cancel_run", json!({"run_id": id}));
    assert_eq!(ended(&daemon, &id)["status"], "cancelled");
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn an_answer_must_fit_its_schema() {
    let schema = "output_schema = { type = \"object\", required = [\"ok\"], properties = { ok = { type = \"boolean\" } } }";
    for (replies, status, kind) in [
        (vec![Reply::text("```json\n{\"ok\": true}\n```")], "completed", Value::Null),
        (vec![Reply::text("yes"), Reply::text("{\"ok\": true}")], "completed", Value::Null),
        (vec![Reply::text("yes"), Reply::text("{\"ok\": 1}")], "failed", json!("bad_response")),
    ] {
        let endpoint = Endpoint::script(replies);
        let daemon = Daemon::start(&config(
            &endpoint,
            "",
            &format!("[agents.a]\nquery = \"?\"\nmodel = \"m\"\nretry = {{ max = 0 }}\n{schema}\n"),
        ));
        let view = run(&daemon, "a");
        assert_eq!((&view["status"], &view["error"]["kind"]), (&json!(status), &kind), "{view}");
    }
}

#[test]
fn absurd_counts_of_tokens_do_not_break_the_sums() {
    let absurd = Used { input: u64::MAX, cached: 0, output: u64::MAX - 1, thoughts: 0 };
    let endpoint = Endpoint::script([Reply::text("fine").using(absurd)]);
    let daemon = Daemon::start(&config(
        &endpoint,
        "",
        "[agents.a]\nquery = \"?\"\nmodel = \"m\"\nretry = { max = 0 }\n",
    ));
    run(&daemon, "a");
    run(&daemon, "a");
    let usage = daemon.call("get_usage", json!({"by": "agent"}))[0]["usage"].clone();
    assert_eq!(usage["input_tokens"], 2_000_000_000_u64, "{usage}");
}
