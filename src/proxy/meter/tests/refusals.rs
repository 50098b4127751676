//! Tests of what is not sent, and what the program is told instead.
use super::provider::{hello, stream};
use super::*;
use crate::domain::NetTarget;
use crate::proxy::Pass;
use serde_json::{Value, json};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A meter before a provider that says hello.
async fn bench(wire: ModelWire, purse: Purse, change: impl FnOnce(&mut MeterSpec)) -> Bench {
    Bench::with(wire, purse, change, move |_| stream(&hello(wire))).await
}

/// The message of a refusal, which has the form of the wire.
async fn refusal(wire: ModelWire, answer: reqwest::Response) -> String {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["x-should-retry"], "false");
    let error: Value = answer.json().await.unwrap();
    match wire {
        ModelWire::Messages => {
            assert_eq!((&error["type"], error["error"]["type"].is_string()), (&json!("error"), true))
        }
        ModelWire::Responses | ModelWire::Chat => assert!(error["error"]["type"].is_string()),
        ModelWire::Gemini => assert_eq!(error["error"]["code"], status),
    }
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("bgagent: "), "{message}");
    format!("{status} {message}")
}

#[tokio::test]
async fn limits_and_budgets_refuse_in_the_form_of_the_wire_before_anything_is_sent() {
    type Change = fn(&mut MeterSpec);
    let cases: [(Change, Option<f64>, ErrorKind, &str); 5] = [
        (|spec| spec.limits.usd = Some(0.001), None, ErrorKind::CostLimit, "max_usd_per_run = 0.001"),
        (|spec| spec.limits.tokens = Some(99), None, ErrorKind::TokenLimit, "total_tokens_limit = 99"),
        (|spec| spec.limits.requests = Some(0), None, ErrorKind::RequestLimit, "request_limit = 0"),
        (|_| {}, Some(0.0001), ErrorKind::Budget, "usd_per_day"),
        (|spec| spec.model.price = None, None, ErrorKind::CostLimit, "set `price` of [models.main]"),
    ];
    for wire in ALL {
        for (change, limit, kind, word) in cases {
            let bench = bench(wire, Purse { limit, ..Purse::default() }, change).await;
            for times in 1..3 {
                let message = refusal(wire, bench.ask(wire, &question(wire, true)).await).await;
                assert!(message.starts_with("400 ") && message.contains(word), "{message}");
                let report = bench.meter.report();
                assert_eq!(
                    (report.refused, report.refusal.unwrap().kind, report.in_flight),
                    (times, kind, 0)
                );
                assert_eq!(report.used, Usage::default());
            }
            assert!(bench.provider.seen().is_empty() && bench.settled().is_empty());
        }
    }
}

