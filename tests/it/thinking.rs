//! Runs that a model carries out, end to end: the real binary, its socket, an endpoint on loopback that
//! says what a test wants, and an MCP server that leaves a witness of each call.
mod approvals;
mod commands;
mod failures;
mod in_redis;
mod limits;
mod memories;
mod money;
mod obedient;
mod order;
mod resume;
mod secrets;
mod servers;
mod spoken;
mod unreal;
mod walls;

use super::endpoint::{Endpoint, Reply, Request, Used};
use super::support::{Daemon, SOON, code, python3, wait_for};
use serde_json::{Value, json};

/// What one request of [`answer`] uses at the price of [`config`], in US dollars.
const USD: f64 = (100.0 * 1.0 + 10.0 * 4.0) / 1e6;

/// A model `main` at this endpoint, and what follows.
fn config(endpoint: &Endpoint, rest: &str) -> String {
    format!(
        "[models.main]\nprovider = \"openai-compatible\"\nmodel = \"m-1\"\nbase_url = \"{}\"\n\
         request_timeout = \"20s\"\nmax_output_tokens = 500\n\
         price = {{ input = 1.0, cached_input = 0.5, output = 4.0 }}\n{rest}",
        endpoint.url()
    )
}

/// An agent `a` by hand with these keys, beside the model.
pub(super) fn agent(endpoint: &Endpoint, keys: &str) -> String {
    config(endpoint, &format!("[agents.a]\nquery = \"Look after it.\"\nmodel = \"main\"\n{keys}\n"))
}

/// An MCP server in Python, for `[mcp.s]`. Each call leaves a line in `witness`; `hold-TOOL` makes a
/// call wait for the end of its client, `die-TOOL` ends the server in mid-call; `say-Q` or `say` is what
/// `look` gives, and `about` what the tools say of themselves.
const SERVER: &str = r#"
import json, os, sys
here = sys.argv[1]
def read(name, default):
    try:
        return open(os.path.join(here, name)).read()
    except OSError:
        return default
hints = {"look": {"readOnlyHint": True}, "keep": {"idempotentHint": True, "destructiveHint": False},
         "put": {"destructiveHint": False}, "send": {"destructiveHint": True}, "wipe": {"destructiveHint": True}}
def answer(id, result):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}) + "\n")
    sys.stdout.flush()
while True:
    line = sys.stdin.readline()
    if not line:
        break
    message = json.loads(line)
    if "id" not in message:
        continue
    method, params = message.get("method"), message.get("params") or {}
    if method == "initialize":
        answer(message["id"], {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                               "serverInfo": {"name": "s", "version": "1"}})
    elif method == "tools/list":
        about = read("about", "Does a thing.")
        schema = {"type": "object", "properties": {"q": {"type": "string"}}}
        answer(message["id"], {"tools": [{"name": name, "description": about, "inputSchema": schema,
                                          "annotations": hint} for name, hint in hints.items()]})
    elif method == "tools/call":
        name = params["name"]
        with open(os.path.join(here, "witness"), "a") as witness:
            witness.write(name + " " + json.dumps(params.get("arguments")) + "\n")
        if read("die-" + name, None) is not None:
            os._exit(3)
        if read("hold-" + name, None) is not None:
            while sys.stdin.readline():
                pass
            break
        said = "say-" + str((params.get("arguments") or {}).get("q"))
        text = read(said, read("say", "all is well")) if name == "look" else "done"
        answer(message["id"], {"content": [{"type": "text", "text": text}]})
    else:
        answer(message["id"], {})
"#;

