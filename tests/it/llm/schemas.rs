//! The schema of an answer: who is told of it in which words, and what a refusal of it becomes.
use super::*;
use crate::endpoint::Request;

/// Where a request says it, as it was sent.
fn said(provider: &str, request: &Request) -> Value {
    match provider {
        "gemini" => request.json["generationConfig"]["responseJsonSchema"].clone(),
        "anthropic" => request.json["output_config"]["format"]["schema"].clone(),
        _ => request.json["response_format"]["json_schema"]["schema"].clone(),
    }
}

/// Not every key is required, and free ones are allowed.
fn schema() -> Value {
    json!({"type": "object", "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer", "minimum": 1}}})
}

fn asking(schema: Value) -> ModelRequest {
    ModelRequest { output_schema: Some(schema), ..request() }
}

#[tokio::test]
async fn it_goes_where_it_is_understood_and_keeps_nobody_from_calls() {
    let closed = json!({
        "type": "object", "additionalProperties": false,
        "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer"}},
    });
    for provider in WIRES {
        let endpoint = Endpoint::script([Reply::text("{}")]);
        let models = models(spec(provider, &endpoint));
        let mut request = asking(schema());
        models.ask("main", &request, LONG).await.expect(provider);
        request.tools.push(tool("t"));
        models.ask("main", &request, LONG).await.expect(provider);
        request.only_answer = true;
        let answer = models.ask("main", &request, LONG).await.expect(provider);
        assert!(!answer.asked_twice);
        let sent = endpoint.requests();
        let expected = if provider == "anthropic" { closed.clone() } else { schema() };
        let with_tools = if matches!(provider, "openai" | "anthropic") { &expected } else { &Value::Null };
        let all: Vec<Value> = sent.iter().map(|request| said(provider, request)).collect();
        assert_eq!([&all[0], &all[1], &all[2]], [&expected, with_tools, &expected], "{provider}");
        let choice = if provider.ends_with("compatible") || provider == "ollama" {
            json!("none")
        } else {
            Value::Null
        };
        let choices: Vec<&Value> = sent.iter().map(|request| &request.json["tool_choice"]).collect();
        assert_eq!(choices, [&Value::Null, &Value::Null, &choice], "{provider}");
    }
}

#[tokio::test]
async fn openai_holds_to_it_exactly_if_it_is_whole() {
    for (required, strict) in [(json!(["ok", "n"]), true), (json!(["ok"]), false)] {
        let endpoint = Endpoint::script([Reply::text("{}")]);
        let mut whole = schema();
        whole["required"] = required;
        models(spec("openai", &endpoint)).ask("main", &asking(whole.clone()), LONG).await.expect("an answer");
        let sent = endpoint.requests().remove(0).json["response_format"]["json_schema"].clone();
        if strict {
            whole["additionalProperties"] = false.into();
        }
        let strict = if strict { json!(true) } else { Value::Null };
        assert_eq!((&sent["strict"], &sent["schema"]), (&strict, &whole));
    }
}

#[tokio::test]
async fn free_keys_are_no_matter_for_anthropic() {
    let endpoint = Endpoint::script([Reply::text("{}")]);
    let free = json!({"type": "object", "additionalProperties": {"type": "string"}});
    models(spec("anthropic", &endpoint)).ask("main", &asking(free), LONG).await.expect("an answer");
    assert_eq!(endpoint.requests()[0].json["output_config"], Value::Null);
}

/// Refuses each request that has a schema in it.
fn refusing(provider: &'static str, refusal: Reply) -> Endpoint {
    Endpoint::answering(move |request| match said(provider, request) {
        Value::Null => Reply::text("{}"),
        _ => refusal.clone(),
    })
}

#[tokio::test]
async fn who_refuses_it_is_asked_without_it_and_never_again() {
    for provider in WIRES {
        let endpoint = refusing(provider, Reply::status(400, "unknown field"));
        let spec = ModelSpec { requests_per_minute: Some(50), ..spec(provider, &endpoint) };
        let first_life = models(spec.clone());
        let answer = first_life.ask("main", &asking(schema()), LONG).await.expect(provider);
        assert!(answer.asked_twice && answer.tokens.is_some(), "{provider}");
        let answer = first_life.ask("main", &asking(schema()), LONG).await.expect(provider);
        assert!(!answer.asked_twice, "{provider}");
        assert_eq!(endpoint.requests().len(), 3, "{provider}");
        // a reload knows it, and another schema is another question
        let reloaded = Models::new(&fleet(spec.clone()), Some(&first_life));
        assert!(!reloaded.ask("main", &asking(schema()), LONG).await.expect(provider).asked_twice);
        let other = asking(json!({"type": "array", "items": {"type": "string"}}));
        assert!(reloaded.ask("main", &other, LONG).await.expect(provider).asked_twice, "{provider}");
        // another model of the same place as well
        let other = Models::new(&fleet(ModelSpec { model: "m-2".into(), ..spec }), Some(&reloaded));
        assert!(other.ask("main", &asking(schema()), LONG).await.expect(provider).asked_twice, "{provider}");
    }
}

#[tokio::test]
async fn refusals_in_other_words_are_understood() {
    for refusal in [
        Reply::status(422, "extra inputs are not permitted"),
        Reply::status(404, "No endpoints found that can handle the requested parameters."),
        Reply::body("Failed to parse grammar").with_status(400),
    ] {
        let endpoint = refusing("openai-compatible", refusal);
        let models = models(spec("openai-compatible", &endpoint));
        assert!(models.ask("main", &asking(schema()), LONG).await.expect("an answer").asked_twice);
        assert_eq!(endpoint.requests().len(), 2);
    }
}

