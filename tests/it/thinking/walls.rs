//! What a failing endpoint means beyond one request: which failures are tried again, how long the provider
//! may have everybody wait, when an agent is stopped, and what it costs in memory.
use super::*;
use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, SystemTime};

/// An agent `a` that may try twice more, at once.
fn patient(endpoint: &Endpoint) -> String {
    agent(endpoint, "tools = [\"recall\"]\nretry = { max = 2, initial = 0 }")
}

#[test]
fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
    let elsewhere = Endpoint::script([Reply::text("stolen")]);
    let passing = [
        Reply::close(),
        Reply::broken_off(),
        Reply::status(500, "oh"),
        Reply::status(503, "busy"),
        Reply::status(529, "overloaded"),
        Reply::status(429, "slow down"),
    ];
    for reply in passing {
        let endpoint = Endpoint::script([reply.clone(), reply.clone(), Reply::text("at last")]);
        let daemon = Daemon::start(&patient(&endpoint));
        let view = completed(&daemon);
        assert_eq!((&view["attempt"], endpoint.requests().len()), (&json!(3), 3), "{reply:?}");
        let errors = told(&view, "background_task_error");
        assert!(errors.len() == 2 && errors.iter().all(|error| error["will_retry"] == true), "{reply:?}");
        books_agree(&daemon, &[&view]);
        // the first attempts are no failures of the agent
        let status = daemon.call("get_agent_status", json!({"agent_id": "a"}));
        assert_eq!((&status["error_count"], &status["health"]), (&json!(0), &json!("ok")), "{status:#}");
    }
    let lasting = [
        (Reply::status(401, "no"), "auth"),
        (Reply::status(402, "no credit"), "auth"),
        (Reply::status(403, "no"), "auth"),
        (Reply::status(400, "what?"), "config"),
        (Reply::status(404, "no such model"), "config"),
        (Reply::redirect(&elsewhere.url()), "config"),
        (Reply::html(), "bad_response"),
        (Reply::body("{\"choices\": 5}"), "bad_response"),
        (Reply::body("{\"choices\": [{\"message\": {\"content\": 7}}]}"), "bad_response"),
        (Reply::cut_off("The beg"), "bad_response"),
        (Reply::empty(), "empty_answer"),
    ];
    for (reply, kind) in lasting {
        // an empty turn is asked for once more, in the same attempt
        let times = if kind == "empty_answer" { 2 } else { 1 };
        let mut script = vec![reply; times];
        script.push(Reply::text("never asked"));
        let endpoint = Endpoint::script(script);
        let daemon = Daemon::start(&patient(&endpoint));
        let view = run(&daemon);
        assert_eq!((&view["status"], &view["error"]["kind"]), (&json!("failed"), &json!(kind)), "{view:#}");
        assert_eq!((&view["attempt"], endpoint.requests().len()), (&json!(1), times), "{kind}");
        let message = view["error"]["message"].as_str().expect("text");
        assert!(message.len() < 2048, "{kind}: {message}");
        assert_eq!(told(&view, "background_task_error")[0]["will_retry"], false);
    }
    assert!(elsewhere.requests().is_empty(), "a redirect was followed");
}

/// How long the first attempt of `a` has to wait, from its failure on.
fn wait_of(daemon: &Daemon) -> SignedDuration {
    let error = daemon.until("background_task_error", "a");
    assert_eq!(error["payload"]["will_retry"], true, "{error}");
    let instant = |value: &Value| -> Timestamp { value.as_str().expect("text").parse().expect("an instant") };
    instant(&error["payload"]["retry_at"]).duration_since(instant(&error["ts"]))
}

#[test]
fn the_provider_says_how_long_but_not_longer_than_ten_minutes() {
    let date = |secs| httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(secs));
    let minute = (50, 60);
    for (value, (least, most)) in [
        ("60".to_owned(), minute),
        (date(60), minute),
        ("999999".into(), (590, 600)),
        (date(999_999), (590, 600)),
        ("-60".into(), (-2, 1)),
        (date(0), (-2, 1)),
        ("soon".into(), (-2, 1)),
    ] {
        let endpoint = Endpoint::script([Reply::status(429, "slow down").with("retry-after", &value)]);
        let daemon = Daemon::start(&agent(&endpoint, "retry = { max = 1, initial = 0 }"));
        start(&daemon);
        let wait = wait_of(&daemon).as_secs();
        assert!((least..=most).contains(&wait), "{value}: {wait} s");
    }
}

#[test]
fn nobody_runs_into_the_wall_that_another_agent_found() {
    for status in [429, 503] {
        let endpoint = Endpoint::script([
            Reply::status(status, "slow down").with("retry-after", "500"),
            Reply::text("x"),
        ]);
        let two = "retry = { max = 1, initial = 0 }\n[agents.b]\nquery = \"Me too.\"\nmodel = \"main\"\ntimeout = 40\nretry = { max = 0 }";
        let daemon = Daemon::start(&agent(&endpoint, two));
        start(&daemon);
        let wait = wait_of(&daemon).as_secs();
        assert!((490..=500).contains(&wait), "{wait}");
        let other = daemon.run_by_hand("b");
        assert_eq!(other["error"]["kind"], "rate_limit", "{other:#}");
        assert_eq!(endpoint.requests().len(), 1, "{status}");
        assert_eq!(amounts(&other["usage"]).2, 0.0, "nothing was sent, so nothing is charged");
    }
}

