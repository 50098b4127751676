//! Requests to models over real connections: what is said in each wire's words, what each failure
//! becomes, and the limits that all who ask share.
mod faults;
mod schemas;
mod settings;
mod tokens;

use super::endpoint::{Endpoint, Reply, Request, Used};
use super::support::SOON;
use bgagent::domain::*;
use bgagent::llm::Models;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(120);
const WIRES: [&str; 5] = ["openai", "openai-compatible", "ollama", "anthropic", "gemini"];
const PROMPT: &str = "What is the secret plan of the northern office?";

fn spec(provider: &str, endpoint: &Endpoint) -> ModelSpec {
    ModelSpec {
        provider: Provider::parse(provider).unwrap(),
        model: "m-1".into(),
        base_url: Some(endpoint.url()),
        api_key: None,
        headers: BTreeMap::new(),
        request_timeout: SignedDuration::from_secs(30),
        max_output_tokens: 2048,
        max_output_by_default: false,
        temperature: Some(0.5),
        settings: RequestSettings::default(),
        price: None,
        fallback: Vec::new(),
        fallback_on: Vec::new(),
        max_parallel_requests: None,
        requests_per_minute: None,
    }
}

fn fleet(spec: ModelSpec) -> Fleet {
    let mut fleet = Fleet::empty("/agents.toml".into());
    fleet.models.insert("main".into(), spec);
    fleet
}

fn models(spec: ModelSpec) -> Models {
    Models::new(&fleet(spec), None)
}

fn request() -> ModelRequest {
    ModelRequest {
        system: Some("You are a careful operator.".into()),
        messages: vec![ChatMessage::User { text: PROMPT.into() }],
        tools: Vec::new(),
        max_output_tokens: 77,
        output_schema: None,
        only_answer: false,
    }
}

fn tool(name: &str) -> ToolDef {
    let schema = json!({"type": "object", "properties": {"q": {"type": "string"}}});
    ToolDef { name: name.into(), description: format!("does {name}"), schema }
}

/// Asks once, with nothing special.
async fn ask(provider: &str, endpoint: &Endpoint) -> Result<ModelAnswer, ModelError> {
    models(spec(provider, endpoint)).ask("main", &request(), LONG).await
}

#[tokio::test]
async fn each_wire_says_a_text_and_what_it_used() {
    for provider in WIRES {
        let used = Used { input: 100, cached: 60, output: 10, thoughts: 5 };
        let endpoint = Endpoint::script([Reply::text("All is well.").thinking("Let me see.").using(used)]);
        let answer = ask(provider, &endpoint).await.expect(provider);
        assert_eq!(answer.turn.text, "All is well.", "{provider}");
        assert_eq!(answer.turn.thought.as_deref(), Some("Let me see."), "{provider}");
        assert_eq!(answer.finish, Finish::Stop);
        assert_eq!(
            answer.tokens,
            Some(Tokens { input: 100, cached: 60, written: 0, output: 15 }),
            "{provider}"
        );
        let asked = &endpoint.requests()[0];
        let (path, most) = match provider {
            "anthropic" => ("/v1/messages", &asked.json["max_tokens"]),
            "gemini" => {
                ("/v1beta/models/m-1:generateContent", &asked.json["generationConfig"]["maxOutputTokens"])
            }
            "openai" => ("/chat/completions", &asked.json["max_completion_tokens"]),
            "ollama" => ("/v1/chat/completions", &asked.json["max_tokens"]),
            _ => ("/chat/completions", &asked.json["max_tokens"]),
        };
        assert_eq!(asked.path, path);
        assert_eq!(most, 77, "{provider}");
        assert_eq!(asked.header("content-type"), Some("application/json"));
        for name in ["authorization", "x-api-key", "x-goog-api-key"] {
            assert_eq!(asked.header(name), None, "{provider}: no key is needed");
        }
        let sent = asked.json.to_string();
        assert!(sent.contains(PROMPT) && sent.contains("careful operator") && sent.contains("0.5"), "{sent}");
    }
}

