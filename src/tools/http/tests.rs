//! Tests of `http` against a server on the loopback interface.
use super::*;
use crate::domain::{Fleet, TextOrSecret, ToolKind, ToolOffer, ToolSpec};
use crate::net::testing::{Server, answer};
use crate::tools::Tools;
use crate::tools::contract::CallContext;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

fn tools(settings: Value) -> Tools {
    let mut fleet = Fleet::empty("/agents.toml".into());
    let settings = ToolSettings::Http(settings_of(&settings));
    fleet.tools.insert("web".into(), ToolSpec { kind: ToolKind::Http, settings });
    Tools::new(&fleet)
}

fn settings_of(keys: &Value) -> HttpSettings {
    let texts = |key: &str| -> Vec<&str> {
        keys[key].as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
    };
    let hosts = |key: &str| texts(key).into_iter().map(|text| HostPattern::parse(text).unwrap()).collect();
    let methods: Vec<_> = texts("methods").into_iter().map(|text| HttpMethod::parse(text).unwrap()).collect();
    let default = HttpSettings::default();
    HttpSettings {
        hosts: hosts("hosts"),
        allow_private: texts("allow_private")
            .into_iter()
            .map(|text| crate::domain::PrivateHost::parse(text).unwrap())
            .collect(),
        methods: if methods.is_empty() { default.methods } else { methods },
        headers: keys.get("headers").map_or_else(Default::default, pairs),
        max_bytes: keys["max_bytes"].as_u64().unwrap_or(default.max_bytes),
        https_only: keys["https_only"].as_bool().unwrap_or(default.https_only),
    }
}

fn pairs(table: &Value) -> BTreeMap<String, TextOrSecret> {
    serde_json::from_value(table.clone()).unwrap()
}

fn offer(settings: Value) -> ToolOffer {
    tools(settings).list().iter().find(|tool| tool.name == "web").unwrap().offer()
}

/// Calls an instance that may ask this server and, as if it were public, `a.example`.
async fn ask(server: &Server, more: Value, args: Value) -> Result<Value, ToolError> {
    let mut settings = json!({"hosts": ["a.example"], "allow_private": [server.address.to_string()]});
    settings.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let context = CallContext {
        timeout: Some(Duration::from_secs(60)),
        idempotency_key: Some("key-1".into()),
        ..CallContext::default()
    };
    tools(settings).call("web", &args, &context).await.map(|output| output.result)
}

async fn serve(kind: &'static str, body: impl Into<Vec<u8>>) -> Server {
    let body = body.into();
    Server::start(move |_| answer("200 OK", &[("content-type", kind)], &body)).await
}

#[test]
fn an_instance_says_what_it_may_do() {
    let reads = offer(json!({"hosts": ["a.example"]}));
    assert_eq!((reads.effect, reads.untrusted), (Effect::Read, true));
    assert!(reads.def.schema["properties"].get("body").is_none());
    assert_eq!(reads.def.schema["properties"]["method"]["enum"], json!(["GET", "HEAD"]));
    assert!(reads.def.schema["properties"]["url"]["description"].as_str().unwrap().contains("a.example"));

    let writes = offer(json!({"hosts": ["a.example"], "methods": ["GET", "POST"]}));
    for (args, effect) in [
        (json!({"url": "x"}), Effect::Read),
        (json!({"url": "x", "method": "GET"}), Effect::Read),
        (json!({"url": "x", "method": "POST"}), Effect::Effect),
        (json!({"url": "x", "method": "get"}), Effect::Effect),
    ] {
        assert_eq!(writes.effect_of(&args), effect, "{args}");
    }
    let only_writes = offer(json!({"hosts": ["a.example"], "methods": ["POST"]}));
    assert_eq!(only_writes.effect_of(&json!({"url": "x"})), Effect::Effect);
}