#[test]
fn all_agents_of_a_model_share_its_minute() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let text = agent(
        &endpoint,
        "retry = { max = 0 }\n[agents.b]\nquery = \"Me too.\"\nmodel = \"main\"\ntimeout = 40\nretry = { max = 0 }",
    );
    let daemon = Daemon::start(&text.replace("[models.main]\n", "[models.main]\nrequests_per_minute = 3\n"));
    for agent in ["a", "b", "a"] {
        assert_eq!(daemon.run_by_hand(agent)["status"], "completed");
    }
    // the run has 40 seconds, and the minute is longer
    let view = daemon.run_by_hand("b");
    assert_eq!(view["error"]["kind"], "rate_limit", "{view:#}");
    assert!(view["error"]["message"].as_str().expect("text").contains("`requests_per_minute`"), "{view:#}");
    assert_eq!(endpoint.requests().len(), 3);
}

#[test]
fn a_key_that_is_refused_opens_the_circuit_and_is_told() {
    let endpoint = Endpoint::script([Reply::status(401, "who are you?")]);
    let keys = "interval = 1\ncircuit_breaker = { open_after = 2, cooldown = \"1h\" }\n\
                notify = { to = [\"log\"], on = [\"circuit_opened\"] }\n[notify.log]\ntype = \"file\"\npath = \"told\"";
    let daemon = Daemon::start(&agent(&endpoint, keys));
    let opened = daemon.until("circuit_opened", "a");
    assert_eq!(opened["payload"]["failures"], 2, "{opened}");
    daemon.until_event("a refused slot", |event| event["payload"]["verdict"] == "refused_circuit");
    assert_eq!(endpoint.requests().len(), 2, "no request for a slot that is refused");
    let told = wait_for("a message", || {
        std::fs::read_to_string(daemon.path("told")).ok().filter(|text| text.contains('\n'))
    });
    assert!(told.contains("2 failures in a row"), "{told}");
}

#[test]
fn two_calls_with_one_id_are_two_calls() {
    let call = |key: &str| {
        json!({"id": "same", "type": "function",
               "function": {"name": "recall", "arguments": json!({"key": key}).to_string()}})
    };
    let body = json!({"choices": [{"index": 0, "finish_reason": "tool_calls",
                       "message": {"role": "assistant", "content": null, "tool_calls": [call("1"), call("2")]}}],
                      "usage": {"prompt_tokens": 5, "completion_tokens": 5}});
    let endpoint = Endpoint::script([Reply::body(body.to_string()), Reply::text("done")]);
    let daemon = Daemon::start(&agent(&endpoint, "tools = [\"recall\"]"));
    let view = completed(&daemon);
    assert_eq!(told(&view, "tool_call_result").len(), 2, "{view:#}");
    let second = &endpoint.requests()[1];
    let ids = |role: &str| -> Vec<String> {
        let messages = second.json["messages"].as_array().expect("messages").iter();
        let of_role = messages.filter(|message| message["role"] == role);
        let all = of_role.flat_map(|message| match role {
            "tool" => vec![message["tool_call_id"].clone()],
            _ => message["tool_calls"]
                .as_array()
                .expect("calls")
                .iter()
                .map(|call| call["id"].clone())
                .collect(),
        });
        all.map(|id| id.as_str().expect("text").to_owned()).collect()
    };
    // each result is told apart from the other, by the same names as the calls
    let (calls, answers) = (ids("assistant"), ids("tool"));
    assert!(calls == answers && calls[0] != calls[1], "{calls:?} {answers:?}");
}

/// The most memory that the daemon ever had, in KiB.
fn peak(daemon: &Daemon) -> u64 {
    let pid = daemon.child.as_ref().expect("it runs").id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn no_answer_is_too_large_for_the_memory() {
    let replies = [Reply::text("x"), Reply::huge(1 << 30), Reply::endless(), Reply::bomb(), Reply::text("x")];
    let endpoint = Endpoint::script(replies);
    let daemon = Daemon::start(&agent(&endpoint, "retry = { max = 0 }"));
    completed(&daemon);
    let before = peak(&daemon);
    for _ in 0..3 {
        assert_eq!(run(&daemon)["error"]["kind"], "bad_response");
    }
    let more = peak(&daemon) - before;
    assert!(more < 64 << 10, "{more} KiB more for answers of which 8 MiB are read");
    completed(&daemon);
}

/// A run that waited for it would keep its place, its lock and its held money for minutes.
#[test]
fn a_model_that_wants_to_be_left_alone_is_passed_over() {
    let main =
        Endpoint::script([Reply::status(429, "slow down").with("retry-after", "300"), Reply::text("main")]);
    let other = Endpoint::script([Reply::text("from the other")]);
    let daemon = Daemon::start(&limits::with_fallback(&main.url(), &other));
    let first = completed(&daemon);
    let second = completed(&daemon);
    for (view, requests) in [(&first, 2), (&second, 1)] {
        assert_eq!((&view["result"], &view["model"]), (&json!("from the other"), &json!("other")));
        assert_eq!(amounts(&view["usage"]).0, requests, "{view:#}");
    }
    assert_eq!((main.requests().len(), other.requests().len()), (1, 2));
    books_agree(&daemon, &[&first, &second]);
}

#[test]
fn a_wish_to_wait_is_not_lost_in_the_chain() {
    for (other, (least, most)) in [
        (Reply::status(503, "busy"), (290, 300)),
        // the last one knows best
        (Reply::status(429, "slow down").with("retry-after", "60"), (50, 60)),
    ] {
        let main = Endpoint::script([Reply::status(429, "slow down").with("retry-after", "300")]);
        let other = Endpoint::script([other]);
        let toml = limits::with_fallback(&main.url(), &other).replace("max = 0", "max = 1, initial = 0");
        let daemon = Daemon::start(&toml);
        start(&daemon);
        let wait = wait_of(&daemon).as_secs();
        assert!((least..=most).contains(&wait), "{wait}");
    }
}