#[tokio::test]
async fn what_was_refused_by_a_budget_is_not_held_for() {
    let wire = ModelWire::Chat;
    let change = |spec: &mut MeterSpec| spec.limits.usd = Some(0.01);
    let bench = bench(wire, Purse { limit: Some(0.0), ..Purse::default() }, change).await;
    // each of these would fit the run's limit once
    for _ in 0..20 {
        let message = refusal(wire, bench.ask(wire, &question(wire, true)).await).await;
        assert!(message.contains("usd_per_day"), "{message}");
    }
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_where_dollars_are_limited() {
    let wire = ModelWire::Messages;
    let mut question = question(wire, true);
    question["model"] = "claude-haiku-4-5".into();
    let limited = bench(wire, Purse::default(), |_| {}).await;
    let message = refusal(wire, limited.ask(wire, &question).await).await;
    assert!(message.contains("model = \"claude-haiku-4-5\" and its `price`"), "{message}");
    assert!(limited.provider.seen().is_empty());
    let open = bench(wire, Purse::default(), |spec| spec.limits.dollars = false).await;
    assert_eq!(open.ask(wire, &question).await.status(), 200);
    let settled = &open.settled_at(1).await[0];
    assert_eq!((settled.table.as_str(), settled.used.usd), ("main", 0.0));
}

#[tokio::test]
async fn nothing_is_sent_after_a_stop() {
    let wire = ModelWire::Gemini;
    let bench = bench(wire, Purse::default(), |_| {}).await;
    assert_eq!(bench.ask(wire, &question(wire, true)).await.status(), 200);
    bench.meter.refuse(RunError::new(ErrorKind::Timeout, "timeout = 60 s is over"));
    bench.meter.refuse(RunError::new(ErrorKind::Interrupted, "a second reason"));
    for _ in 0..3 {
        let message = refusal(wire, bench.ask(wire, &question(wire, true)).await).await;
        assert_eq!(message, "400 bgagent: timeout = 60 s is over");
    }
    assert_eq!(bench.provider.seen().len(), 1);
    assert_eq!(bench.meter.report().refusal.unwrap().kind, ErrorKind::Timeout);
}

#[tokio::test]
async fn what_waits_for_room_is_refused_by_a_stop() {
    let wire = ModelWire::Chat;
    let wait = Arc::new(tokio::sync::Notify::new());
    let provider = wait.clone();
    let change = |spec: &mut MeterSpec| spec.limits.usd = Some(0.004);
    let bench = Bench::with(wire, Purse::default(), change, move |_| {
        let mut pieces = stream(&hello(wire));
        pieces.insert(1, provider::Piece::Wait(provider.clone()));
        pieces
    })
    .await;
    let first = bench.ask(wire, &question(wire, true)).await;
    let second = tokio::spawn(bench.request(wire, true).body(question(wire, true).to_string()).send());
    while bench.meter.report().in_flight < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bench.meter.refuse(RunError::new(ErrorKind::Interrupted, "stopped"));
    let message = refusal(wire, second.await.unwrap().unwrap()).await;
    assert_eq!(message, "400 bgagent: stopped");
    wait.notify_one();
    assert!(first.text().await.unwrap().ends_with("[DONE]\n\n"), "what is under way goes on");
    assert_eq!(bench.provider.seen().len(), 1);
}

#[tokio::test]
async fn who_has_not_the_key_of_the_run_gets_nothing() {
    for wire in ALL {
        let (bench, other) =
            (bench(wire, Purse::default(), |_| {}).await, bench(wire, Purse::default(), |_| {}).await);
        let path = "/v1/messages";
        for (header, value) in [
            ("x-none", String::new()),
            ("x-api-key", String::new()),
            ("x-api-key", REAL.to_owned()),
            ("authorization", format!("Bearer {}", other.meter.key())),
            ("authorization", bench.meter.key().to_owned()),
            ("x-goog-api-key", bench.meter.key()[..20].to_owned()),
        ] {
            let answer =
                bench.client.post(bench.url(path)).header(header, value).body("{}").send().await.unwrap();
            assert_eq!(answer.status(), 400, "programs ask again on others");
            assert!(answer.text().await.unwrap().contains("not the key of the run"));
        }
        assert!(bench.provider.seen().is_empty());
        let report = bench.meter.report();
        assert_eq!((report.odd, report.refusal), (6, None), "that is no failure of the run");
    }
    let bench = bench(ModelWire::Gemini, Purse::default(), |_| {}).await;
    let url = bench.url(&format!("/v1beta/models/big:generateContent?key={}", bench.meter.key()));
    let answer =
        bench.client.post(url).body(question(ModelWire::Gemini, false).to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(bench.provider.seen()[0].line, "POST /v1/models/big:generateContent HTTP/1.1");
}

#[tokio::test]
async fn what_is_no_request_of_a_model_is_not_sent() {
    let wire = ModelWire::Messages;
    let bench = bench(wire, Purse::default(), |_| {}).await;
    let key = bench.meter.key();
    for (method, path) in [
        ("HEAD", "/"),
        ("GET", "/"),
        ("OPTIONS", "/v1/messages"),
        ("GET", "/v1/messages"),
        ("POST", "/v1/files"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/responses"),
        ("DELETE", "/v1/models/x"),
        ("POST", "/api/event_logging"),
    ] {
        let method = method.parse().unwrap();
        let answer =
            bench.client.request(method, bench.url(path)).header("x-api-key", key).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{path}");
    }
    for (body, word) in [
        ("", "JSON"),
        ("{\"model\":\"big\",\"model\":\"small\"}", "comes twice"),
        ("{\"messages\":[]}", "names no `model`"),
        (
            "{\"model\":\"big\",\"messages\":[{\"content\":[{\"source\":{\"type\":\"url\",\"url\":\"http://a.example/x\"}}]}]}",
            "send the content itself",
        ),
    ] {
        let answer = bench.request(wire, true).body(body).send().await.unwrap();
        let message = refusal(wire, answer).await;
        assert!(message.starts_with("400 ") && message.contains(word), "{message}");
    }
    assert!(bench.provider.seen().is_empty());
}

#[tokio::test]
async fn an_upload_that_breaks_off_hides_no_limit() {
    let wire = ModelWire::Messages;
    let bench = bench(wire, Purse::default(), |spec| spec.limits.requests = Some(0)).await;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-length: 5000\r\n\r\n{{",
        bench.meter.key()
    );
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    while bench.meter.report().odd == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(bench.meter.report().refusal, None);
    // nor does a request that can't be read
    refusal(wire, bench.request(wire, true).body("{").send().await.unwrap()).await;
    refusal(wire, bench.ask(wire, &question(wire, true)).await).await;
    let report = bench.meter.report();
    assert_eq!((report.refused, report.refusal.unwrap().kind), (2, ErrorKind::RequestLimit));
}

/// All that comes back for these lines.
async fn said(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn what_is_not_plain_http_is_declined_at_once() {
    let bench = bench(ModelWire::Responses, Purse::default(), |_| {}).await;
    let key = format!("authorization: Bearer {}\r\n", bench.meter.key());
    let websocket = format!(
        "GET /v1/responses HTTP/1.1\r\nhost: x\r\n{key}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let heard = said(bench.address, &websocket).await;
    assert!(heard.starts_with("HTTP/1.1 426 ") && heard.contains("no WebSocket"), "{heard}");
    let other =
        websocket.replace("websocket\r\n", "h2c\r\n").replace("connection: upgrade", "connection: close");
    let heard = said(bench.address, &other).await;
    assert!(heard.starts_with("HTTP/1.1 400 ") && heard.contains("is not a request"), "{heard}");
    // what is too large is refused before it is sent
    let large = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: x\r\n{key}content-length: 99999999\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
    );
    let heard = said(bench.address, &large).await;
    assert!(heard.starts_with("HTTP/1.1 400 ") && heard.contains("larger than 32 MiB"), "{heard}");
    assert_eq!(bench.meter.report().refusal.unwrap().kind, ErrorKind::Config);
    // and what is not is asked for
    let body = question(ModelWire::Responses, true).to_string();
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: x\r\n{key}content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut goes_on = [0; 25];
    stream.read_exact(&mut goes_on).await.unwrap();
    assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.contains("response.completed"), "{heard}");
}

#[tokio::test]
async fn a_program_that_sends_all_through_its_proxy_reaches_the_meter_and_nothing_else() {
    let wire = ModelWire::Messages;
    let bench = bench(wire, Purse::default(), |_| {}).await;
    let body = question(wire, true).to_string();
    let request = |target: &str| {
        let key = bench.meter.key();
        format!(
            "POST {target} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let own = bench.address;
    let port = own.port();
    let inside = request("/v1/messages");
    for text in [
        request(&format!("http://{own}/v1/messages")),
        request(&format!("http://localhost:{port}/v1/messages")),
        format!("CONNECT {own} HTTP/1.1\r\nhost: {own}\r\n\r\n{inside}"),
    ] {
        let heard = said(own, &text).await;
        assert!(heard.starts_with("HTTP/1.1 200 ") && heard.contains("message_stop"), "{heard}");
    }
    let elsewhere = bench.provider.address;
    for text in [
        request(&format!("http://{elsewhere}/v1/messages")),
        format!("CONNECT {elsewhere} HTTP/1.1\r\nhost: {elsewhere}\r\nconnection: close\r\n\r\n"),
        format!(
            "CONNECT {own} HTTP/1.1\r\nhost: {own}\r\n\r\nCONNECT {elsewhere} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        ),
    ] {
        let heard = said(own, &text).await;
        let word = if text.starts_with(&format!("CONNECT {own}")) {
            "no tunnel within"
        } else {
            "name other hosts in `net`"
        };
        assert!(heard.contains("HTTP/1.1 400 ") && heard.contains(word), "{heard}");
    }
    let nested = format!(
        "CONNECT {own} HTTP/1.1\r\nhost: {own}\r\n\r\nCONNECT {own} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    );
    let heard = said(own, &nested).await;
    assert!(heard.contains("no tunnel within a tunnel"), "{heard}");
    assert_eq!(bench.provider.seen().len(), 3);
}

#[tokio::test]
async fn at_the_listener_of_a_pass_both_are_answered() {
    let wire = ModelWire::Messages;
    let bench = bench(wire, Purse::default(), |_| {}).await;
    let listed = provider::Scripted::start(|_| provider::whole("200 OK", "", "listed")).await;
    let target = NetTarget::parse(&listed.address.to_string()).unwrap();
    let pass = Pass::new(&[target], ProgramOwner::default(), Path::new("claude")).with_meter(&bench.meter);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap();
    pass.serve(std::future::ready(Some(listener)));
    let body = question(wire, true).to_string();
    let key = bench.meter.key();
    let head = format!(
        "host: x\r\nx-api-key: {key}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    for target in ["/v1/messages".to_owned(), format!("http://{own}/v1/messages")] {
        let heard = said(own, &format!("POST {target} HTTP/1.1\r\n{head}")).await;
        assert!(heard.starts_with("HTTP/1.1 200 ") && heard.contains("message_stop"), "{heard}");
    }
    let listed = listed.address;
    let heard =
        said(own, &format!("GET http://{listed}/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
    assert!(heard.starts_with("HTTP/1.1 407 "), "{heard}");
    for (target, begin, end) in
        [(listed, "HTTP/1.1 200 ", "listed"), (bench.provider.address, "HTTP/1.1 403 ", ".\n")]
    {
        let credentials = &pass.state.credentials;
        let head =
            format!("GET http://{target}/ HTTP/1.1\r\nhost: x\r\nproxy-authorization: {credentials}\r\n");
        let heard = said(own, &format!("{head}connection: close\r\n\r\n")).await;
        assert!(heard.starts_with(begin) && heard.ends_with(end), "{heard}");
    }
}
