//! The limits of one run, its fallbacks, and its end by hand.
use super::*;
use std::time::Instant;

/// A second model, named as the fallback of the first.
pub(super) fn with_fallback(first: &str, second: &Endpoint) -> String {
    format!(
        "[models.main]\nprovider = \"openai-compatible\"\nmodel = \"m-1\"\nbase_url = \"{first}\"\n\
         fallback = [\"other\"]\nprice = {{ input = 1.0, output = 4.0 }}\n\
         [models.other]\nprovider = \"openai-compatible\"\nmodel = \"m-2\"\nbase_url = \"{}\"\n\
         price = {{ input = 2.0, output = 8.0 }}\n\
         [agents.a]\nquery = \"Go.\"\nmodel = \"main\"\nretry = {{ max = 0 }}\n",
        second.url()
    )
}

#[test]
fn another_model_is_asked_when_the_first_can_not_answer_now() {
    let gone = crate::support::nobody();
    let busy = Endpoint::script([Reply::status(503, "busy")]);
    let limited = Endpoint::script([Reply::status(429, "slow down")]);
    for first in [busy.url(), limited.url(), format!("http://{gone}")] {
        let other = Endpoint::script([Reply::text("from the other")]);
        let daemon = Daemon::start(&with_fallback(&first, &other));
        let view = completed(&daemon);
        assert_eq!((&view["result"], &view["model"]), (&json!("from the other"), &json!("other")));
        let answered = told(&view, "model_response");
        assert_eq!((&answered[0]["model"], &answered[0]["finish"]), (&json!("main"), &json!("error")));
        assert_eq!(answered[1]["model"], "other");
        assert!(near(amounts(&view["usage"]).2, 2.0 * USD), "by its own price: {}", view["usage"]);
        let rows = daemon.call("get_usage", json!({"by": "model"}));
        let requests: Vec<u64> =
            rows.as_array().expect("rows").iter().map(|row| amounts(&row["usage"]).0).collect();
        assert_eq!(requests, [1, 1], "{rows:#}");
        books_agree(&daemon, &[&view]);
    }
    for (status, kind) in [(401, "auth"), (400, "config")] {
        let (first, other) =
            (Endpoint::script([Reply::status(status, "no")]), Endpoint::script([Reply::text("x")]));
        let daemon = Daemon::start(&with_fallback(&first.url(), &other));
        let view = run(&daemon);
        assert_eq!((&view["status"], &view["error"]["kind"]), (&json!("failed"), &json!(kind)), "{view:#}");
        assert!(other.requests().is_empty(), "{status}");
    }
}

#[test]
fn a_stand_in_that_does_not_take_the_conversation_is_passed_over() {
    let busy = Endpoint::script([Reply::status(503, "busy")]);
    let refuses = Endpoint::script([Reply::status(400, "not such a history")]);
    let daemon = Daemon::start(&with_fallback(&busy.url(), &refuses));
    let view = run(&daemon);
    let message = view["error"]["message"].as_str().expect("text");
    // what the first one said decides: that passes
    assert_eq!(view["error"]["kind"], "provider", "{view:#}");
    assert!(
        message.contains("busy")
            && message.contains("instead of it")
            && message.contains("not such a history")
    );
    books_agree(&daemon, &[&view]);
    // there is a third one
    let third = Endpoint::script([Reply::text("from the third")]);
    let more = format!(
        "[models.third]\nprovider = \"openai-compatible\"\nmodel = \"m-3\"\nbase_url = \"{}\"\n\
         price = {{ input = 2.0, output = 8.0 }}\n",
        third.url()
    );
    let toml = with_fallback(&busy.url(), &refuses).replace("[\"other\"]", "[\"other\", \"third\"]") + &more;
    assert_eq!(completed(&Daemon::start(&toml))["result"], "from the third");
}

#[test]
fn another_model_is_asked_for_want_of_credit_if_that_is_wanted() {
    let (first, other) =
        (Endpoint::script([Reply::status(402, "no credit")]), Endpoint::script([Reply::text("x")]));
    let toml = with_fallback(&first.url(), &other);
    assert_eq!(run(&Daemon::start(&toml))["error"]["kind"], "auth");
    let toml = toml.replace("fallback = [", "fallback_on = [\"credit\"]\nfallback = [");
    assert_eq!(completed(&Daemon::start(&toml))["model"], "other");
}

/// A model that never has enough.
fn restless() -> Endpoint {
    let next = std::sync::atomic::AtomicUsize::new(0);
    Endpoint::answering(move |_| {
        let key = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Reply::calls(&[("recall", &json!({"key": key.to_string()}).to_string())])
    })
}

