//! Agents that a model carries out, through the real binary: what is recorded, what a failure becomes, what
//! a crash leaves, and what budgets hold.
mod bounds;
mod crashes;
mod people;

use super::endpoint::{Endpoint, Reply, Request};
use super::support::Daemon;
use serde_json::{Value, json};
use std::time::Duration;

/// One model `m` at the endpoint, and what else is given.
fn config(endpoint: &Endpoint, model: &str, rest: &str) -> String {
    format!(
        "[models.m]\nprovider = \"openai-compatible\"\nmodel = \"x\"\nbase_url = \"{}/v1\"\nrequest_timeout = 5\n\
         max_output_tokens = 100\n{model}\n{rest}",
        endpoint.url()
    )
}

const PRICE: &str = "price = { input = 10.0, output = 10.0 }";

/// Starts a run, and returns it when it has ended.
fn run(daemon: &Daemon, agent: &str) -> Value {
    let started = daemon.call("run_agent", json!({"agent_id": agent}));
    ended(daemon, &started["run_id"])
}

fn ended(daemon: &Daemon, run: &Value) -> Value {
    daemon.until_event("the end of a run", |event| {
        event["run_id"] == *run
            && (event["type"] == "background_task_completed"
                || event["type"] == "background_task_error" && event["payload"]["will_retry"] == false)
    });
    daemon.call("get_run", json!({"run_id": run}))
}

/// How many answers of tools the model has seen.
fn tool_messages(request: &Request) -> usize {
    let messages = request.json["messages"].as_array().expect("messages");
    messages.iter().filter(|message| message["role"] == "tool").count()
}

fn of_kind<'a>(view: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = view["events"].as_array().expect("events");
    events.iter().filter(|event| event["type"] == kind).collect()
}

fn text_of(request: &Request) -> String {
    request.json["messages"].to_string()
}

#[test]
fn a_run_with_two_tools_is_told_and_recorded_whole() {
    let endpoint = Endpoint::script([
        Reply::calls(&[("system_metrics", "{\"top\":0}"), ("remember", "{\"key\":\"k\",\"text\":\"seen\"}")])
            .thinking("first I look"),
        Reply::text("All is well."),
    ]);
    let daemon = Daemon::start(&config(
        &endpoint,
        PRICE,
        "[agents.a]\nquery = \"Is all well?\"\nmodel = \"m\"\ntools = [\"system_metrics\", \"remember\"]\nsession_id = \"s\"\n",
    ));
    let view = run(&daemon, "a");
    assert_eq!((&view["status"], &view["result"]), (&json!("completed"), &json!("All is well.")), "{view}");
    let kinds: Vec<&str> =
        view["events"].as_array().unwrap().iter().filter_map(|e| e["type"].as_str()).collect();
    let wanted = [
        "background_task_started",
        "user_message",
        "model_request",
        "model_response",
        "agent_thought",
        "tool_call_started",
        "tool_call_result",
        "tool_call_started",
        "tool_call_result",
        "model_request",
        "model_response",
        "agent_message",
        "final_answer",
        "background_task_completed",
    ];
    assert_eq!(kinds, wanted);
    for event in view["events"].as_array().unwrap() {
        let chat = !event["type"].as_str().unwrap().starts_with("background");
        assert_eq!(event["session_id"] == "s", chat, "{event}");
    }
    let started = of_kind(&view, "tool_call_started");
    assert_eq!(
        (&started[0]["payload"]["tool"], &started[0]["payload"]["effect"]),
        (&json!("system_metrics"), &json!("read"))
    );
    // used: what the endpoint says of each request, summed up
    let responses = of_kind(&view, "model_response");
    let sum: u64 = responses.iter().map(|e| e["payload"]["usage"]["input_tokens"].as_u64().unwrap()).sum();
    assert_eq!(view["usage"]["input_tokens"], sum);
    assert_eq!((&view["usage"]["requests"], &view["model"]), (&json!(2), &json!("m")));
    let usd = view["usage"]["usd"].as_f64().unwrap();
    assert!(usd > 0.0);
    assert_eq!(of_kind(&view, "background_task_completed")[0]["payload"]["usage"], view["usage"]);
    for by in ["agent", "model", "day"] {
        let usage = daemon.call("get_usage", json!({"by": by}));
        assert_eq!(usage[0]["usage"]["requests"], 2, "{by}: {usage}");
        assert_eq!(usage[0]["runs"], 1, "{by}: {usage}");
        assert!((usage[0]["usage"]["usd"].as_f64().unwrap() - usd).abs() < 1e-9);
    }
    let steps: Vec<&str> =
        view["steps"].as_array().unwrap().iter().filter_map(|s| s["step"].as_str()).collect();
    assert_eq!(
        steps,
        ["begun", "asked", "answered", "calling", "called", "calling", "called", "asked", "answered"]
    );
    let shown = daemon.ok(&["show", view["run_id"].as_str().unwrap()]);
    assert!(shown.contains("first I look") && shown.contains("All is well."), "{shown}");
}