/// A daemon, not started yet, with that server, which is trusted when it is up, the model, and agent `a` with these keys.
fn with_server(endpoint: &Endpoint, keys: &str) -> Daemon {
    let mut daemon = Daemon::with("");
    daemon.trusts.push("s".into());
    std::fs::write(daemon.path("server.py"), SERVER).expect("the folder can be written");
    let server = format!(
        "[mcp.s]\ncommand = [\"{python3}\", \"server.py\", \"{}\"]\nsandbox = false\nallow = [\"look\", \"keep\", \"put\", \"send\"]\neffects = {{ look = \"read\", keep = \"idempotent\" }}\n",
        daemon.folder.path().display(),
        python3 = python3(),
    );
    daemon.configure(&format!("{}{server}", agent(endpoint, keys)));
    daemon
}

/// Calls that reached the server: tool and arguments.
fn witness(daemon: &Daemon) -> Vec<String> {
    let text = std::fs::read_to_string(daemon.path("witness")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// How often a tool of the server was called.
fn witnessed(daemon: &Daemon, tool: &str) -> usize {
    witness(daemon).iter().filter(|line| line.split(' ').next() == Some(tool)).count()
}

/// Results of tools that the model is shown in a request.
pub(super) fn results(request: &Request) -> Vec<String> {
    let messages = request.json["messages"].as_array().expect("messages");
    let tools = messages.iter().filter(|message| message["role"] == "tool");
    tools.map(|message| message["content"].as_str().expect("text").to_owned()).collect()
}

/// Starts a run of `a`; its id.
#[track_caller]
fn start(daemon: &Daemon) -> Value {
    daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone()
}

/// A whole run of `a`.
#[track_caller]
fn run(daemon: &Daemon) -> Value {
    daemon.finished(&start(daemon))
}

/// A whole run of `a` that must complete.
#[track_caller]
fn completed(daemon: &Daemon) -> Value {
    let view = run(daemon);
    assert_eq!(view["status"], "completed", "{view:#}");
    view
}

/// Types of the events of a run, in order.
fn types(view: &Value) -> Vec<&str> {
    let events = view["events"].as_array().expect("events");
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

/// Payloads of the events of this type.
fn told<'a>(view: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = view["events"].as_array().expect("events");
    events.iter().filter(|event| event["type"] == kind).map(|event| &event["payload"]).collect()
}

/// Requests, tokens and dollars in a `usage`.
fn amounts(usage: &Value) -> (u64, u64, f64) {
    let number = |key: &str| usage[key].as_u64().unwrap_or_else(|| panic!("no {key} in {usage}"));
    let tokens = number("input_tokens") + number("output_tokens");
    (number("requests"), tokens, usage["usd"].as_f64().expect("dollars"))
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// What all agents were charged.
fn charged(daemon: &Daemon) -> (u64, u64, f64) {
    let rows = daemon.call("get_usage", json!({}));
    rows.as_array().expect("rows").iter().fold((0, 0, 0.0), |sum, row| {
        let more = amounts(&row["usage"]);
        (sum.0 + more.0, sum.1 + more.1, sum.2 + more.2)
    })
}

/// A run's own record and the books say the same.
#[track_caller]
fn books_agree(daemon: &Daemon, runs: &[&Value]) {
    let (mut requests, mut tokens, mut usd) = (0, 0, 0.0);
    for view in runs {
        let of_run = amounts(&view["usage"]);
        (requests, tokens, usd) = (requests + of_run.0, tokens + of_run.1, usd + of_run.2);
    }
    let books = charged(daemon);
    assert_eq!((requests, tokens), (books.0, books.1), "{:#}", runs[0]);
    assert!(near(usd, books.2), "{usd} {}", books.2);
}

#[test]
fn a_run_with_two_tools_tells_all_of_it_in_order() {
    let endpoint = Endpoint::script([
        Reply::calls(&[("remember", r#"{"key": "k", "text": "v"}"#), ("recall", r#"{"key": "k"}"#)])
            .thinking("First I write it down."),
        Reply::text("It is written down.").using(Used { input: 300, cached: 100, output: 20, thoughts: 0 }),
    ]);
    let daemon = Daemon::start(&agent(&endpoint, "tools = [\"remember\", \"recall\"]"));
    let view = completed(&daemon);
    assert_eq!(
        types(&view),
        [
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
        ]
    );
    assert_eq!(view["session_id"], "a");
    let events = view["events"].as_array().expect("events");
    for pair in events.windows(2) {
        assert!(pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64());
    }
    for event in events {
        assert_eq!((&event["agent_id"], &event["run_id"]), (&json!("a"), &view["run_id"]), "{event}");
        assert_eq!(event["session_id"], "a", "{event}");
    }
    assert_eq!(told(&view, "background_task_started")[0]["run_count"], 1);
    assert_eq!(told(&view, "background_task_started")[0]["trigger"], "manual");
    assert_eq!(told(&view, "user_message")[0]["text"], "Look after it.");
    assert_eq!(told(&view, "agent_thought")[0]["text"], "First I write it down.");
    let asked = told(&view, "model_request");
    assert_eq!(asked[0]["model"], "main");
    assert!(asked.iter().all(|asked| asked["tokens_at_most"].as_u64().is_some_and(|most| most > 500)));
    let answered = told(&view, "model_response");
    assert_eq!((&answered[0]["finish"], &answered[0]["calls"]), (&json!("tool_calls"), &json!(2)));
    assert!(near(answered[0]["usage"]["usd"].as_f64().expect("dollars"), USD), "{}", answered[0]);
    assert_eq!((&answered[1]["finish"], &answered[1]["usage_reported"]), (&json!("stop"), &json!(true)));
    let began = told(&view, "tool_call_started");
    assert_eq!((&began[0]["tool"], &began[0]["effect"]), (&json!("remember"), &json!("idempotent")));
    assert_eq!(began[0]["args"], r#"{"key":"k","text":"v"}"#);
    let gave = told(&view, "tool_call_result");
    assert!(gave[1]["result"].as_str().expect("text").contains("\"v\""), "{}", gave[1]);
    assert!(gave[1]["duration_ms"].is_u64() && gave[1]["bytes"].is_u64());
    assert_eq!(told(&view, "final_answer")[0]["text"], "It is written down.");
    let done = told(&view, "background_task_completed")[0];
    assert_eq!((&done["run_count"], &done["result"]), (&json!(1), &json!("It is written down.")));
    assert!(done["duration_ms"].is_u64());
    assert_eq!(done["usage"], view["usage"]);
    // the record: steps, model, and sums
    assert_eq!((&view["model"], &view["result"]), (&json!("main"), &json!("It is written down.")));
    let steps = view["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 9, "{steps:#?}");
    assert_eq!(steps.iter().filter(|step| step["tool"] == "remember").count(), 2);
    let usd = USD + (200.0 * 1.0 + 100.0 * 0.5 + 20.0 * 4.0) / 1e6;
    let usage = &view["usage"];
    assert_eq!((&usage["requests"], &usage["input_tokens"]), (&json!(2), &json!(400)));
    assert_eq!((&usage["cached_tokens"], &usage["output_tokens"]), (&json!(100), &json!(30)));
    assert!(near(usage["usd"].as_f64().expect("dollars"), usd), "{usage}");
    for (by, key) in [("agent", Some("a")), ("model", Some("main")), ("day", None)] {
        let rows = daemon.call("get_usage", json!({"by": by}));
        let rows = rows.as_array().expect("rows");
        assert_eq!(rows.len(), 1, "{by}: {rows:?}");
        assert!(key.is_none_or(|key| rows[0]["key"] == key), "{rows:?}");
        assert_eq!((&rows[0]["usage"], &rows[0]["runs"]), (usage, &json!(1)), "{by}");
    }
    assert!(near(daemon.call("list_agents", json!({}))[0]["cost_today_usd"].as_f64().expect("dollars"), usd));
    // what was sent the second time holds what the tools gave
    let sent = endpoint.requests();
    assert_eq!(sent.len(), 2);
    assert_eq!(results(&sent[1]).len(), 2);
}
