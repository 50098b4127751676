//! A failure is never a success: each way in which an endpoint can fail ends the run with its own kind,
//! in time, and what it may have cost is charged.
use super::*;
use std::time::{Duration, Instant};

/// What comes first; the last reply comes again and again.
struct Fault {
    name: &'static str,
    replies: Vec<Reply>,
    status: &'static str,
    kind: &'static str,
    requests: usize,
    /// It is charged for although nothing was reported.
    charged: bool,
}

fn fault(name: &'static str, reply: Reply, kind: &'static str, charged: bool) -> Fault {
    let status = if kind == "timeout" { "timed_out" } else { "failed" };
    Fault { name, replies: vec![reply], status, kind, requests: 1, charged }
}

fn table(elsewhere: &Endpoint) -> Vec<Fault> {
    let many = vec![("recall", r#"{"key": "x"}"#); 10_001];
    let again = |name, reply: Reply, kind, requests| Fault { requests, ..fault(name, reply, kind, true) };
    vec![
        fault("hang", Reply::hang(), "timeout", true),
        fault("stall", Reply::stall(), "timeout", true),
        fault("drip", Reply::drip(vec![b' '; 10_000], Duration::from_millis(50)), "timeout", true),
        fault("429", Reply::status(429, "slow down").with("retry-after", "999999"), "rate_limit", false),
        fault("401", Reply::status(401, "no"), "auth", false),
        fault("403", Reply::status(403, "no"), "auth", false),
        fault("400", Reply::status(400, "what?"), "config", false),
        fault("500", Reply::status(500, "oh"), "provider", true),
        fault("503", Reply::status(503, "busy"), "provider", false),
        fault("nobody", Reply::text("nobody listens"), "network", false),
        fault("closed", Reply::close(), "network", true),
        fault("broken-off", Reply::broken_off(), "network", true),
        fault("html", Reply::html(), "bad_response", true),
        fault("truncated", Reply::body(r#"{"choices":[{"mess"#), "bad_response", true),
        fault("no-choices", Reply::body("{}"), "bad_response", true),
        fault("wrong-types", Reply::body(r#"{"choices":[{"message":7}]}"#), "bad_response", true),
        fault("not-utf8", Reply::body(b"{\"choices\": \"\xff\xfe\"}"), "bad_response", true),
        fault("huge", Reply::huge(1 << 30), "bad_response", true),
        fault("endless", Reply::endless(), "bad_response", true),
        fault("bomb", Reply::bomb(), "bad_response", true),
        fault("redirect", Reply::redirect(&elsewhere.url()), "config", false),
        fault("empty", Reply::empty(), "empty_answer", true),
        fault("refusal", Reply::refusal("I won't."), "provider", true),
        fault("length", Reply::cut_off("The beg"), "bad_response", true),
        again("unknown-tool", Reply::calls(&[("no_such_tool", "{}")]), "tool", 3),
        again("broken-arguments", Reply::calls(&[("recall", "{\"key\": ")]), "tool", 3),
        again("wrong-arguments", Reply::calls(&[("recall", "{\"nonsense\": 1}")]), "tool", 3),
        again("same-call", Reply::calls(&[("recall", "{}")]), "step_limit", 3),
        // what is said several times in one answer is one call
        again("ten-thousand-equal", Reply::calls(&many), "step_limit", 3),
    ]
}

#[test]
fn each_fault_ends_the_run_as_what_it_is() {
    let elsewhere = Endpoint::script([Reply::text("stolen")]);
    let faults = table(&elsewhere);
    let mut toml = String::from("[defaults]\nretry = { max = 0 }\n");
    let mut endpoints = Vec::new();
    for Fault { name, replies, .. } in &faults {
        let endpoint = Endpoint::script(replies.clone());
        let url =
            if *name == "nobody" { format!("http://{}", crate::support::nobody()) } else { endpoint.url() };
        // who ends by the time of the request, who by that of the run, and who by neither, however busy the machine
        let (own, whole) = match *name {
            "hang" | "drip" => ("1s", "60s"),
            "stall" => ("60s", "2s"),
            _ => ("60s", "60s"),
        };
        toml += &format!(
            "[models.{name}]\nprovider = \"openai-compatible\"\nmodel = \"m\"\nbase_url = \"{}\"\n\
             request_timeout = \"{own}\"\nprice = {{ input = 1.0, output = 1.0 }}\n\
             [agents.{name}]\nquery = \"Go.\"\nmodel = \"{name}\"\ntools = [\"recall\"]\ntimeout = \"{whole}\"\n",
            url
        );
        endpoints.push(endpoint);
    }
    let daemon = Daemon::start(&toml);
    let began = Instant::now();
    let runs: Vec<Value> = faults
        .iter()
        .map(|fault| daemon.call("run_agent", json!({"agent_id": fault.name}))["run_id"].clone())
        .collect();
    let views: Vec<Value> = runs.iter().map(|run| daemon.finished(run)).collect();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    for ((fault, view), endpoint) in faults.iter().zip(&views).zip(&endpoints) {
        let name = fault.name;
        assert_eq!(
            (&view["status"], &view["error"]["kind"]),
            (&json!(fault.status), &json!(fault.kind)),
            "{name}: {view:#}"
        );
        assert_eq!(view["result"], Value::Null, "{name}");
        assert!(
            name.starts_with("ten-thousand") || view["duration_ms"].as_u64().expect("a duration") < 4000,
            "{name}: {view:#}"
        );
        let error = told(view, "background_task_error");
        assert_eq!(error.len(), 1, "{name}: {view:#}");
        assert_eq!(
            (&error[0]["kind"], &error[0]["will_retry"]),
            (&json!(fault.kind), &json!(false)),
            "{name}"
        );
        assert!(told(view, "final_answer").is_empty(), "{name}");
        let asked = if name == "nobody" { 0 } else { fault.requests };
        assert_eq!(endpoint.requests().len(), asked, "{name}");
        let (requests, tokens, usd) = amounts(&view["usage"]);
        assert_eq!(requests, fault.requests as u64, "{name}: {view:#}");
        assert_eq!(tokens > 0 && usd > 0.0, fault.charged, "{name}: {}", view["usage"]);
    }
    books_agree(&daemon, &views.iter().collect::<Vec<_>>());
    assert!(elsewhere.requests().is_empty(), "a redirect was followed");
    // a bad key is no matter of patience
    let status = daemon.call("get_agent_status", json!({"agent_id": "401"}));
    assert_eq!(status["consecutive_errors"], 1, "{status:#}");
}

#[test]
fn ten_thousand_different_calls_are_cut_down_and_the_run_goes_on() {
    let calls: Vec<(String, String)> =
        (0..10_001).map(|n| ("recall".to_owned(), json!({"key": n.to_string()}).to_string())).collect();
    let calls: Vec<(&str, &str)> = calls.iter().map(|(name, args)| (name.as_str(), args.as_str())).collect();
    let endpoint = Endpoint::script([Reply::calls(&calls), Reply::text("too many")]);
    let daemon = Daemon::start(&agent(&endpoint, "tools = [\"recall\"]\nmax_steps = 100"));
    let view = completed(&daemon);
    assert_eq!(told(&view, "tool_call_result").len(), 32);
    let shown = results(&endpoint.requests()[1]);
    assert!(shown.len() == 32 && shown[31].contains("10001"), "{shown:?}");
}

#[test]
fn usage_that_is_missing_or_a_lie_is_charged_at_the_worst() {
    let zero = Used { input: 0, cached: 0, output: 0, thoughts: 0 };
    for reply in [Reply::text("x").without_usage(), Reply::text("x").using(zero)] {
        let endpoint = Endpoint::script([reply]);
        let daemon = Daemon::start(&agent(&endpoint, ""));
        let view = completed(&daemon);
        let most = told(&view, "model_request")[0]["tokens_at_most"].as_u64().expect("tokens");
        let (requests, tokens, usd) = amounts(&view["usage"]);
        assert_eq!((requests, tokens), (1, most), "{view:#}");
        assert!(usd >= 500.0 * 4.0 / 1e6, "{usd}");
        assert_eq!(told(&view, "model_response")[0]["usage_reported"], false);
        books_agree(&daemon, &[&view]);
    }
    let lie = Used { input: 5, cached: u64::MAX, output: u64::MAX, thoughts: 0 };
    let endpoint = Endpoint::script([Reply::calls(&[("recall", "{}")]).using(lie)]);
    let daemon = Daemon::start(&agent(&endpoint, "tools = [\"recall\"]"));
    let view = run(&daemon);
    assert_eq!(
        (&view["status"], &view["error"]["kind"]),
        (&json!("failed"), &json!("token_limit")),
        "{view:#}"
    );
    assert_eq!(endpoint.requests().len(), 1);
    books_agree(&daemon, &[&view]);
    // nobody uses so much in one request: the sums stay sums
    assert_eq!(view["usage"]["output_tokens"], 1_000_000_000_u64, "{view:#}");
    run(&daemon);
    assert_eq!(daemon.call("get_usage", json!({}))[0]["usage"]["output_tokens"], 2_000_000_000_u64);
}

#[test]
fn a_wrong_call_is_told_and_made_better() {
    let endpoint = Endpoint::script([
        Reply::calls(&[("recal", "{}")]),
        Reply::calls(&[("recall", "{\"k\": 1}")]),
        Reply::calls(&[("recall", "{\"key\": \"x\"}")]),
        Reply::text("found nothing"),
    ]);
    let daemon = Daemon::start(&agent(&endpoint, "tools = [\"recall\"]"));
    let view = completed(&daemon);
    let wrong = told(&view, "tool_call_error");
    assert_eq!(wrong.len(), 2, "{view:#}");
    assert!(wrong[0]["error"].as_str().expect("text").contains("did you mean `recall`?"), "{}", wrong[0]);
    assert!(results(&endpoint.requests()[2])[1].contains('k'), "{:?}", results(&endpoint.requests()[2]));
}

#[test]
fn a_retry_waits_as_long_as_the_provider_asks_and_repeats_nothing() {
    let endpoint = Endpoint::script([
        Reply::calls(&[("remember", r#"{"key": "k", "text": "v"}"#)]),
        Reply::status(429, "slow down").with("retry-after-ms", "400"),
        Reply::text("done"),
    ]);
    let keys = "tools = [\"remember\"]\nretry = { max = 1, initial = 0 }";
    let daemon = Daemon::start(&agent(&endpoint, keys));
    let began = Instant::now();
    let view = completed(&daemon);
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert_eq!(view["attempt"], 2);
    assert_eq!(told(&view, "tool_call_result").len(), 1);
    assert_eq!(told(&view, "background_task_error")[0]["will_retry"], true);
    assert_eq!((endpoint.requests().len(), amounts(&view["usage"]).0), (3, 3));
    books_agree(&daemon, &[&view]);
}