#[test]
fn each_limit_of_a_run_ends_it_before_it_is_passed() {
    for (limit, kind, requests) in [
        ("request_limit = 3", "request_limit", Some(3)),
        ("max_steps = 5", "step_limit", Some(3)),
        ("total_tokens_limit = 1500", "token_limit", None),
        ("max_usd_per_run = 0.0027", "cost_limit", None),
    ] {
        let endpoint = restless();
        let daemon = Daemon::start(&agent(&endpoint, &format!("tools = [\"recall\"]\n{limit}")));
        let view = run(&daemon);
        assert_eq!(
            (&view["status"], &view["error"]["kind"]),
            (&json!("failed"), &json!(kind)),
            "{limit}: {view:#}"
        );
        let (sent, tokens, usd) = amounts(&view["usage"]);
        assert_eq!(endpoint.requests().len() as u64, sent, "{limit}");
        assert!(requests.is_none_or(|requests| sent == requests), "{limit}: {sent}");
        assert!(sent >= 1 && tokens <= 1500 && usd <= 0.0027, "{limit}: {}", view["usage"]);
        let key = limit.split(' ').next().expect("a key");
        assert!(view["error"]["message"].as_str().expect("text").contains(key), "{limit}: {}", view["error"]);
        assert_eq!(view["attempt"], 1, "a limit is no matter of patience");
        books_agree(&daemon, &[&view]);
    }
}

#[test]
fn time_runs_out_in_a_request_and_in_a_call() {
    let endpoint = Endpoint::script([Reply::hang()]);
    let daemon = Daemon::start(&agent(&endpoint, "timeout = 4\nretry = { max = 0 }"));
    let began = Instant::now();
    let view = run(&daemon);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(
        (&view["status"], &view["error"]["kind"]),
        (&json!("timed_out"), &json!("timeout")),
        "{view:#}"
    );
    assert_eq!(amounts(&view["usage"]).0, 1, "it is charged");
    books_agree(&daemon, &[&view]);
    endpoint.until_left();
    // a call that takes too long is an error for the model, and nobody knows whether it happened
    let endpoint = Endpoint::script([Reply::calls(&[("s_put", "{}")]), Reply::text("so be it")]);
    let mut daemon = with_server(&endpoint, "tools = [\"s/*\"]\ntool_call_timeout = 1");
    std::fs::write(daemon.path("hold-put"), "").expect("the folder can be written");
    daemon.up();
    let view = completed(&daemon);
    let error = told(&view, "tool_call_error");
    assert!(error[0]["error"].as_str().expect("text").contains("within 1 s"), "{}", error[0]);
    assert!(results(&endpoint.requests()[1])[0].contains("outcome unknown"));
    assert!(view["warnings"].to_string().contains("s/put"), "{view:#}");
    // and so does the time of the whole run
    let endpoint = Endpoint::script([Reply::calls(&[("s_put", "{}")])]);
    let mut daemon = with_server(&endpoint, "tools = [\"s/*\"]\ntimeout = 5\nretry = { max = 0 }");
    std::fs::write(daemon.path("hold-put"), "").expect("the folder can be written");
    daemon.up();
    let view = run(&daemon);
    assert_eq!(
        (&view["status"], &view["error"]["kind"]),
        (&json!("timed_out"), &json!("timeout")),
        "{view:#}"
    );
    assert!(view["warnings"].to_string().contains("s/put"), "{view:#}");
    assert_eq!((witnessed(&daemon, "put"), amounts(&view["usage"]).0), (1, 1));
    books_agree(&daemon, &[&view]);
}

#[test]
fn the_bound_of_time_that_counted_is_named() {
    for (keys, bound) in [
        ("timeout = 1", "its `timeout` of 1s"),
        ("timeout = 60\ntotal_timeout = 1", "their `total_timeout` of 1s"),
    ] {
        let endpoint = Endpoint::script([Reply::hang()]);
        let daemon = Daemon::start(&agent(&endpoint, &format!("{keys}\nretry = {{ max = 0 }}")));
        let view = run(&daemon);
        assert_eq!(view["status"], "timed_out", "{view:#}");
        assert!(view["error"]["message"].as_str().expect("text").contains(bound), "{view:#}");
    }
}

#[test]
fn an_answer_must_fit_its_schema_and_is_asked_for_twice() {
    let endpoint =
        Endpoint::script([Reply::text("All is well."), Reply::text("```json\n{\"ok\": true}\n```")]);
    let daemon = Daemon::start(&agent(&endpoint, OK));
    let view = completed(&daemon);
    assert_eq!(view["result"], "{\"ok\":true}");
    let sent = endpoint.requests()[1].json["messages"].to_string();
    assert!(sent.contains("does not fit the schema"), "{sent}");
    let endpoint = Endpoint::script([Reply::text("{\"ok\": 5}")]);
    let daemon = Daemon::start(&agent(&endpoint, OK));
    let view = run(&daemon);
    assert_eq!(
        (&view["status"], &view["error"]["kind"]),
        (&json!("failed"), &json!("bad_response")),
        "{view:#}"
    );
    assert_eq!((endpoint.requests().len(), &view["result"]), (2, &Value::Null));
}