#[tokio::test]
async fn without_an_instance_nobody_is_asked() {
    let server = serve("text/plain", "x").await;
    let call = async |url: String| {
        let tools = tools(json!({"hosts": ["a.example"]}));
        tools.call("http", &json!({"url": url}), &CallContext::default()).await.unwrap_err().to_string()
    };
    let error = call("https://api.github.com/x".into()).await;
    assert!(error.contains("type = \"http\" and hosts = [\"api.github.com\"]"), "{error}");
    assert!(call(server.url("/")).await.contains("may ask no host"));
    assert_eq!(server.asked().len(), 0);
}

#[tokio::test]
async fn refuses_with_what_would_be_right() {
    let server = serve("text/plain", "x").await;
    for (args, says) in [
        (
            json!({"url": "https://b.example/"}),
            "the host b.example is not allowed; it may ask a.example, 127.0.0.1:",
        ),
        (json!({"url": "https://a.example:9/"}), "port 9 of a.example is not allowed"),
        (json!({"url": "file:///etc/passwd"}), "must begin with http://"),
        (json!({"url": server.url("/"), "method": "POST"}), "`method` must be one of GET, HEAD"),
        (json!({"url": server.url("/"), "body": "x"}), "can't have `body`"),
        (
            json!({"url": server.url("/"), "headers": {"Authorization": "x"}}),
            "`headers` can't have `Authorization`",
        ),
        (
            json!({"url": server.url("/"), "headers": {"Accept": "a\nb"}}),
            "characters that a header can't hold",
        ),
        (json!({"url": server.url("/"), "as": "markdown"}), "`as` must be one of"),
    ] {
        let error = ask(&server, json!({}), args.clone()).await.unwrap_err();
        assert!(matches!(error, ToolError::Arguments(_)), "{args}: {error:?}");
        assert!(error.to_string().contains(says), "{args}: {error}");
    }
    let args = json!({"url": server.url("/"), "method": "GET", "body": "x"});
    let error = ask(&server, json!({"methods": ["GET", "POST"]}), args).await.unwrap_err();
    assert!(error.to_string().contains("GET takes no `body`"), "{error}");
    assert_eq!(server.asked().len(), 0);
}

