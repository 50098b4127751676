//! Tests of whole sessions, with a fleet that does not respond.
use super::reach::{CallDesk, CallTrouble, FleetPaths, Reach};
use super::{lines, serve};
use crate::client::{ClientError, Connection};
use crate::domain::assistant::AssistantMay;
use crate::protocol::Method;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex};

/// A fleet that can't be reached.
struct Nobody;

impl CallDesk for Connection {
    fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Reply, ClientError> {
        Self::call::<M>(self, params)
    }
}

impl Reach for Nobody {
    type CallDesk = Connection;

    fn desk(&self) -> Result<(Connection, Option<String>), CallTrouble> {
        self.daemon().map(|daemon| (daemon, None))
    }

    fn daemon(&self) -> Result<Connection, CallTrouble> {
        Err(CallTrouble::new("nobody is \u{1b}[31mthere", "start it"))
    }

    fn trouble(&self, error: ClientError) -> CallTrouble {
        CallTrouble { what: error.to_string(), hint: None }
    }

    fn place(&self) -> Result<FleetPaths, CallTrouble> {
        self.daemon().map(|_| unreachable!("nobody is there"))
    }

    fn command(&self, words: &[&str]) -> String {
        words.join(" ")
    }
}

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns all output for these lines.
fn said(may: &[AssistantMay], lines: &[u8]) -> Vec<Value> {
    let out = Out::default();
    serve(Nobody, may, lines, out.clone()).unwrap();
    let bytes = out.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the answer to one request.
fn asked(may: &[AssistantMay], method: &str, params: Value) -> Value {
    let line = json!({"jsonrpc": "2.0", "id": "q", "method": method, "params": params}).to_string();
    let mut all = said(may, line.as_bytes());
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["id"], "q");
    all.remove(0)
}

#[test]
fn a_session_begins_with_a_version_that_both_know() {
    for (asked_for, got) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let answer = asked(
            &[],
            "initialize",
            json!({"protocolVersion": asked_for, "capabilities": {}, "clientInfo": {}}),
        );
        assert_eq!(answer["result"]["protocolVersion"], got);
        assert_eq!(answer["result"]["serverInfo"]["name"], "bgagent");
        assert_eq!(answer["result"]["capabilities"], json!({"tools": {"listChanged": false}}));
    }
    assert_eq!(asked(&[], "initialize", json!([]))["error"]["code"], lines::INVALID_PARAMS);
    assert_eq!(asked(&[], "ping", Value::Null)["result"], json!({}));
    for method in ["logging/setLevel", "resources/list", "prompts/list", "x\u{1b}"] {
        assert_eq!(asked(&[], method, json!({}))["error"]["code"], lines::NO_SUCH_METHOD, "{method}");
    }
}

#[test]
fn the_protocol_without_a_beginning_is_spoken_too() {
    let meta = |version: &str| json!({"_meta": {"io.modelcontextprotocol/protocolVersion": version}});
    let found = asked(&[], "server/discover", meta("2026-07-28"));
    assert_eq!(found["result"]["supportedVersions"][4], "2026-07-28");
    assert_eq!(found["result"]["resultType"], "complete");
    let listed = asked(&[], "tools/list", meta("2026-07-28"));
    assert_eq!(listed["result"]["resultType"], "complete");
    let refused = asked(&[], "tools/list", meta("2031-01-01"));
    assert_eq!(refused["error"]["code"], -32_022);
    assert_eq!(refused["error"]["data"]["requested"], "2031-01-01");
}

