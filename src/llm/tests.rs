//! Tests of what is pure here. Whole requests are tried in `tests/it/llm.rs`.
use super::*;
use crate::domain::{Finish, ModelTurn, Provider, RequestSettings, ToolReply, ToolRequest};
use serde_json::json;

fn spec(provider: &str, base_url: Option<&str>) -> ModelSpec {
    ModelSpec {
        provider: Provider::parse(provider).unwrap(),
        model: "m-1".into(),
        base_url: base_url.map(str::to_owned),
        api_key: None,
        headers: BTreeMap::new(),
        request_timeout: jiff::SignedDuration::from_secs(60),
        max_output_tokens: 1,
        max_output_by_default: false,
        temperature: None,
        settings: RequestSettings::default(),
        price: None,
        fallback: Vec::new(),
        fallback_on: Vec::new(),
        max_parallel_requests: None,
        requests_per_minute: None,
    }
}

#[test]
fn what_is_kept_of_an_answer_can_be_read_in_the_journal() {
    let names = ToolNames::of(&[]);
    let answer = |levels: usize| {
        let details = "[".repeat(levels) + &"]".repeat(levels);
        format!("{{\"choices\":[{{\"message\":{{\"content\":\"x\",\"reasoning_details\":{details}}}}}]}}")
    };
    assert!(parse(answer(124).as_bytes()).is_err(), "as deep as can be read");
    let json = parse(answer(96).as_bytes()).unwrap();
    let (turn, finish) = Wire::OpenAi.answer(&json, &names).unwrap();
    assert!(turn.opaque["openai"]["reasoning_details"].is_array());
    let answer = crate::domain::ModelAnswer { turn, finish, tokens: None, asked_twice: false };
    let step = crate::domain::Step::Answered { model: "m".into(), answer, used: Default::default() };
    let text = serde_json::to_string(&step).unwrap();
    assert_eq!(serde_json::from_str::<crate::domain::Step>(&text).unwrap(), step);
}

#[test]
fn addresses() {
    let local = "http://127.0.0.1:8080";
    let table = [
        ("openai", None, "https://api.openai.com/v1/chat/completions"),
        ("openai", Some("http://h/v1/"), "http://h/v1/chat/completions"),
        ("openai-compatible", Some("http://h/api/chat/completions"), "http://h/api/chat/completions"),
        ("openai-compatible", Some("http://h/x?api-version=3"), "http://h/x/chat/completions?api-version=3"),
        ("ollama", None, "http://127.0.0.1:11434/v1/chat/completions"),
        ("ollama", Some(local), "http://127.0.0.1:8080/v1/chat/completions"),
        ("ollama", Some("http://127.0.0.1:8080/v1"), "http://127.0.0.1:8080/v1/chat/completions"),
        ("anthropic", None, "https://api.anthropic.com/v1/messages"),
        ("anthropic", Some("http://h"), "http://h/v1/messages"),
        ("anthropic", Some("http://h/proxy/v1/"), "http://h/proxy/v1/messages"),
        ("gemini", None, "https://generativelanguage.googleapis.com/v1beta/models/m-1:generateContent"),
        ("gemini", Some("http://h/v1"), "http://h/v1/models/m-1:generateContent"),
    ];
    for (provider, base, expected) in table {
        let (_, url) = wire::endpoint(&spec(provider, base)).expect(provider);
        assert_eq!(url.as_str(), expected);
    }
    let tuned = ModelSpec { model: "tunedModels/a?b".into(), ..spec("gemini", Some(local)) };
    let (_, url) = wire::endpoint(&tuned).expect("an address");
    assert_eq!(url.as_str(), "http://127.0.0.1:8080/v1beta/tunedModels/a%3Fb:generateContent");
    for (provider, base) in
        [("openai-compatible", None), ("openai", Some("ftp://h")), ("openai", Some("http://"))]
    {
        assert!(wire::endpoint(&spec(provider, base)).is_err(), "{provider} {base:?}");
    }
}

#[test]
fn nothing_that_was_asked_is_shown() {
    let secrets = ["sk-12345".to_owned().into(), String::new().into()];
    let asked = ["Tell me of the northern office\nand its plan", "", "ok", "hush hush"];
    let clean = |text: &str| trouble::cleaned(text, &secrets, &asked);
    assert_eq!(clean("bad key sk-12345\u{7}!\n\n  ok"), "bad key … ! ok");
    assert_eq!(clean("in `Tell me of the northern office and` no"), "in `… and` no");
    assert_eq!(clean("he said hush hush"), "he said …");
    assert_eq!(clean("the northern"), "the northern");
    assert_eq!(clean(&"ä".repeat(1000)).chars().count(), 301);
    assert_eq!(clean(""), "");
}

/// Who is asked.
const MARK: &str = "m";

/// What a turn looks like when it is sent to this wire again.
fn sent_again(wire: Wire, turn: ModelTurn) -> Value {
    let names = ToolNames::of(&[]);
    let replies = turn.calls.iter().map(|call| ToolReply {
        id: call.id.clone(),
        name: call.name.clone(),
        text: String::new(),
        is_error: false,
    });
    let replies = replies.collect();
    let request = ModelRequest {
        system: None,
        messages: vec![ChatMessage::Model(turn), ChatMessage::Tools { replies }],
        tools: Vec::new(),
        max_output_tokens: 1,
        output_schema: None,
        only_answer: false,
    };
    let asked = Asked {
        model: "m-1",
        temperature: None,
        request: &request,
        names: &names,
        with_schema: true,
        settings: &RequestSettings::default(),
        mark: MARK,
        with_thoughts: false,
    };
    serde_json::from_slice(&wire.body(&asked)).expect("JSON")
}

