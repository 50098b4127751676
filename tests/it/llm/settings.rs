//! What is said in a request beside what is asked: own parameters, the cache, and what goes to another model
//! than the one that said it.
use super::*;

/// The body of one request with these settings.
async fn sent(provider: &str, settings: RequestSettings) -> (String, Value) {
    let answer = match provider {
        "ollama" => Reply::body(r#"{"message": {"content": "x"}, "prompt_eval_count": 7, "eval_count": 2}"#),
        _ => Reply::text("x"),
    };
    let endpoint = Endpoint::script([answer]);
    let spec = ModelSpec { settings, temperature: None, ..spec(provider, &endpoint) };
    let request = ModelRequest { tools: vec![tool("look")], ..request() };
    let answer = models(spec).ask("main", &request, LONG).await.expect("an answer");
    assert_eq!((answer.turn.text.as_str(), answer.tokens.is_some()), ("x", true), "{provider}");
    let asked = endpoint.requests().remove(0);
    (asked.path, asked.json)
}

#[tokio::test]
async fn settings_are_said_in_each_wires_words() {
    let settings = || RequestSettings {
        top_p: Some(0.5),
        reasoning_effort: Some(Effort::Low),
        ..RequestSettings::default()
    };
    for provider in ["openai", "openai-compatible"] {
        let (_, body) = sent(provider, settings()).await;
        assert_eq!((&body["top_p"], &body["reasoning_effort"]), (&json!(0.5), &json!("low")), "{body}");
    }
    let (_, body) = sent("anthropic", settings()).await;
    assert_eq!((&body["top_p"], &body["output_config"]), (&json!(0.5), &json!({"effort": "low"})), "{body}");
    let (_, body) = sent("gemini", settings()).await;
    let config = &body["generationConfig"];
    assert_eq!((&config["topP"], &config["thinkingConfig"]["thinkingLevel"]), (&json!(0.5), &json!("low")));
    let (_, body) =
        sent("gemini", RequestSettings { reasoning_effort: Some(Effort::None), ..settings() }).await;
    assert_eq!(body["generationConfig"]["thinkingConfig"], json!({"thinkingBudget": 0}));
    // its imitation of OpenAI has no word for the length of a context
    let (path, body) = sent("ollama", RequestSettings { num_ctx: Some(32768), ..settings() }).await;
    assert_eq!(path, "/api/chat");
    let options = json!({"num_ctx": 32768, "num_predict": 77, "top_p": 0.5});
    assert_eq!((&body["options"], &body["think"], &body["stream"]), (&options, &json!("low"), &json!(false)));
    assert_eq!(body["tools"][0]["function"]["name"], "look");
}

#[tokio::test]
async fn own_parameters_are_merged_over_all_else() {
    let params = json!({"seed": 7, "temperature": 1.5, "generationConfig": {"seed": 8}, "provider": {"sort": "price"}});
    let settings =
        || RequestSettings { params: params.as_object().cloned().unwrap_or_default(), ..Default::default() };
    for provider in ["openai", "openai-compatible", "anthropic", "gemini"] {
        let (_, body) = sent(provider, settings()).await;
        assert_eq!((&body["seed"], &body["temperature"]), (&json!(7), &json!(1.5)), "{provider}");
        assert_eq!(body["provider"]["sort"], "price", "{provider}");
        if provider == "gemini" {
            let config = &body["generationConfig"];
            assert_eq!((&config["seed"], &config["maxOutputTokens"]), (&json!(8), &json!(77)));
        }
    }
}

#[tokio::test]
async fn the_cache_of_anthropic_ends_behind_system_and_newest_message() {
    let marks = |body: &Value| body.to_string().matches("cache_control").count();
    let (_, body) = sent("anthropic", RequestSettings { cache: true, ..Default::default() }).await;
    let ephemeral = json!({"type": "ephemeral"});
    assert_eq!(body["system"][0]["cache_control"], ephemeral, "{body}");
    assert_eq!(body["messages"][0]["content"][0]["cache_control"], ephemeral, "{body}");
    assert_eq!((marks(&body), &body["messages"][0]["content"][0]["text"]), (2, &json!(PROMPT)));
    let (_, body) = sent("anthropic", RequestSettings::default()).await;
    assert_eq!(marks(&body), 0);
}

/// A turn with a call and a thought, as another model has said it.
fn of_another() -> Vec<ChatMessage> {
    let call = ToolRequest {
        id: "call_".to_owned() + &"a1".repeat(24),
        name: "look".into(),
        arguments: "{}".into(),
    };
    let reply =
        ToolReply { id: call.id.clone(), name: "look".into(), text: "all well".into(), is_error: false };
    let turn = ModelTurn { calls: vec![call], by: Some("another".into()), ..ModelTurn::default() };
    vec![ChatMessage::Model(turn), ChatMessage::Tools { replies: vec![reply] }]
}

#[tokio::test]
async fn what_another_model_said_goes_out_in_a_form_that_all_take() {
    for provider in WIRES {
        let endpoint = Endpoint::script([Reply::text("x")]);
        let params = json!({"thinking": {"type": "enabled"}});
        let settings =
            RequestSettings { params: params.as_object().cloned().unwrap_or_default(), ..Default::default() };
        let spec = ModelSpec { settings, ..spec(provider, &endpoint) };
        let mut request = ModelRequest { tools: vec![tool("look")], ..request() };
        request.messages.extend(of_another());
        models(spec).ask("main", &request, LONG).await.expect(provider);
        let body = endpoint.requests().remove(0).json;
        match provider {
            "gemini" => {
                let part = &body["contents"][1]["parts"][0];
                assert_eq!(part["thoughtSignature"], "skip_thought_signature_validator", "{body}");
                assert_eq!(part["functionCall"].get("id"), None, "{body}");
            }
            "anthropic" => {
                let id = body["messages"][1]["content"][0]["id"].as_str().expect("an id");
                assert_eq!(body["messages"][2]["content"][0]["tool_use_id"], id);
                assert!(id.len() == 9 && body.get("thinking").is_none(), "{body}");
            }
            _ => {
                let id = body["messages"][2]["tool_calls"][0]["id"].as_str().expect("an id");
                assert_eq!(body["messages"][3]["tool_call_id"], id);
                assert!(id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric()), "{provider}: {id}");
                assert_eq!(body["messages"][2].get("reasoning_content"), None);
            }
        }
    }
}

#[tokio::test]
async fn who_wants_thoughts_back_with_all_calls_gets_them_from_then_on() {
    let endpoint = Endpoint::answering(|request| {
        let messages = request.json["messages"].as_array().expect("messages");
        let lacks =
            |message: &Value| message["tool_calls"].is_array() && message["reasoning_content"].is_null();
        match messages.iter().any(lacks) {
            true => Reply::status(400, "thinking is enabled but reasoning_content is missing"),
            false => Reply::text("x"),
        }
    });
    let models = models(spec("openai-compatible", &endpoint));
    let mut request = request();
    request.messages.extend(of_another());
    let answer = models.ask("main", &request, LONG).await.expect("an answer");
    assert!(answer.asked_twice);
    assert!(!models.ask("main", &request, LONG).await.expect("an answer").asked_twice);
    assert_eq!(endpoint.requests().len(), 3);
}