#[test]
fn only_what_is_allowed_is_offered_and_the_rest_says_who_may_allow_it() {
    use AssistantMay::{Propose, Run};
    let names = |may: &[AssistantMay]| -> Vec<String> {
        let listed = asked(may, "tools/list", json!({}));
        let tools = listed["result"]["tools"].as_array().unwrap().clone();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let looks = ["list_agents", "status", "why", "runs", "show", "next"];
    assert_eq!(names(&[]), looks);
    assert_eq!(names(&[Run])[6..], ["run_agent", "pause", "resume"]);
    assert_eq!(names(&[Propose])[6..], ["read_agent", "propose_agent"]);
    assert_eq!(names(&[Run, Propose]).len(), 11);
    let refused = asked(&[Run], "tools/call", json!({"name": "propose_agent", "arguments": {"toml": ""}}));
    assert_eq!(refused["result"]["isError"], true);
    let text = refused["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.starts_with("`propose_agent` is not allowed here\nhint: ") && text.contains("--may propose"),
        "{text}"
    );
    let unknown = asked(&[], "tools/call", json!({"name": "list_agent", "arguments": {}}));
    assert_eq!(unknown["error"]["code"], lines::INVALID_PARAMS);
    assert_eq!(unknown["error"]["message"], "there is no tool `list_agent`; did you mean `list_agents`?");
}

#[test]
fn hints_and_schemas_are_what_the_tools_are() {
    let listed = asked(&[AssistantMay::Run, AssistantMay::Propose], "tools/list", json!({}));
    for tool in listed["result"]["tools"].as_array().unwrap() {
        let (name, hints) = (tool["name"].as_str().unwrap(), &tool["annotations"]);
        let looks = !["run_agent", "pause", "resume", "propose_agent"].contains(&name);
        assert_eq!(hints["readOnlyHint"], looks, "{name}");
        assert_eq!(hints["destructiveHint"], name == "run_agent", "{name}");
        assert_eq!(hints["idempotentHint"], name != "run_agent", "{name}");
        assert_eq!(tool["inputSchema"]["type"], "object", "{name}");
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{name}");
        for (key, about) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(about["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} {key}");
        }
    }
    let required = |at: usize| &listed["result"]["tools"][at]["inputSchema"]["required"];
    assert_eq!((required(0), required(2), required(5)), (&Value::Null, &json!(["agent"]), &Value::Null));
    let runs = &listed["result"]["tools"][3]["inputSchema"]["properties"];
    assert_eq!((&runs["limit"]["default"], &runs["limit"]["maximum"]), (&json!(20), &json!(100)));
}

#[test]
fn what_goes_wrong_in_a_call_is_a_result_with_a_hint() {
    for (name, arguments, says) in [
        ("status", json!({"agnet": "a"}), "unknown field `agnet`"),
        ("why", json!({}), "missing field `agent`"),
        ("why", json!({"agent": "a", "at": "yesterday"}), "wrong arguments of `why`"),
        ("runs", json!({"limit": -1}), "not a whole number"),
        ("next", json!({"for": "5 parsecs"}), "`for` must be a number of seconds"),
        ("show", json!([1]), "wrong arguments of `show`"),
    ] {
        let answer = asked(&[], "tools/call", json!({"name": name, "arguments": arguments}));
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert_eq!(answer["result"]["isError"], true, "{text}");
        assert!(text.contains(says) && text.contains("\nhint: it takes: "), "{text}");
    }
    let nobody = asked(&[], "tools/call", json!({"name": "list_agents"}));
    assert_eq!(nobody["result"]["content"][0]["text"], "nobody is \\x1b[31mthere\nhint: start it");
}

#[test]
fn lines_that_are_no_messages_are_answered_and_the_session_goes_on() {
    let ping = |id: u32| json!({"jsonrpc": "2.0", "id": id, "method": "ping"}).to_string() + "\n";
    let mut input = Vec::new();
    for line in [
        "garbage",
        "\u{0}\u{1}",
        "",
        "  ",
        "5",
        "null",
        "\"ping\"",
        "[]",
        "{}",
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":9,"result":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":77}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":5}"#,
    ] {
        input.extend(line.as_bytes());
        input.push(b'\n');
    }
    input.extend(vec![b'x'; lines::LONGEST_LINE + 1]);
    input.push(b'\n');
    input.extend(vec![b'['; lines::LONGEST_LINE]);
    input.push(b'\n');
    input.extend(ping(1).as_bytes());
    input.extend(format!("[{},{}]\r\n", ping(2).trim(), ping(3).trim()).as_bytes());
    input.extend(ping(4).trim().as_bytes());
    let said_to = |input: &[u8]| said(&[], input);
    let said = said_to(&input);
    let codes: Vec<i64> = said.iter().filter_map(|one| one["error"]["code"].as_i64()).collect();
    let request = lines::INVALID_REQUEST;
    assert_eq!(codes[..2], [lines::PARSE_ERROR; 2]);
    assert_eq!(codes[2..11], [request; 9]);
    assert_eq!(codes[11..], [lines::INVALID_PARAMS, request, lines::PARSE_ERROR]);
    let pongs: Vec<&Value> =
        said.iter().filter(|one| one.get("result").is_some()).map(|one| &one["id"]).collect();
    assert_eq!(pongs, [&json!(1), &json!(2), &json!(3), &json!(4)]);
    let broken_off = said_to(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"meth");
    assert_eq!((broken_off.len(), &broken_off[0]["error"]["code"]), (1, &json!(lines::PARSE_ERROR)));
}
