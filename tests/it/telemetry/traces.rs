//! Traces that a collector takes, of the real daemon.
use super::collector::{Collector, Sent, attribute, hex, named};
use super::scrape::scrape;
use crate::endpoint::{Endpoint, Reply, Request};
use crate::support::{Daemon, nobody, python3, wait_for};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

/// What must not be seen unless it is asked for.
const SECRET_QUERY: &str = "Look after the harbour.";
const SECRET_NOTE: &str = "the tide is at four";
const SECRET_ANSWER: &str = "all ships are in";

fn telemetry(collector: &Collector, more: &str) -> String {
    format!("[telemetry]\notlp = \"{}\"\n{more}", collector.url())
}

/// A model that keeps a note, reads it and answers.
fn thinker() -> (Endpoint, String) {
    let results = |request: &Request| {
        let messages = request.json["messages"].as_array().cloned().unwrap_or_default();
        messages.iter().filter(|message| message["role"] == "tool").count()
    };
    let endpoint = Endpoint::answering(move |request| match results(request) {
        0 => Reply::calls(&[("remember", &json!({"key": "k", "text": SECRET_NOTE}).to_string())]),
        1 => Reply::calls(&[("recall", "{}")]),
        _ => Reply::text(SECRET_ANSWER),
    });
    let config = format!(
        "[models.main]\nprovider = \"openai-compatible\"\nmodel = \"m-1\"\nbase_url = \"{}\"\n\
         price = {{ input = 1.0, output = 4.0 }}\n\
         [agents.a]\nquery = \"{SECRET_QUERY}\"\nmodel = \"main\"\ntools = [\"remember\", \"recall\"]\n",
        endpoint.url()
    );
    (endpoint, config)
}

#[test]
fn a_run_of_a_model_is_a_trace_with_its_requests_and_calls() {
    let collector = Collector::start();
    let (_endpoint, config) = thinker();
    let daemon = Daemon::start(&format!("{}{config}", telemetry(&collector, "")));
    let view = daemon.run_by_hand("a");
    assert_eq!(view["status"], "completed", "{view:#}");
    let spans = collector.spans_of(&view["run_id"]);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "bgagent.run",
            "chat m-1",
            "execute_tool remember",
            "chat m-1",
            "execute_tool recall",
            "chat m-1",
            "bgagent.attempt"
        ]
    );
    let (run, attempt) = (named(&spans, "bgagent.run"), named(&spans, "bgagent.attempt"));
    assert_eq!(attempt.parent_span_id, run.span_id);
    for span in spans.iter().filter(|span| span.name.contains(' ')) {
        assert_eq!(span.parent_span_id, attempt.span_id, "{}", span.name);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    assert!(
        spans.iter().all(|span| span.end_time_unix_nano <= run.end_time_unix_nano && span.status.is_none())
    );
    let of = |span: &str, key: &str| attribute(&named(&spans, span).attributes, key);
    for (span, key, value) in [
        ("bgagent.run", "gen_ai.operation.name", "invoke_agent"),
        ("bgagent.run", "gen_ai.agent.name", "a"),
        ("bgagent.run", "bgagent.run.status", "completed"),
        ("bgagent.run", "gen_ai.usage.input_tokens", "300"),
        ("chat m-1", "gen_ai.operation.name", "chat"),
        ("chat m-1", "gen_ai.provider.name", "openai"),
        ("chat m-1", "gen_ai.request.model", "m-1"),
        ("chat m-1", "bgagent.model", "main"),
        ("chat m-1", "gen_ai.usage.input_tokens", "100"),
        ("chat m-1", "gen_ai.usage.output_tokens", "10"),
        ("chat m-1", "gen_ai.response.finish_reasons", "tool_call"),
        ("execute_tool remember", "gen_ai.tool.name", "remember"),
        ("execute_tool remember", "gen_ai.operation.name", "execute_tool"),
        ("bgagent.attempt", "bgagent.attempt", "1"),
    ] {
        assert_eq!(of(span, key).as_deref(), Some(value), "{span} {key}");
    }
    assert_eq!(named(&spans, "chat m-1").kind, i32::from(SpanKind::Client));
    let sent = collector.taken();
    assert!(sent[0].head.starts_with("post /v1/traces http/1.1"), "{}", sent[0].head);
    assert!(sent[0].head.contains("content-type: application/x-protobuf"), "{}", sent[0].head);
    let of_resource = &collector.requests()[0].resource_spans[0];
    let resource = &of_resource.resource.as_ref().expect("a resource").attributes;
    assert_eq!(attribute(resource, "service.name").as_deref(), Some("bgagent"));
    assert_eq!(of_resource.scope_spans[0].schema_url, "https://opentelemetry.io/schemas/1.41.0");
    for secret in [SECRET_QUERY, SECRET_NOTE, SECRET_ANSWER] {
        assert!(!is_in(&sent, secret), "{secret}");
    }
}

