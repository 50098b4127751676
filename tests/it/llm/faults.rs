//! What each failure of a model's endpoint becomes.
use super::*;
use std::os::unix::fs::OpenOptionsExt;

/// The error of one reply.
async fn error_of(provider: &str, reply: Reply) -> ModelError {
    let endpoint = Endpoint::script([reply]);
    let error = ask(provider, &endpoint).await.expect_err("an error");
    let message = &error.error.message;
    assert!(message.contains("[models.main]") && message.contains(&endpoint.url()), "{message}");
    assert!(!message.contains("northern"), "{message}");
    error
}

#[tokio::test]
async fn what_each_status_means() {
    use ErrorKind::*;
    // kind, another model may be asked, it may have cost something
    let table = [
        (400, Config, false, false),
        (401, Auth, false, false),
        (402, Auth, false, false),
        (403, Auth, false, false),
        (404, Config, false, false),
        (408, Provider, true, true),
        (409, Provider, true, false),
        (422, Config, false, false),
        (425, Provider, true, false),
        (429, RateLimit, true, false),
        (500, Provider, true, true),
        (502, Provider, true, true),
        (503, Provider, true, false),
        (529, Provider, true, false),
    ];
    for provider in ["openai", "anthropic", "gemini"] {
        for (status, kind, fallback, cost) in table {
            let error = error_of(provider, Reply::status(status, "because \u{1b}[31m\nof it")).await;
            assert_eq!(error.error.kind, kind, "{status}");
            assert_eq!((error.try_fallback, error.may_cost), (fallback, cost), "{status}");
            let message = &error.error.message;
            assert!(
                message.contains(&status.to_string()) && message.contains("because [31m of it"),
                "{message}"
            );
        }
    }
    let no_credit = json!({"error": {"message": "You are out of quota", "code": "insufficient_quota"}});
    let error = error_of("openai", Reply::body(no_credit.to_string()).with_status(429)).await;
    assert_eq!((error.error.kind, error.try_fallback), (Auth, false));
    assert!(error.error.message.contains("credit"), "{}", error.error.message);
    let bad_key = json!({"error": {"message": "bad", "details": [{"reason": "API_KEY_INVALID"}]}});
    let error = error_of("gemini", Reply::body(bad_key.to_string()).with_status(400)).await;
    assert_eq!(error.error.kind, Auth);
    let long = error_of("openai", Reply::status(400, &"long ".repeat(1000))).await;
    assert!(long.error.message.len() < 600);
}

#[tokio::test]
async fn the_reason_is_told_and_decides() {
    use ErrorKind::*;
    let of = |json: Value, status| Reply::body(json.to_string()).with_status(status);
    let error = |error: Value, status| of(json!({ "error": error }), status);
    let raw = r#"{"error":{"message":"THE REASON"}}"#;
    // words that are shown, kind, another model may be asked
    let table = [
        (error(json!({"message": "Your credit balance is too low"}), 400), "no credit left", Auth, false),
        (error(json!({"message": "x", "code": "insufficient_quota"}), 429), "no credit left", Auth, false),
        (
            error(json!({"message": "prompt is too long: 9 > 8"}), 400),
            "longer than the model takes",
            Config,
            false,
        ),
        (
            error(json!({"message": "Provider returned error", "metadata": {"raw": raw}}), 400),
            "THE REASON",
            Config,
            false,
        ),
        (of(json!({"errors": [{"message": "THE REASON"}]}), 500), "THE REASON", Provider, true),
        (of(json!({"detail": [{"msg": "THE REASON"}]}), 422), "THE REASON", Config, false),
        (Reply::body("THE REASON\n").with_status(502), "THE REASON", Provider, true),
        (Reply::html().with_status(502), "502", Provider, true),
        // in the clothes of a success
        (error(json!({"message": "slow down", "code": 429}), 200), "slow down", RateLimit, true),
        (error(json!({"message": "Insufficient credits", "code": 402}), 200), "no credit left", Auth, false),
        (error(json!({"message": "THE REASON"}), 200), "THE REASON", Provider, true),
        (
            of(json!({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}), 200),
            "529",
            Provider,
            true,
        ),
        (
            of(json!({"choices": [{"error": {"message": "THE REASON", "code": 502}}]}), 200),
            "THE REASON",
            Provider,
            true,
        ),
        (
            of(json!({"choices": [{"message": {"content": "ha"}, "finish_reason": "error"}]}), 200),
            "broke",
            Provider,
            true,
        ),
        (
            of(json!({"object": "error", "message": "THE REASON", "code": 400}), 200),
            "THE REASON",
            Config,
            false,
        ),
        (
            of(json!({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}), 200),
            "no credit left",
            Auth,
            false,
        ),
    ];
    for (reply, words, kind, fallback) in table {
        let error = error_of("openai-compatible", reply.clone()).await;
        assert_eq!((error.error.kind, error.try_fallback), (kind, fallback), "{reply:?}: {error:?}");
        assert!(error.error.message.contains(words), "{words}: {error:?}");
    }
    let flagged = json!({"message": "Your input was flagged", "metadata": {"reasons": ["violence"]}});
    for reply in [
        error(flagged.clone(), 403),
        error(flagged, 200),
        error(json!({"message": "The prompt was filtered", "code": "content_filter"}), 400),
    ] {
        let answer = ask("openai-compatible", &Endpoint::script([reply])).await.expect("an answer");
        assert!(matches!(&answer.finish, Finish::Refusal(why) if why.contains("filter")), "{answer:?}");
        assert_eq!(answer.tokens, Some(Tokens::default()), "nothing was done");
    }
}