#[tokio::test]
async fn what_has_another_reason_is_what_it_was() {
    let bad_key = json!({"error": {"message": "bad", "details": [{"reason": "API_KEY_INVALID"}]}});
    let hidden = json!({"error": {"message": "response_format is not supported by this model"}});
    for refusal in [
        Reply::status(401, "bad schema of key"),
        Reply::status(404, "no such model"),
        Reply::status(429, "schema"),
        // these may have cost something
        Reply::status(500, "Failed to parse grammar"),
        Reply::body(hidden.to_string()),
        Reply::body(bad_key.to_string()).with_status(400),
    ] {
        let endpoint = Endpoint::script([refusal]);
        let models = models(spec("gemini", &endpoint));
        let error = models.ask("main", &asking(schema()), LONG).await.expect_err("an error");
        assert_eq!((endpoint.requests().len(), error.asked_twice), (1, false), "{error:?}");
    }
    // refused for something else: the second try says so, and nothing is concluded about the schema
    let endpoint =
        Endpoint::script([Reply::status(400, "too long"), Reply::status(400, "too long"), Reply::text("{}")]);
    let models = models(spec("openai", &endpoint));
    let error = models.ask("main", &asking(schema()), LONG).await.expect_err("an error");
    assert_eq!((error.error.kind, error.asked_twice, error.may_cost), (ErrorKind::Config, true, false));
    assert!(!models.ask("main", &asking(schema()), LONG).await.expect("an answer").asked_twice);
    let schemas: Vec<bool> =
        endpoint.requests().iter().map(|sent| said("openai", sent) != Value::Null).collect();
    assert_eq!(schemas, [true, false, true]);
}

/// Sixty tokens in, seven out, in words of OpenAI.
fn with_usage(mut body: Value) -> String {
    body["usage"] = json!({"prompt_tokens": 60, "completion_tokens": 7, "total_tokens": 67});
    body.to_string()
}

#[tokio::test]
async fn an_answer_that_is_withheld_is_paid_and_not_asked_for_again() {
    let used = Some(Tokens { input: 60, cached: 0, written: 0, output: 7 });
    let withheld = [
        json!({"error": {"message": "Failed to generate JSON.", "code": "json_validate_failed"}}),
        json!({"error": {"message": "Failed to validate JSON.", "failed_generation": "{"}}),
    ];
    for body in withheld {
        for (body, tokens) in [(body.to_string(), None), (with_usage(body), used)] {
            let endpoint = Endpoint::script([Reply::body(body).with_status(400), Reply::text("{}")]);
            let models = models(spec("openai-compatible", &endpoint));
            let error = models.ask("main", &asking(schema()), LONG).await.expect_err("an error");
            assert_eq!((error.error.kind, error.may_cost), (ErrorKind::BadResponse, true), "{error:?}");
            assert_eq!((error.tokens, error.asked_twice, endpoint.requests().len()), (tokens, false, 1));
        }
    }
}

#[tokio::test]
async fn what_a_refused_request_used_is_added() {
    let refusal = Reply::body(with_usage(json!({"error": {"message": "bad schema"}}))).with_status(400);
    let after = |reply: Reply| Endpoint::script([refusal.clone(), reply]);
    let ask = async |endpoint: Endpoint| {
        models(spec("openai-compatible", &endpoint)).ask("main", &asking(schema()), LONG).await
    };
    let used = Used { input: 100, cached: 0, output: 5, thoughts: 0 };
    let answer = ask(after(Reply::text("{}").using(used))).await.expect("an answer");
    assert_eq!(answer.tokens, Some(Tokens { input: 160, cached: 0, written: 0, output: 12 }));
    // not told: the worst case is charged
    assert_eq!(ask(after(Reply::text("{}").without_usage())).await.expect("an answer").tokens, None);
    let error = ask(after(Reply::status(400, "too long"))).await.expect_err("an error");
    assert_eq!(
        (error.tokens, error.asked_twice),
        (Some(Tokens { input: 60, cached: 0, written: 0, output: 7 }), true)
    );
    let error = ask(after(Reply::status(500, "oh"))).await.expect_err("an error");
    assert_eq!((error.tokens, error.may_cost), (None, true));
}

#[tokio::test]
async fn no_key_is_forbidden_that_the_schema_allows() {
    let schema = json!({
        "type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"],
        "oneOf": [{"properties": {"x": {}}, "required": ["x"]}, {"properties": {"y": {}}, "required": ["y"]}],
    });
    let endpoint = Endpoint::script([Reply::text("{}")]);
    models(spec("anthropic", &endpoint)).ask("main", &asking(schema), LONG).await.expect("an answer");
    assert_eq!(endpoint.requests()[0].json["output_config"], Value::Null);
}

#[tokio::test]
async fn both_requests_count_for_the_minute() {
    let endpoint = refusing("ollama", Reply::status(400, "no"));
    let models = models(ModelSpec { requests_per_minute: Some(2), ..spec("ollama", &endpoint) });
    models.ask("main", &asking(schema()), LONG).await.expect("an answer");
    let error = models.ask("main", &asking(schema()), Duration::from_millis(10)).await.expect_err("no room");
    assert_eq!((error.error.kind, endpoint.requests().len()), (ErrorKind::RateLimit, 2));
}