#[tokio::test]
async fn absent_usage_is_not_zero_and_lies_do_no_harm() {
    for provider in WIRES {
        let zero = Used { input: 0, cached: 0, output: 0, thoughts: 0 };
        let lie = Used { input: 5, cached: u64::MAX, output: u64::MAX, thoughts: 0 };
        let endpoint = Endpoint::script([
            Reply::text("x").without_usage(),
            Reply::text("x").using(zero),
            Reply::text("x").using(lie),
        ]);
        assert_eq!(ask(provider, &endpoint).await.expect(provider).tokens, None);
        assert_eq!(ask(provider, &endpoint).await.expect(provider).tokens, None);
        let tokens = ask(provider, &endpoint).await.expect(provider).tokens.expect("it said something");
        assert!(tokens.cached <= tokens.input && tokens.output == u64::MAX, "{provider} {tokens:?}");
    }
    let negative = json!({
        "choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": -4, "completion_tokens": 1.5},
    });
    let endpoint = Endpoint::script([Reply::body(negative.to_string())]);
    assert_eq!(ask("openai", &endpoint).await.expect("an answer").tokens, None);
}

/// A request with a whole exchange behind it, and what was sent for it.
async fn exchange(provider: &str) -> Value {
    let call = Reply::calls(&[("git_hub", r#"{"q": "a"}"#), ("git_hub_2", r#"{"q": "b"}"#), ("nope", "{}")]);
    let endpoint = Endpoint::script([call.thinking("Which one?"), Reply::text("done")]);
    let models = models(spec(provider, &endpoint));
    let mut request = request();
    request.tools = vec![tool("git_hub"), tool("git/hub")];
    let answer = models.ask("main", &request, LONG).await.expect(provider);
    let calls = &answer.turn.calls;
    let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["git_hub", "git/hub", "nope"], "{provider}");
    let first: Value = serde_json::from_str(&calls[0].arguments).expect("JSON");
    assert_eq!(first, json!({"q": "a"}));
    let reply = |call: &ToolRequest| ToolReply {
        id: call.id.clone(),
        name: call.name.clone(),
        text: format!("result of {}", call.name),
        is_error: call.name == "nope",
    };
    let replies = calls.iter().map(reply).collect();
    request.messages.push(ChatMessage::Model(answer.turn));
    request.messages.push(ChatMessage::Tools { replies });
    assert_eq!(models.ask("main", &request, LONG).await.expect(provider).turn.text, "done");
    endpoint.requests().remove(1).json
}

#[tokio::test]
async fn calls_and_results_in_openais_words() {
    for provider in ["openai", "openai-compatible", "ollama"] {
        let sent = exchange(provider).await;
        assert_eq!(sent["tools"][1]["function"]["name"], "git_hub_2");
        assert_eq!(sent["tools"][1]["function"]["parameters"], tool("x").schema);
        assert_eq!(sent["messages"][0]["role"], "system");
        let turn = &sent["messages"][2];
        assert_eq!(turn["role"], "assistant");
        assert_eq!(turn["content"], Value::Null);
        assert_eq!(turn["reasoning_content"], "Which one?");
        assert_eq!(turn["tool_calls"][1]["function"]["name"], "git_hub_2");
        assert_eq!(turn["tool_calls"][1]["function"]["arguments"], r#"{"q": "b"}"#);
        assert_eq!(turn["tool_calls"][1]["type"], "function");
        let result = json!({"role": "tool", "tool_call_id": "id_1", "content": "result of git/hub"});
        assert_eq!(sent["messages"][4], result);
    }
}

#[tokio::test]
async fn calls_and_results_in_anthropics_words() {
    let sent = exchange("anthropic").await;
    assert_eq!(sent["system"], "You are a careful operator.");
    assert_eq!(sent["tools"][1]["name"], "git_hub_2");
    assert_eq!(sent["tools"][1]["input_schema"], tool("x").schema);
    let turn = &sent["messages"][1];
    assert_eq!(turn["role"], "assistant");
    let thought = json!({"type": "thinking", "thinking": "Which one?", "signature": "signed"});
    assert_eq!(turn["content"][0], thought);
    let call = json!({"type": "tool_use", "id": "id_1", "name": "git_hub_2", "input": {"q": "b"}});
    assert_eq!(turn["content"][2], call);
    let results = &sent["messages"][2];
    assert_eq!(results["role"], "user");
    let result = json!({"type": "tool_result", "tool_use_id": "id_1", "content": "result of git/hub"});
    assert_eq!(results["content"][1], result);
    assert_eq!(results["content"][2]["is_error"], true);
}

#[tokio::test]
async fn calls_and_results_in_geminis_words() {
    let sent = exchange("gemini").await;
    assert_eq!(sent["systemInstruction"]["parts"][0]["text"], "You are a careful operator.");
    let function = &sent["tools"][0]["functionDeclarations"][1];
    assert_eq!(function["name"], "git_hub_2");
    assert_eq!(function["parametersJsonSchema"], tool("x").schema);
    let turn = &sent["contents"][1];
    assert_eq!(turn["role"], "model");
    assert_eq!(turn["parts"][0]["thoughtSignature"], "signed");
    let call = json!({"functionCall": {"id": "id_1", "name": "git_hub_2", "args": {"q": "b"}}});
    assert_eq!(turn["parts"][1], call);
    let result = &sent["contents"][2]["parts"];
    let reply = json!({"id": "id_1", "name": "git_hub_2", "response": {"result": "result of git/hub"}});
    assert_eq!(result[1], json!({"functionResponse": reply}));
    assert_eq!(result[2]["functionResponse"]["response"], json!({"error": "result of nope"}));
}

#[tokio::test]
async fn how_answers_end() {
    for provider in WIRES {
        let endpoint = Endpoint::script([
            Reply::cut_off("The beg"),
            Reply::refusal("I won't."),
            Reply::empty(),
            Reply::calls(&[]),
        ]);
        let cut = ask(provider, &endpoint).await.expect(provider);
        assert_eq!((cut.finish, cut.turn.text.as_str()), (Finish::Length, "The beg"), "{provider}");
        let refused = ask(provider, &endpoint).await.expect(provider);
        let Finish::Refusal(why) = refused.finish else { panic!("{provider}: {refused:?}") };
        assert!(why.contains(if provider == "gemini" { "SAFETY" } else { "I won't." }), "{why}");
        let empty = ask(provider, &endpoint).await.expect(provider);
        let nothing = ModelTurn { by: empty.turn.by.clone(), ..ModelTurn::default() };
        assert_eq!((empty.finish, empty.turn), (Finish::Stop, nothing), "{provider}");
        assert!(empty.tokens.is_some());
    }
}

#[tokio::test]
async fn ten_thousand_calls_are_an_answer() {
    for provider in WIRES {
        let calls = vec![("t", "{}"); 10_001];
        let endpoint = Endpoint::script([Reply::calls(&calls)]);
        assert_eq!(ask(provider, &endpoint).await.expect(provider).turn.calls.len(), 10_001);
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let models = models(spec("openai", &endpoint));
    for _ in 0..5 {
        models.ask("main", &request(), LONG).await.expect("an answer");
    }
    // a reload keeps it
    let reloaded = Models::new(&fleet(spec("openai", &endpoint)), Some(&models));
    drop(models);
    reloaded.ask("main", &request(), LONG).await.expect("an answer");
    assert!(endpoint.requests().iter().all(|request| request.connection == 0));
}

#[tokio::test]
async fn what_is_not_configured_is_said() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let models = models(ModelSpec { base_url: None, ..spec("openai-compatible", &endpoint) });
    let error = models.ask("main", &request(), LONG).await.expect_err("no address");
    assert_eq!(error.error.kind, ErrorKind::Config);
    assert!(error.error.message.contains("[models.main]") && error.error.message.contains("`base_url`"));
    let error = models.ask("other", &request(), LONG).await.expect_err("no such model");
    assert!(error.error.message.contains("[models.other]"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_at_a_time_than_allowed_also_across_a_reload() {
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (under_way, seen) = (now.clone(), most.clone());
    let endpoint = Endpoint::answering(move |_| {
        let at_once = under_way.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(at_once, Ordering::SeqCst);
        for _ in 0..200 {
            std::thread::yield_now();
        }
        under_way.fetch_sub(1, Ordering::SeqCst);
        Reply::text("x")
    });
    let limited = ModelSpec { max_parallel_requests: Some(2), ..spec("openai", &endpoint) };
    let first = Arc::new(models(limited.clone()));
    let second = Arc::new(Models::new(&fleet(limited), Some(&first)));
    let asking = (0..40).map(|at| {
        let models = if at % 2 == 0 { first.clone() } else { second.clone() };
        tokio::spawn(async move { models.ask("main", &request(), LONG).await })
    });
    for asked in asking.collect::<Vec<_>>() {
        asked.await.expect("no panic").expect("an answer");
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
    assert_eq!(now.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_up_frees_the_place() {
    let endpoint = Endpoint::script([Reply::hang(), Reply::text("x")]);
    let limited = ModelSpec { max_parallel_requests: Some(1), ..spec("openai", &endpoint) };
    let models = Arc::new(models(limited));
    let hanging = models.clone();
    let task = tokio::spawn(async move { hanging.ask("main", &request(), LONG).await });
    endpoint.until_asked(1);
    let error = models.ask("main", &request(), Duration::from_millis(50)).await.expect_err("no place");
    assert_eq!(error.error.kind, ErrorKind::RateLimit);
    assert!(error.error.message.contains("`max_parallel_requests`") && !error.may_cost, "{error:?}");
    task.abort();
    models.ask("main", &request(), LONG).await.expect("there is room");
    assert_eq!(endpoint.requests().len(), 2);
}

#[tokio::test]
async fn no_more_a_minute_than_allowed_also_across_a_reload() {
    let endpoint = Endpoint::script([Reply::text("x")]);
    let limited = ModelSpec { requests_per_minute: Some(3), ..spec("openai", &endpoint) };
    let first = models(limited.clone());
    for _ in 0..3 {
        first.ask("main", &request(), LONG).await.expect("an answer");
    }
    let second = Models::new(&fleet(limited), Some(&first));
    let start = Instant::now();
    let error = second.ask("main", &request(), Duration::from_secs(20)).await.expect_err("no room");
    assert_eq!(error.error.kind, ErrorKind::RateLimit);
    assert!(error.try_fallback && !error.may_cost);
    let wait = error.retry_after.expect("it is known");
    assert!(wait > SignedDuration::from_secs(30) && wait <= SignedDuration::from_secs(60), "{wait:?}");
    assert!(start.elapsed() < SOON, "it is said at once");
    assert_eq!(endpoint.requests().len(), 3);
}

#[tokio::test]
async fn nobody_starts_into_a_wall() {
    let wall = |wait: &str| Reply::status(429, "slow down").with("retry-after-ms", wait);
    let endpoint = Endpoint::script([wall("1000000"), Reply::text("x")]);
    let models_far = models(spec("openai", &endpoint));
    models_far.ask("main", &request(), LONG).await.expect_err("too many");
    let start = Instant::now();
    let error = models_far.ask("main", &request(), LONG).await.expect_err("not asked");
    assert_eq!((error.error.kind, error.may_cost), (ErrorKind::RateLimit, false));
    assert!(error.retry_after.is_some_and(|wait| wait > SignedDuration::from_secs(90)), "{error:?}");
    assert!(start.elapsed() < SOON);
    assert_eq!(endpoint.requests().len(), 1);
    // one that ends in time is waited for
    let endpoint = Endpoint::script([wall("120"), Reply::text("x")]);
    let models_near = models(spec("openai", &endpoint));
    models_near.ask("main", &request(), LONG).await.expect_err("too many");
    let start = Instant::now();
    models_near.ask("main", &request(), LONG).await.expect("an answer");
    assert!(start.elapsed() > Duration::from_millis(60));
    // who can ask another model does not wait for that either
    let endpoint = Endpoint::script([wall("30000"), Reply::text("x")]);
    let models_near = models(spec("openai", &endpoint));
    assert_eq!(models_near.closed_for("main"), None);
    models_near.ask_or_pass("main", &request(), LONG).await.expect_err("too many");
    let start = Instant::now();
    let error = models_near.ask_or_pass("main", &request(), LONG).await.expect_err("not asked");
    assert!(error.try_fallback && !error.may_cost && start.elapsed() < SOON, "{error:?}");
    for wait in [error.retry_after, models_near.closed_for("main").and_then(|wait| wait.try_into().ok())] {
        assert!(wait.is_some_and(|wait| wait > SignedDuration::from_secs(20)), "{wait:?}");
    }
    assert_eq!(endpoint.requests().len(), 1);
}

/// One waits for its place while the one before it is told to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_ask_another_leaves_the_crowd_before_a_wall() {
    let reply = Reply::status(429, "slow down").with("retry-after", "40");
    let (answer, answers) = std::sync::mpsc::channel::<()>();
    let answers = std::sync::Mutex::new(answers);
    let endpoint = Endpoint::answering(move |_| {
        let _ = answers.lock().expect("one at a time").recv();
        reply.clone()
    });
    let limited = ModelSpec { max_parallel_requests: Some(1), ..spec("openai", &endpoint) };
    let models = Arc::new(models(limited));
    let ask = || {
        let models = models.clone();
        tokio::spawn(async move { models.ask_or_pass("main", &request(), LONG).await })
    };
    let first = ask();
    endpoint.until_asked(1);
    let others = [ask(), ask()];
    let start = Instant::now();
    answer.send(()).expect("it is waited for");
    first.await.expect("no panic").expect_err("too many");
    for other in others {
        other.await.expect("no panic").expect_err("not asked");
    }
    assert!(start.elapsed() < SOON);
    assert_eq!(endpoint.requests().len(), 1);
}