#[tokio::test]
async fn another_model_is_asked_for_lasting_reasons_if_that_is_wanted() {
    let no_credit = || Reply::status(402, "no credit");
    let too_long = || Reply::status(400, "This model's maximum context length is 8 tokens");
    let missing = || Reply::status(404, "model `m-1` not found");
    for (wanted, yes, no) in [
        (FallbackOn::Credit, no_credit(), too_long()),
        (FallbackOn::Context, too_long(), missing()),
        (FallbackOn::Missing, missing(), no_credit()),
    ] {
        for (reply, fallback) in [(yes, true), (no, false)] {
            let endpoint = Endpoint::script([reply]);
            let spec = ModelSpec { fallback_on: vec![wanted], ..spec("openai", &endpoint) };
            let error = models(spec).ask("main", &request(), LONG).await.expect_err("an error");
            assert_eq!(error.try_fallback, fallback, "{wanted:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_call_that_the_provider_could_not_read_is_read_here() {
    let refused = |said: &str| {
        let error = json!({"message": "Failed to call a function.", "code": "tool_use_failed", "failed_generation": said});
        Reply::body(json!({ "error": error }).to_string()).with_status(400)
    };
    let ask = async |said: &str| {
        let endpoint = Endpoint::script([refused(said)]);
        let request = ModelRequest { tools: vec![tool("look")], ..request() };
        models(spec("openai-compatible", &endpoint)).ask("main", &request, LONG).await.expect("an answer")
    };
    let answer = ask("<function=look>{\"q\": \"a\"}</function>").await;
    assert_eq!((answer.turn.calls[0].name.as_str(), answer.finish), ("look", Finish::Stop));
    let answer = ask("<function=look>{\"q\": ").await;
    assert!(matches!(answer.finish, Finish::Unreadable(_)), "{answer:?}");
}

#[tokio::test]
async fn how_long_the_provider_asks_to_wait() {
    let date = |secs| httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(secs));
    let (soon, late) = (date(100), date(1_000_000));
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let table: [(Headers<'_>, Option<(f64, f64)>); 10] = [
        (&[], None),
        (&[("retry-after", "7")], Some((7.0, 7.0))),
        (&[("retry-after", "1.5")], Some((1.5, 1.5))),
        (&[("retry-after-ms", "250"), ("retry-after", "7")], Some((0.25, 0.25))),
        (&[("retry-after-ms", "soon"), ("retry-after", "7")], Some((7.0, 7.0))),
        (&[("retry-after", "999999")], Some((600.0, 600.0))),
        (&[("retry-after", "-5")], None),
        (&[("retry-after", "in a while")], None),
        (&[("retry-after", &soon)], Some((90.0, 100.0))),
        (&[("retry-after", &late)], Some((600.0, 600.0))),
    ];
    for (headers, expected) in table {
        for status in [429, 503] {
            let mut reply = Reply::status(status, "slow down");
            for (name, value) in headers {
                reply = reply.with(name, value);
            }
            let wait = error_of("openai", reply).await.retry_after.map(|wait| wait.as_secs_f64());
            let fits = match (wait, expected) {
                (Some(wait), Some((least, most))) => least <= wait && wait <= most,
                (wait, expected) => wait.is_none() && expected.is_none(),
            };
            assert!(fits, "{headers:?}: {wait:?}");
        }
    }
    let body = json!({"error": {"message": "x", "details": [{"retryDelay": "34s"}]}}).to_string();
    let error = error_of("gemini", Reply::body(body).with_status(429)).await;
    assert_eq!(error.retry_after, Some(SignedDuration::from_secs(34)));
}

#[tokio::test]
async fn garbage_is_no_answer() {
    let mut bodies: Vec<(&str, Reply)> =
        vec![("web page", Reply::html()), ("not valid JSON", Reply::body(b"\xff\xfe"))];
    for (what, body) in [
        ("empty", ""),
        ("cut off", r#"{"choices":[{"message":{"content":"ha"#),
        ("not valid JSON", "data: {}"),
        ("missing", "{}"),
        ("missing", "[]"),
        ("missing", "17"),
        ("missing", r#"{"choices":[],"content":null,"candidates":[]}"#),
        ("not a list", r#"{"choices":5,"content":"x","candidates":"x"}"#),
        ("", r#"{"choices":[5],"content":[5],"candidates":[{"content":5}]}"#),
        (
            "",
            r#"{"choices":[{"message":{"content":5}}],"content":[{"type":"text","text":5}],
               "candidates":[{"content":{"parts":[{"text":5}]}}]}"#,
        ),
        (
            "",
            r#"{"choices":[{"message":{"tool_calls":"x"}}],"content":[{"type":5}],
               "candidates":[{"content":{"parts":{"x":1}}}]}"#,
        ),
    ] {
        bodies.push((what, Reply::body(body)));
    }
    bodies.push(("not valid JSON", Reply::body("[".repeat(100_000))));
    for (what, reply) in bodies {
        for provider in ["openai", "anthropic", "gemini"] {
            let error = error_of(provider, reply.clone()).await;
            assert_eq!(error.error.kind, ErrorKind::BadResponse, "{provider} {reply:?}");
            assert_eq!((error.try_fallback, error.may_cost), (false, true));
            assert!(error.error.message.contains(what), "{what}: {}", error.error.message);
        }
    }
}

#[tokio::test]
async fn what_was_used_is_known_although_the_answer_is_of_no_use() {
    let body = r#"{"choices":[{"message":7}],"usage":{"prompt_tokens":11,"completion_tokens":3}}"#;
    let error = error_of("openai", Reply::body(body)).await;
    assert_eq!(error.tokens, Some(Tokens { input: 11, cached: 0, written: 0, output: 3 }));
    let body = r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}],
                   "usageMetadata":{"promptTokenCount":11,"thoughtsTokenCount":4}}"#;
    let answer = ask("gemini", &Endpoint::script([Reply::body(body)])).await.expect("an answer");
    assert!(matches!(answer.finish, Finish::Unreadable(_)), "{answer:?}");
    assert_eq!(answer.tokens, Some(Tokens { input: 11, cached: 0, written: 0, output: 4 }));
    let body = json!({"error": {"message": "upstream is down", "code": 502}}).to_string();
    let error = error_of("openai-compatible", Reply::body(body)).await;
    assert_eq!((error.error.kind, error.try_fallback, error.may_cost), (ErrorKind::Provider, true, true));
}

#[tokio::test]
async fn an_answer_of_any_size_ends_early() {
    for reply in [Reply::huge(1 << 30), Reply::endless(), Reply::bomb(), Reply::endless().with_status(500)] {
        let error = error_of("openai", reply.clone()).await;
        let kind = error.error.kind;
        assert!(matches!(kind, ErrorKind::BadResponse | ErrorKind::Provider), "{reply:?} {kind:?}");
        assert!(error.may_cost);
    }
}

#[tokio::test]
async fn time_is_bounded_and_no_connection_is_left() {
    let drip = || Reply::drip("{\"choices\": 1234567890}", Duration::from_millis(40));
    for reply in [Reply::hang(), Reply::stall(), drip()] {
        let endpoint = Endpoint::script([reply.clone()]);
        let mut own = spec("openai", &endpoint);
        own.request_timeout = SignedDuration::from_millis(150);
        let start = Instant::now();
        let models_own = models(own);
        let error = models_own.ask("main", &request(), LONG).await.expect_err("time is up");
        assert!(error.error.message.contains("`request_timeout`"), "{}", error.error.message);
        let bound = Duration::from_millis(150);
        let models_bound = models(spec("openai", &endpoint));
        let other = models_bound.ask("main", &request(), bound).await.expect_err("time is up");
        assert!(other.error.message.contains("that were left"), "{}", other.error.message);
        for error in [error, other] {
            assert_eq!(error.error.kind, ErrorKind::Timeout, "{reply:?}");
            assert!(error.try_fallback && error.may_cost);
        }
        assert!(start.elapsed() < SOON);
        drop((models_own, models_bound));
        tokio::task::spawn_blocking(move || endpoint.until_left()).await.expect("they leave");
    }
}

#[tokio::test]
async fn connections_that_break() {
    for (reply, provider) in [(Reply::close(), "openai"), (Reply::broken_off(), "anthropic")] {
        let error = error_of(provider, reply.clone()).await;
        assert_eq!(error.error.kind, ErrorKind::Network, "{reply:?}");
        assert!(error.try_fallback && error.may_cost);
    }
    // nobody listens
    let endpoint = Endpoint::script([Reply::empty()]);
    let spec = spec("gemini", &endpoint);
    let gone = crate::support::nobody();
    let error = models(ModelSpec { base_url: Some(format!("http://{gone}")), ..spec })
        .ask("main", &request(), LONG)
        .await
        .expect_err("nobody listens");
    assert_eq!(error.error.kind, ErrorKind::Network);
    assert!(error.try_fallback && !error.may_cost, "{error:?}");
}

#[tokio::test]
async fn a_key_stays_where_it_belongs() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).expect("a file");
    std::io::Write::write_all(&mut file, b"sk-very-secret\n").expect("it can be written");
    for (provider, header, value) in [
        ("openai", "authorization", "Bearer sk-very-secret"),
        ("anthropic", "x-api-key", "sk-very-secret"),
        ("gemini", "x-goog-api-key", "sk-very-secret"),
    ] {
        let elsewhere = Endpoint::script([Reply::text("stolen")]);
        // says all that it knows
        let echo = |request: &Request| {
            Reply::status(401, &format!("no: {} {:?} in {}", request.json, request.headers, request.path))
        };
        let loud = Endpoint::answering(echo);
        let redirecting = Endpoint::script([Reply::redirect(&elsewhere.url())]);
        for (endpoint, kind) in [(&loud, ErrorKind::Auth), (&redirecting, ErrorKind::Config)] {
            let mut spec = spec(provider, endpoint);
            spec.api_key = Some(SecretRef::File(path.clone()));
            spec.headers.insert("x-team".into(), TextOrSecret::Text("ops".into()));
            let error = models(spec).ask("main", &request(), LONG).await.expect_err("no success");
            assert_eq!((error.error.kind, error.try_fallback), (kind, false));
            let message = error.error.message;
            assert!(!message.contains("very-secret"), "{message}");
            assert!(!message.contains("northern") && !message.contains("careful operator"), "{message}");
            if kind == ErrorKind::Auth {
                assert!(message.contains(path.to_str().expect("text")), "{message}");
            }
            let asked = &endpoint.requests()[0];
            assert_eq!(asked.header(header), Some(value));
            assert_eq!(asked.header("x-team"), Some("ops"));
        }
        assert!(elsewhere.requests().is_empty(), "a redirect was followed");
    }
    let endpoint = Endpoint::script([Reply::text("x")]);
    let missing = SecretRef::File(folder.path().join("missing"));
    let error = models(ModelSpec { api_key: Some(missing), ..spec("openai", &endpoint) })
        .ask("main", &request(), LONG)
        .await
        .expect_err("no key");
    assert_eq!((error.error.kind, error.may_cost), (ErrorKind::Auth, false));
    assert!(endpoint.requests().is_empty());
}