fn is_in(sent: &[Sent], text: &str) -> bool {
    sent.iter().any(|sent| sent.body.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[test]
fn content_is_sent_when_it_is_asked_for() {
    let collector = Collector::start();
    let (_endpoint, config) = thinker();
    let daemon = Daemon::start(&format!("{}{config}", telemetry(&collector, "content = true\n")));
    let view = daemon.run_by_hand("a");
    let spans = collector.spans_of(&view["run_id"]);
    let of = |span: &str, key: &str| attribute(&named(&spans, span).attributes, key).unwrap_or_default();
    assert!(of("bgagent.run", "gen_ai.input.messages").contains(SECRET_QUERY));
    assert!(of("bgagent.run", "gen_ai.output.messages").contains(SECRET_ANSWER));
    assert!(of("execute_tool remember", "gen_ai.tool.call.arguments").contains(SECRET_NOTE));
    assert!(of("execute_tool recall", "gen_ai.tool.call.result").contains(SECRET_NOTE));
    let chats = spans.iter().filter(|span| span.name == "chat m-1");
    let said = chats.filter_map(|span| attribute(&span.attributes, "gen_ai.output.messages"));
    assert!(said.collect::<String>().contains(SECRET_ANSWER));
}

#[test]
fn a_hosted_collector_gets_its_key_and_nobody_else_sees_it() {
    let collector = Collector::start();
    let key = "Basic bmV3LWtleQ==";
    let mut daemon = Daemon::with(&format!(
        "{}[agents.a]\ncommand = [\"true\"]\n",
        telemetry(&collector, "headers = { Authorization = { file = \"key\" }, X-Dataset = \"fleet\" }\n")
    ));
    std::fs::write(daemon.path("key"), key).expect("a file");
    std::fs::set_permissions(daemon.path("key"), std::fs::Permissions::from_mode(0o600)).expect("ours");
    daemon.up();
    let view = daemon.run_by_hand("a");
    collector.spans_of(&view["run_id"]);
    let head = collector.taken()[0].head.to_ascii_lowercase();
    assert!(head.contains(&format!("authorization: {}", key.to_ascii_lowercase())), "{head}");
    assert!(head.contains("x-dataset: fleet"), "{head}");
    assert!(!daemon.log().contains(key));
}

#[test]
fn what_a_command_starts_is_in_the_trace_of_its_attempt() {
    let collector = Collector::start();
    let agents = "[agents.a]\ncommand = 'echo \"$TRACEPARENT\"; test \"$BGAGENT_ATTEMPT\" = 2'\n\
                  retry = { max = 1, initial = \"0s\" }\n\
                  [agents.own]\ncommand = 'echo \"$TRACEPARENT\"'\nenv = { TRACEPARENT = \"mine\" }\n";
    let daemon = Daemon::start(&format!("{}{agents}", telemetry(&collector, "")));
    let view = daemon.run_by_hand("a");
    assert_eq!((&view["status"], &view["attempt"]), (&json!("completed"), &json!(2)), "{view:#}");
    let spans = collector.spans_of(&view["run_id"]);
    let attempts: Vec<_> = spans.iter().filter(|span| span.name == "bgagent.attempt").collect();
    let [first, second] = attempts[..] else { panic!("two attempts: {spans:#?}") };
    let failed = first.status.as_ref().expect("it failed");
    assert_eq!((failed.code, failed.message.as_str()), (i32::from(StatusCode::Error), "exit_status"));
    assert_eq!(attribute(&first.attributes, "error.type").as_deref(), Some("exit_status"));
    assert!(second.status.is_none(), "{second:?}");
    let expected = format!("00-{}-{}-01", hex(&second.trace_id), hex(&second.span_id));
    assert_eq!(view["result"].as_str().map(str::trim), Some(expected.as_str()), "{view:#}");
    let own = daemon.run_by_hand("own");
    assert_eq!(own["result"].as_str().map(str::trim), Some("mine"), "{own:#}");
    // without telemetry there is none
    daemon.configure(agents);
    daemon.ok(&["reload"]);
    let view = daemon.run_by_hand("a");
    assert_eq!(view["result"], Value::Null, "{view:#}");
}

#[test]
fn a_run_over_two_lives_is_one_trace() {
    let collector = Collector::start();
    let config = "[agents.a]\ncommand = 'test -e again || { touch again; sleep 600; }'\nretry = { max = 1, initial = \"0s\" }\n";
    let mut daemon = Daemon::start(&format!("{}{config}", telemetry(&collector, "")));
    let run = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    wait_for("its program", || daemon.path("again").exists().then_some(()));
    daemon.kill();
    daemon.up();
    let view = daemon.finished(&run);
    let spans = collector.spans_of(&run);
    let first = spans.iter().find(|span| span.name == "bgagent.attempt").expect("an attempt");
    assert_eq!(first.status.as_ref().map(|status| status.message.as_str()), Some("interrupted"), "{view:#}");
    assert!(first.start_time_unix_nano < first.end_time_unix_nano, "{first:?}");
}

#[test]
fn a_collector_that_is_away_holds_up_nothing() {
    let collector = Collector::start();
    collector.refuses_with(&[503, 429]);
    let agent = "[agents.a]\ncommand = \"true\"\n";
    let metrics = "prometheus = \"127.0.0.1:0\"\n";
    let daemon = Daemon::start(&format!("{}{agent}", telemetry(&collector, metrics)));
    let view = daemon.run_by_hand("a");
    assert_eq!(collector.spans_of(&view["run_id"]).len(), 2);
    let sent = "bgagent_trace_spans_total{outcome=\"sent\"}";
    wait_for("the count", || (scrape(&daemon).value(sent) == Some(2.0)).then_some(()));
    assert!(daemon.log().contains("the collector answers with HTTP status 503"), "{}", daemon.log());
    // what is refused for good is counted
    collector.refuses_with(&[400]);
    daemon.run_by_hand("a");
    let dropped = "bgagent_trace_spans_total{outcome=\"dropped\"}";
    wait_for("the count", || (scrape(&daemon).value(dropped) == Some(2.0)).then_some(()));
    // nobody is there
    daemon.configure(&format!("[telemetry]\notlp = \"http://{}\"\n{metrics}{agent}", nobody()));
    daemon.ok(&["reload"]);
    daemon.run_by_hand("a");
    let traces = wait_for("a problem", || {
        let traces = daemon.call("get_daemon_status", json!({}))["traces"].clone();
        traces["problem"].is_string().then_some(traces)
    });
    assert_eq!((&traces["sent"], &traces["waiting"]), (&json!(2), &json!(2)), "{traces}");
    assert!(daemon.ok(&["status"]).contains("traces"), "{}", daemon.ok(&["status"]));
    assert_eq!(daemon.run_by_hand("a")["status"], "completed");
    daemon.configure(agent);
    daemon.ok(&["reload"]);
    wait_for("the end of it", || {
        daemon.call("get_daemon_status", json!({})).get("traces").is_none_or(Value::is_null).then_some(())
    });
}

/// A server whose tool gives back what came along with the call.
const SERVER: &str = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    params = message.get("params") or {}
    result = {}
    if message["method"] == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "s", "version": "1"}}
    elif message["method"] == "tools/list":
        result = {"tools": [{"name": "look", "description": "Looks.", "inputSchema": {"type": "object"},
                             "annotations": {"readOnlyHint": True}}]}
    elif message["method"] == "tools/call":
        result = {"content": [{"type": "text", "text": "meta " + str((params.get("_meta") or {}).get("traceparent"))}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;

#[test]
fn calls_of_mcp_tools_and_programs_of_tools_are_in_the_trace_of_their_attempt() {
    let collector = Collector::start();
    let mut daemon = Daemon::with("");
    daemon.trusts.push("s".into());
    std::fs::write(daemon.path("server.py"), SERVER).expect("the folder can be written");
    daemon.configure(&format!(
        "{}[mcp.s]\ncommand = [\"{}\", \"server.py\"]\nsandbox = false\nallow = [\"look\"]\neffects = {{ look = \"read\" }}\n\
         [tools.sh]\ntype = \"shell\"\nsandbox = false\ncommands = {{ trace = {{ exec = \"/bin/sh\", args = [\"-c\", \"echo meta $TRACEPARENT\"] }} }}\n\
         [agents.a]\ntool = \"s/look\"\n[agents.b]\ntool = \"sh\"\nargs = {{ command = \"trace\" }}\n",
        telemetry(&collector, ""),
        python3()
    ));
    daemon.up();
    for agent in ["a", "b"] {
        let view = daemon.run_by_hand(agent);
        assert_eq!(view["status"], "completed", "{view:#}");
        let spans = collector.spans_of(&view["run_id"]);
        let attempt = named(&spans, "bgagent.attempt");
        let expected = format!("meta 00-{}-{}-01", hex(&attempt.trace_id), hex(&attempt.span_id));
        assert!(
            view["result"].as_str().is_some_and(|result| result.contains(&expected)),
            "{expected} {view:#}"
        );
    }
}