#[tokio::test]
async fn answers_are_given_as_they_are_useful() {
    let html = "<title>A title</title><h1>Big</h1><p>Some <b>text</b>.";
    let server = serve("text/html; charset=utf-8", html).await;
    let url = server.url("/p");
    let result = ask(&server, json!({}), json!({"url": url})).await.unwrap();
    assert_eq!(
        (&result["status"], &result["url"], &result["title"]),
        (&json!(200), &json!(url), &json!("A title"))
    );
    assert_eq!(result["content_type"], "text/html");
    let text = result["text"].as_str().unwrap();
    assert!(text.contains("# Big") && text.contains("**text**"), "{text}");
    let result = ask(&server, json!({}), json!({"url": url, "as": "raw"})).await.unwrap();
    assert_eq!((&result["text"], result.get("title")), (&json!(html), None));

    let server = serve("application/vnd.x+json", r#"{"a": [1, 2]}"#).await;
    let url = server.url("/");
    assert_eq!(ask(&server, json!({}), json!({"url": url})).await.unwrap()["json"], json!({"a": [1, 2]}));
    let result = ask(&server, json!({}), json!({"url": url, "as": "text"})).await.unwrap();
    assert_eq!(result["text"], r#"{"a": [1, 2]}"#);

    for (kind, body, text) in [
        ("text/plain; charset=iso-8859-1", &b"gr\xfc\xdfe"[..], "grüße"),
        ("text/plain", b"gr\xfc\xdfe", "grüße"),
        ("text/plain", "grüße".as_bytes(), "grüße"),
        ("", b"\xff\xfeh\0i\0", ""),
        ("application/json", b"{broken", "{broken"),
        ("text/html", b"<meta charset=windows-1252><p>gr\xfc\xdfe", "grüße"),
        ("text/html", b"", ""),
    ] {
        let server = serve(kind, body).await;
        let result = ask(&server, json!({}), json!({"url": server.url("/")})).await.unwrap();
        if kind.is_empty() {
            assert_eq!(result["bytes"], 6, "{result}");
        } else {
            assert_eq!(result["text"], text, "{kind}: {result}");
        }
    }
    let server = serve("application/json", "{broken").await;
    let error = ask(&server, json!({}), json!({"url": server.url("/"), "as": "json"})).await.unwrap_err();
    assert!(error.to_string().contains("(status 200) is not valid JSON"), "{error}");
}

#[tokio::test]
async fn a_refusal_of_the_server_is_a_result() {
    let server = Server::start(|_| answer("404 Not Found", &[("content-type", "text/plain")], "gone")).await;
    let result = ask(&server, json!({}), json!({"url": server.url("/")})).await.unwrap();
    assert_eq!((&result["status"], &result["text"]), (&json!(404), &json!("gone")));
    let result = ask(&server, json!({}), json!({"url": server.url("/"), "method": "HEAD"})).await.unwrap();
    assert_eq!((&result["status"], &result["text"]), (&json!(404), &json!("")));
}

/// What a POST did is never told as a plain failure, whatever goes wrong after it was sent.
#[tokio::test]
async fn what_may_have_happened_is_told_so() {
    let server = Server::start(|line| {
        let text = [("content-type", "text/plain")];
        match line.split(' ').nth(1).unwrap_or_default() {
            "/made" => answer("201 Created", &text, "made: 7"),
            "/long" => answer("201 Created", &[], format!("[{}1]", "1,".repeat(400_000))),
            "/see" => answer("303 See Other", &[("location", "https://b.example/x")], ""),
            "/round" => answer("303 See Other", &[("location", "/round")], ""),
            "/keep" => answer("307 Temporary Redirect", &[("location", "https://b.example/x")], ""),
            "/to-gone" => answer("307 Temporary Redirect", &[("location", "/gone")], ""),
            "/odd" => answer("302 Found", &[("location", "http://[")], ""),
            "/short" => b"HTTP/1.1 201 Created\r\ncontent-length: 10\r\n\r\nabc".to_vec(),
            "/noise" => b"no HTTP at all\r\n\r\n".to_vec(),
            _ => Vec::new(),
        }
    })
    .await;
    let settings = json!({"methods": ["GET", "POST"]});
    let send = async |method: &str, path: &str, as_what: &str| {
        let args = json!({"url": server.url(path), "method": method, "as": as_what});
        ask(&server, settings.clone(), args).await
    };
    for (path, status, text, says) in [
        ("/made", 201, "made: 7", "(status 201) is not valid JSON"),
        ("/long", 201, "[1,1", "the JSON is longer than"),
        ("/see", 303, "", "the host b.example is not allowed"),
        ("/round", 303, "", "more than 5 redirects"),
        ("/keep", 307, "", "another host"),
        ("/odd", 302, "", "the redirect can't be followed"),
        ("/short", 201, "abc", "broke off"),
    ] {
        let result = send("POST", path, "json").await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        let note = result["note"].as_str().unwrap_or_default();
        assert_eq!(result["status"], json!(status), "{path}: {result}");
        assert!(result["text"].as_str().unwrap().starts_with(text), "{path}: {result}");
        assert!(note.contains(says) && !note.contains("leave `as` out"), "{path}: {note}");
        // The same is an error where repeating it does no harm.
        let error = send("GET", path, "json").await.unwrap_err();
        assert!(!error.may_have_happened(), "{path}: {error:?}");
    }
    for path in ["/gone", "/noise", "/to-gone"] {
        let error = send("POST", path, "text").await.unwrap_err();
        assert!(
            matches!(&error, ToolError::Unsure(why) if why.contains("nobody knows")),
            "{path}: {error:?}"
        );
        assert!(!send("GET", path, "text").await.unwrap_err().may_have_happened(), "{path}");
    }
    // Nobody listens there: nothing was sent.
    let free = crate::testing::nobody();
    let nobody = json!({"methods": ["POST"], "allow_private": [free.to_string()]});
    let error = ask(&server, nobody, json!({"url": format!("http://{free}/")})).await.unwrap_err();
    assert!(matches!(error, ToolError::Failed(_)), "{error:?}");
}

#[tokio::test]
async fn long_answers_are_cut() {
    let server = serve("text/plain", "x".repeat(5000)).await;
    let result = ask(&server, json!({"max_bytes": 1000}), json!({"url": server.url("/")})).await.unwrap();
    assert_eq!((result["text"].as_str().unwrap().len(), &result["truncated"]), (1000, &json!(true)));
    for (kind, body) in [
        ("text/plain", "\u{1}".repeat(900_000)),
        ("text/plain", "\"ü".repeat(300_000)),
        ("application/json", format!("[{}1]", "1,".repeat(400_000))),
        ("text/html", format!("<p>{}", "word ".repeat(180_000))),
    ] {
        let server = serve(kind, body).await;
        let result = ask(&server, json!({}), json!({"url": server.url("/")})).await.unwrap();
        assert_eq!(result["truncated"], json!(true), "{kind}");
        assert!(result["text"].as_str().unwrap().len() > 10_000, "{kind}");
    }
}

#[tokio::test]
async fn sends_what_is_configured_and_what_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "Bearer http-tool-canary-1\n").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let settings = json!({
        "methods": ["GET", "POST"],
        "headers": {"Authorization": {"file": token.display().to_string()}, "X-Plain": "yes", "Accept": "a/b"},
    });
    let other = serve("text/plain", "other").await;
    let there = other.url("/");
    let server = Server::start(move |line| match line {
        line if line.starts_with("GET /away") => answer("302 Found", &[("location", &there)], ""),
        _ => answer("200 OK", &[("content-type", "text/plain")], "you said Bearer http-tool-canary-1"),
    })
    .await;
    let args = json!({
        "url": server.url("/x"), "method": "POST", "body": {"a": 1}, "headers": {"Accept-Language": "de", "Accept": "c/d"},
    });
    let result = ask(&server, settings.clone(), args).await.unwrap();
    // What the server says back is clean.
    assert_eq!(result["text"], "you said [redacted]");
    let seen = server.asked().pop().unwrap();
    for part in [
        "POST /x HTTP/1.1",
        "authorization: Bearer http-tool-canary-1",
        "x-plain: yes",
        "accept: a/b",
        "accept-language: de",
        "content-type: application/json",
        "idempotency-key: key-1",
        "{\"a\":1}",
    ] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert!(!seen.contains("c/d"), "{seen}");

    let mut both = settings;
    both["allow_private"] = json!([server.address.to_string(), other.address.to_string()]);
    let result = ask(&server, both, json!({"url": server.url("/away")})).await.unwrap();
    assert_eq!((&result["text"], &result["url"]), (&json!("other"), &json!(other.url("/"))));
    let seen = other.asked().pop().unwrap();
    assert!(!seen.contains("canary") && !seen.contains("x-plain") && !seen.contains("idempotency"), "{seen}");
    assert!(!server.asked().pop().unwrap().contains("idempotency"));
}

#[tokio::test]
async fn a_secret_that_is_not_there_stops_the_call() {
    let server = serve("text/plain", "x").await;
    let settings = json!({"headers": {"Authorization": {"env": "NO_SUCH_VARIABLE_OF_OURS"}}});
    let error = ask(&server, settings, json!({"url": server.url("/")})).await.unwrap_err();
    assert!(error.to_string().contains("no value for the header `Authorization`"), "{error}");
    assert_eq!(server.asked().len(), 0);
}