/// Rows 39 to 48 of the failure model: what a provider does, and what becomes of the run.
#[test]
fn a_failure_is_never_a_success() {
    let table: Vec<(&str, Reply, &str, &str)> = vec![
        ("hangs", Reply::hang(), "timed_out", "timeout"),
        ("drips", Reply::drip("x".repeat(1000), Duration::from_millis(300)), "timed_out", "timeout"),
        ("closes", Reply::close(), "failed", "network"),
        ("breaks off", Reply::broken_off(), "failed", "network"),
        ("429", Reply::status(429, "slow down").with("retry-after", "999999"), "failed", "rate_limit"),
        ("503", Reply::status(503, "busy"), "failed", "provider"),
        ("401", Reply::status(401, "who are you"), "failed", "auth"),
        ("400", Reply::status(400, "what"), "failed", "config"),
        ("html", Reply::html(), "failed", "bad_response"),
        ("half", Reply::body("{\"choices\": [{"), "failed", "bad_response"),
        ("nothing", Reply::body("{}"), "failed", "bad_response"),
        ("bytes", Reply::body([b'{', 0xFF, 0xFE, b'}']), "failed", "bad_response"),
        ("too large", Reply::huge(1 << 30), "failed", "bad_response"),
        ("bomb", Reply::bomb(), "failed", "bad_response"),
        ("redirects", Reply::redirect("http://127.0.0.1:1/"), "failed", "config"),
        ("empty", Reply::empty(), "failed", "empty_answer"),
        ("refuses", Reply::refusal("no"), "failed", "provider"),
        ("cut off", Reply::cut_off("The answer is"), "failed", "bad_response"),
        ("unknown tool", Reply::calls(&[("no_such", "{}")]), "failed", "tool"),
        ("bad arguments", Reply::calls(&[("recall", "{\"key\":")]), "failed", "tool"),
        ("loops", Reply::calls(&[("recall", "{}")]), "failed", "step_limit"),
    ];
    let mut text = String::new();
    let mut endpoints = Vec::new();
    for (n, (_, reply, ..)) in table.iter().enumerate() {
        let endpoint = Endpoint::script([reply.clone()]);
        text += &format!(
            "[models.m{n}]\nprovider = \"openai-compatible\"\nmodel = \"x\"\nbase_url = \"{}/v1\"\nrequest_timeout = 2\n\
             [agents.a{n}]\nquery = \"?\"\nmodel = \"m{n}\"\ntools = [\"recall\"]\nretry = {{ max = 0 }}\ntimeout = 20\n",
            endpoint.url()
        );
        endpoints.push(endpoint);
    }
    let daemon = Daemon::start(&text);
    let runs: Vec<Value> = (0..table.len())
        .map(|n| daemon.call("run_agent", json!({"agent_id": format!("a{n}")}))["run_id"].clone())
        .collect();
    let mut wrong = Vec::new();
    for ((what, _, status, kind), id) in table.iter().zip(&runs) {
        let view = ended(&daemon, id);
        if view["status"] != *status || view["error"]["kind"] != *kind {
            wrong.push(format!("{what}: {} {}", view["status"], view["error"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn another_model_is_asked_when_that_can_help() {
    for (reply, asked) in
        [(Reply::status(503, "busy"), 1), (Reply::close(), 1), (Reply::status(401, "who are you"), 0)]
    {
        let (first, second) = (Endpoint::script([reply]), Endpoint::script([Reply::text("from the other")]));
        let daemon = Daemon::start(&config(
            &first,
            "fallback = [\"n\"]",
            &format!(
                "[models.n]\nprovider = \"openai-compatible\"\nmodel = \"y\"\nbase_url = \"{}/v1\"\n\
                 [agents.a]\nquery = \"?\"\nmodel = \"m\"\nretry = {{ max = 0 }}\n",
                second.url()
            ),
        ));
        let view = run(&daemon, "a");
        assert_eq!(second.requests().len(), asked, "{view}");
        assert_eq!(view["status"] == "completed", asked == 1, "{view}");
    }
}