const OK: &str = "output_schema = { type = \"object\", required = [\"ok\"], properties = { ok = { type = \"boolean\" } } }";

#[test]
fn who_refuses_the_schema_costs_a_request_and_no_run() {
    let endpoint = Endpoint::answering(|request| match request.json["response_format"] {
        Value::Null => Reply::text("{\"ok\": true}"),
        _ => Reply::status(400, "response_format: unknown field"),
    });
    // a single request is allowed: one that is refused for our own words takes it from nobody
    let daemon = Daemon::start(&agent(&endpoint, &format!("{OK}\nrequest_limit = 1\nretry = {{ max = 0 }}")));
    let (first, second) = (completed(&daemon), completed(&daemon));
    for (view, requests) in [(&first, 2), (&second, 1)] {
        assert_eq!(view["result"], "{\"ok\":true}");
        let (sent, tokens, usd) = amounts(&view["usage"]);
        assert_eq!((sent, tokens), (requests, 110), "{}", view["usage"]);
        assert!(near(usd, USD), "{}", view["usage"]);
    }
    assert_eq!(endpoint.requests().len(), 3);
    assert_eq!(daemon.call("get_agent_status", json!({"agent_id": "a"}))["error_count"], 0, "no failure");
    books_agree(&daemon, &[&first, &second]);
}

#[test]
fn a_schema_keeps_no_model_from_its_tools() {
    // it says first what it is about to do, calls, and forgets the form in the end
    let endpoint = Endpoint::script([
        Reply::text("Let me look."),
        Reply::calls(&[("recall", "{\"key\": \"a\"}")]),
        Reply::text("It is fine."),
        Reply::text("{\"ok\": true}"),
    ]);
    let daemon = Daemon::start(&agent(&endpoint, &format!("{OK}\ntools = [\"recall\"]")));
    let view = run(&daemon);
    let forced = |requests: &[Request]| -> Vec<bool> {
        requests.iter().map(|request| request.json["response_format"] != Value::Null).collect()
    };
    // asked again once is enough, and then it had called nothing yet
    assert_eq!(view["error"]["kind"], "bad_response", "{view:#}");
    assert_eq!(forced(&endpoint.requests()), [false, false, false]);
    let endpoint = Endpoint::script([
        Reply::calls(&[("recall", "{\"key\": \"a\"}")]),
        Reply::text("It is fine."),
        Reply::text("{\"ok\": true}"),
    ]);
    let daemon = Daemon::start(&agent(&endpoint, &format!("{OK}\ntools = [\"recall\"]")));
    assert_eq!(completed(&daemon)["result"], "{\"ok\":true}");
    assert_eq!(forced(&endpoint.requests()), [false, false, true]);
}

#[test]
fn a_cancel_ends_a_request_and_a_call_at_once() {
    let endpoint = Endpoint::script([Reply::hang(), Reply::calls(&[("s_put", "{}")])]);
    let mut daemon = with_server(&endpoint, "tools = [\"s/*\"]");
    std::fs::write(daemon.path("hold-put"), "").expect("the folder can be written");
    daemon.up();
    let run = start(&daemon);
    endpoint.until_asked(1);
    let began = Instant::now();
    daemon.call("cancel_run", json!({"run_id": run}));
    let first = daemon.finished(&run);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(first["status"], "cancelled", "{first:#}");
    assert_eq!(amounts(&first["usage"]).0, 1, "it is charged");
    let run = start(&daemon);
    wait_for("the call", || (witnessed(&daemon, "put") == 1).then_some(()));
    daemon.call("stop_agent", json!({"agent_id": "a"}));
    let second = daemon.finished(&run);
    assert_eq!(second["status"], "cancelled", "{second:#}");
    assert!(second["warnings"].to_string().contains("s/put"), "the effect in flight is named: {second:#}");
    books_agree(&daemon, &[&first, &second]);
    assert_eq!(daemon.call("get_agent_status", json!({"agent_id": "a"}))["error_count"], 0, "no failure");
}