fn read(wire: Wire, answer: &Value) -> (ModelTurn, Finish) {
    let (turn, finish) = wire.answer(answer, &ToolNames::of(&[])).expect("an answer");
    (ModelTurn { by: Some(MARK.into()), ..turn }, finish)
}

#[test]
fn thoughts_of_anthropic_keep_their_place() {
    let thought = |text: &str| json!({"type": "thinking", "thinking": text, "signature": text});
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "t", "input": {}});
    let hidden = json!({"type": "redacted_thinking", "data": "x"});
    let text = json!({"type": "text", "text": "hm"});
    let content = json!([thought("a"), hidden, text, thought("b"), call("1"), thought("c"), call("2")]);
    let (turn, _) = read(Wire::Anthropic, &json!({"content": content}));
    assert_eq!(turn.thought.as_deref(), Some("abc"));
    assert_eq!(sent_again(Wire::Anthropic, turn.clone())["messages"][0]["content"], content);
    // another wire does not see them
    let other = sent_again(Wire::LikeOpenAi, turn)["messages"][0].clone();
    assert!(!other.to_string().contains("redacted"), "{other}");
}

#[test]
fn signatures_of_gemini_keep_their_place() {
    let parts = json!([
        {"text": "hm", "thoughtSignature": "s0"},
        {"functionCall": {"name": "t", "args": {"a": 1}}, "thoughtSignature": "s1"},
        {"functionCall": {"name": "t", "args": {}}},
    ]);
    let (turn, _) = read(Wire::Gemini, &json!({"candidates": [{"content": {"parts": parts}}]}));
    assert_eq!(sent_again(Wire::Gemini, turn)["contents"][0]["parts"], parts);
}

#[test]
fn what_imitators_of_openai_do_differently() {
    let answer = |message: Value| json!({"choices": [{"message": message}]});
    let odd = json!({
        "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}, {"type": "text", "text": "x"}],
        "tool_calls": [
            {"function": {"name": "t", "arguments": {"a": 1}}},
            {"function": {"name": "t", "arguments": ""}, "extra_content": {"google": "s"}},
            {"id": null, "function": {"name": "t", "arguments": "{\"a\":"}},
        ],
        "reasoning_details": [{"x": 1}],
    });
    let (turn, _) = read(Wire::LikeOpenAi, &answer(odd));
    assert_eq!((turn.text.as_str(), turn.thought.as_deref()), ("x", Some("so")));
    let arguments: Vec<&str> = turn.calls.iter().map(|call| call.arguments.as_str()).collect();
    assert_eq!(arguments, ["{\"a\":1}", "", "{\"a\":"], "as they were sent");
    let back = &sent_again(Wire::LikeOpenAi, turn)["messages"];
    assert_eq!(back[0]["tool_calls"][0]["function"]["arguments"], "{\"a\":1}");
    assert_eq!(back[0]["tool_calls"][1]["function"]["arguments"], "{}");
    assert_eq!(back[0]["tool_calls"][1]["extra_content"], json!({"google": "s"}));
    assert_eq!(back[0]["tool_calls"][2]["function"]["arguments"], "{}");
    assert_eq!(back[0]["reasoning_details"], json!([{"x": 1}]));
    assert_eq!(back[1]["tool_call_id"], back[0]["tool_calls"][0]["id"]);
    assert_ne!(back[1]["tool_call_id"], back[2]["tool_call_id"]);
    for word in ["reasoning_content", "reasoning", "thinking"] {
        let (turn, _) = read(Wire::LikeOpenAi, &answer(json!({"content": "x", word: "why"})));
        assert_eq!(turn.thought.as_deref(), Some("why"));
    }
    // thoughts that `completion_tokens` leaves out
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40});
    let tokens = Wire::tokens(&json!({"usage": usage})).expect("it tells");
    assert_eq!((tokens.input, tokens.output), (10, 30));
}

#[test]
fn nothing_is_not_sent_as_something() {
    let silent = ModelTurn::default();
    assert_eq!(sent_again(Wire::Anthropic, silent.clone())["messages"], json!([]));
    assert_eq!(sent_again(Wire::Gemini, silent.clone())["contents"], json!([]));
    assert_eq!(sent_again(Wire::OpenAi, silent)["messages"], json!([{"role": "assistant", "content": ""}]));
    let calls = vec![ToolRequest { id: String::new(), name: "a/b".into(), arguments: "[1]".into() }];
    let turn = ModelTurn { calls, by: Some(MARK.into()), ..ModelTurn::default() };
    let part = &sent_again(Wire::Gemini, turn)["contents"][0]["parts"][0];
    assert_eq!(*part, json!({"functionCall": {"name": "a_b", "args": {}}}));
}

/// A pause within an answer ends it, however much time there is.
#[tokio::test]
async fn an_answer_that_stops_is_not_waited_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = Url::parse(&format!("http://{}/", listener.local_addr().expect("an address"))).expect("a URL");
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        assert!(stream.read(&mut [0; 4096]).await.expect("a request") > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{").await.expect("it listens");
        while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    });
    let client = net::pooled(&url, exchange::CONNECT).expect("a client");
    let until = Instant::now() + Duration::from_secs(60);
    let patience = Patience { until, limit: "?".into(), idle: Duration::from_millis(30) };
    let ended = exchange::exchange(&client, url, HeaderMap::new(), Vec::new(), &patience).await;
    let error = ended.map(|_| ()).expect_err("it stopped");
    assert_eq!(error.error.kind, ErrorKind::Timeout);
    assert!(error.error.message.contains("stopped") && error.may_cost, "{error:?}");
    serving.await.expect("the client leaves");
}