#[test]
fn a_fallback_gets_what_the_first_model_has_left() {
    let first = Endpoint::script([Reply::status(502, "oh")]);
    let other = Endpoint::script([Reply::text("from the other").using(Used {
        input: 100,
        cached: 0,
        output: 3000,
        thoughts: 0,
    })]);
    let fleet = with_fallback(&first.url(), &other)
        .replace("price = {", "max_output_tokens = 6000\nprice = {")
        .replace("query = ", "total_tokens_limit = 10000\nquery = ");
    let daemon = Daemon::start(&fleet);
    let view = run(&daemon);
    // the first request is charged whole: nobody knows what it cost
    let asked = |endpoint: &Endpoint| {
        let request = endpoint.requests().remove(0).json;
        request["max_completion_tokens"].as_u64().or(request["max_tokens"].as_u64()).expect("a bound")
    };
    assert_eq!(asked(&first), 6000);
    assert!(asked(&other) < 4000, "{}", asked(&other));
    let usage = &view["usage"];
    let tokens =
        usage["input_tokens"].as_u64().expect("tokens") + usage["output_tokens"].as_u64().expect("tokens");
    assert!(tokens <= 10_000, "{view:#}");
}

#[test]
fn a_refusal_is_not_asked_for_again() {
    let endpoint = Endpoint::script([Reply::refusal("I won't.")]);
    let daemon = Daemon::start(&agent(&endpoint, "retry = { max = 2, initial = \"10ms\" }"));
    let view = run(&daemon);
    assert_eq!((&view["status"], &view["error"]["kind"]), (&json!("failed"), &json!("provider")), "{view:#}");
    assert_eq!((&view["attempt"], endpoint.requests().len()), (&json!(1), 1));
}

#[test]
fn what_a_gate_gave_is_seen_also_when_a_later_attempt_succeeds() {
    let endpoint = Endpoint::script([Reply::status(503, "busy"), Reply::text("told")]);
    let keys = "interval = 1\nretry = { max = 2, initial = \"10ms\" }\n\
        gate = { tool = \"db\", args = { statement = \"all\" }, novel_by = [\"id\"] }";
    let tools = "[tools.db]\ntype = \"sql\"\nurl = \"sqlite:app.db\"\nmode = \"read_only\"\n\
        statements = { all = \"SELECT id FROM news\" }\n";
    let daemon = Daemon::with("");
    let database = rusqlite::Connection::open(daemon.path("app.db")).expect("it opens");
    database.execute_batch("CREATE TABLE news(id); INSERT INTO news VALUES (1), (2)").expect("SQL");
    daemon.configure(&format!("{}{tools}", agent(&endpoint, keys)));
    let mut daemon = daemon;
    daemon.up();
    let done = daemon.until("background_task_completed", "a");
    assert_eq!(done["payload"]["result"], "told", "{done}");
    let skipped = daemon.until("background_slot_skipped", "a");
    assert_eq!(skipped["payload"]["verdict"], "skipped_gate", "{skipped}");
    assert_eq!(endpoint.requests().len(), 2, "nothing is told twice");
}

#[test]
fn a_command_as_a_gate_hands_on_what_is_new_in_its_list() {
    let endpoint = Endpoint::script([Reply::text("told"), Reply::text("told again")]);
    let keys = "interval = 1\ngate = { command = [\"cat\", \"items.json\"], novel_by = [\"id\"] }";
    let mut daemon = Daemon::with("");
    let print = |daemon: &Daemon, text: &str| {
        let (new, items) = (daemon.path("new"), daemon.path("items.json"));
        std::fs::write(&new, text).and_then(|()| std::fs::rename(new, items)).expect("a file");
    };
    print(&daemon, r#"[{"id": 1, "t": "alpha"}]"#);
    let config = agent(&endpoint, keys);
    daemon.configure(&config.replace("Look after it.", "New: {gate}"));
    daemon.up();
    daemon.until("background_task_completed", "a");
    daemon.until("background_slot_skipped", "a");
    print(&daemon, r#"[{"id": 1, "t": "alpha"}, {"id": 2, "t": "beta"}]"#);
    daemon.until_event("a second run", |event| {
        event["type"] == "background_task_completed" && event["payload"]["run_count"] == 2
    });
    let asked: Vec<String> = endpoint.requests().iter().map(|request| request.json.to_string()).collect();
    assert!(asked[0].contains("alpha") && !asked[0].contains("beta"), "{asked:?}");
    assert!(!asked[1].contains("alpha") && asked[1].contains("beta"), "{asked:?}");
    print(&daemon, "no list");
    let failed = daemon.until("background_task_error", "a");
    assert!(
        failed["payload"]["error"]
            .to_string()
            .contains("the gate found out nothing: its output is not valid JSON"),
        "{failed}"
    );
    print(&daemon, "null");
    daemon.until_event("a gate without a list", |event| {
        event["type"] == "background_task_error" && event.to_string().contains("finds no list in its result")
    });
    // a list without anything new ends the failure
    print(&daemon, r#"[{"id": 1, "t": "alpha"}]"#);
    daemon.until("incident_resolved", "a");
    assert_eq!(daemon.call("get_agent_status", json!({"agent_id": "a"}))["health"], "ok");
    assert_eq!(endpoint.requests().len(), 2);
}
