//! Tests of answers that end otherwise than they should: what the program gets, and what is charged.
use super::provider::{Piece, begin, hello, stream, whole};
use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// What was held for the last request, as it is charged.
fn worst(bench: &Bench) -> Usage {
    bench.purse.books.lock().unwrap().asked.last().unwrap().worst.usage()
}

/// Is this the worst case, or what was read if that is more?
fn is_worst(bench: &Bench, settled: &Settled) -> bool {
    let (used, worst) = (settled.used, worst(bench));
    let output = worst.output_tokens;
    used.input_tokens >= worst.input_tokens && used.output_tokens == output && used.usd == worst.usd
}

fn kind(settled: &Settled) -> Option<ErrorKind> {
    match &settled.end {
        AnswerEnd::Failed(why) => Some(why.kind),
        _ => None,
    }
}

#[tokio::test]
async fn a_stream_that_breaks_is_charged_the_worst_case() {
    for wire in ALL {
        let bench = Bench::new(wire, move |_| {
            vec![begin(), Piece::Chunk(hello(wire)[0].clone().into_bytes()), Piece::Cut]
        })
        .await;
        let mut answer = bench.ask(wire, &question(wire, true)).await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), hello(wire)[0]);
        assert!(answer.chunk().await.is_err(), "{wire:?}: it breaks for the program as well");
        let settled = &bench.settled()[0];
        assert!(is_worst(&bench, settled), "{settled:?}");
        assert_eq!((kind(settled), settled.tokens), (Some(ErrorKind::Network), None));
        assert_eq!(bench.meter.report().trouble.unwrap().kind, ErrorKind::Network);
    }
}

#[tokio::test]
async fn an_answer_that_says_nothing_of_usage_is_charged_the_worst_case() {
    for wire in ALL {
        for (events, end) in [
            (Vec::new(), AnswerEnd::Empty),
            (
                vec![hello(wire).concat().replace("okens", "oks").replace("okenCount", "okCount")],
                AnswerEnd::Complete,
            ),
            (
                vec![
                    hello(wire)
                        .concat()
                        .replace(":1500", ":-1")
                        .replace(":1200", ":-1")
                        .replace(":50", ":-1"),
                ],
                AnswerEnd::Complete,
            ),
        ] {
            let bench = Bench::new(wire, move |_| stream(&events)).await;
            let answer = bench.ask(wire, &question(wire, true)).await;
            answer.text().await.unwrap();
            let settled = &bench.settled()[0];
            assert_eq!((settled.used, &settled.end), (worst(&bench), &end), "{wire:?}");
        }
    }
}

#[tokio::test]
async fn who_uses_more_than_was_held_is_charged_what_it_says() {
    let wire = ModelWire::Chat;
    let events = [hello(wire).concat().replace(":50", ":70000").replace(":1500", ":5000000")];
    let bench = Bench::new(wire, move |_| stream(&events)).await;
    bench.ask(wire, &question(wire, true)).await.text().await.unwrap();
    let settled = &bench.settled()[0];
    assert_eq!((settled.used.input_tokens, settled.used.output_tokens), (5_000_000, 70_000));
}

#[tokio::test]
async fn errors_of_a_provider_go_through_and_cost_what_they_may_have_cost() {
    let wire = ModelWire::Messages;
    for (status, code, kind_of, costs) in [
        ("429 Too Many Requests", 429, ErrorKind::RateLimit, false),
        ("400 Bad Request", 400, ErrorKind::Config, false),
        ("401 Unauthorized", 401, ErrorKind::Auth, false),
        ("402 Payment Required", 402, ErrorKind::Auth, false),
        ("500 Internal Server Error", 500, ErrorKind::Provider, true),
        ("529 Overloaded", 529, ErrorKind::Provider, false),
    ] {
        let body = "{\"type\":\"error\",\"error\":{\"type\":\"x\",\"message\":\"in its words\"}}";
        let bench =
            Bench::new(wire, move |_| whole(status, "retry-after: 3\r\nx-should-retry: true\r\n", body))
                .await;
        let answer = bench.ask(wire, &question(wire, true)).await;
        assert_eq!(answer.status().as_u16(), code);
        assert_eq!(
            (
                answer.headers()["retry-after"].to_str().unwrap(),
                answer.headers()["x-should-retry"].to_str().unwrap()
            ),
            ("3", "true")
        );
        assert_eq!(answer.text().await.unwrap(), body);
        let settled = &bench.settled()[0];
        assert_eq!((kind(settled), settled.status), (Some(kind_of), Some(code)));
        let expected = if costs { worst(&bench) } else { Usage { requests: 1, ..Usage::default() } };
        assert_eq!(settled.used, expected, "{status}");
        let AnswerEnd::Failed(why) = &settled.end else { unreachable!() };
        assert!(why.message.contains("in its words"), "{}", why.message);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = provider::Scripted::start(|_| whole("200 OK", "", "{}")).await;
    let location = format!("location: http://{}/v1/messages\r\n", elsewhere.address);
    let bench =
        Bench::new(ModelWire::Messages, move |_| whole("307 Temporary Redirect", &location, "")).await;
    let answer = bench.ask(ModelWire::Messages, &question(ModelWire::Messages, true)).await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("location")), (400, None));
    assert!(answer.text().await.unwrap().contains("`base_url` of [models.main]"));
    assert!(elsewhere.seen().is_empty());
    assert_eq!(bench.settled()[0].used, Usage { requests: 1, ..Usage::default() });
}

#[tokio::test]
async fn a_provider_that_can_not_be_reached_costs_nothing() {
    let wire = ModelWire::Gemini;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let change =
        |spec: &mut MeterSpec| spec.upstream.base = Url::parse(&format!("http://{closed}/v1")).unwrap();
    let bench = Bench::with(wire, Purse::default(), change, |_| Vec::new()).await;
    let answer = bench.ask(wire, &question(wire, true)).await;
    assert_eq!(answer.status(), 502);
    let text = answer.text().await.unwrap();
    assert!(text.contains("can't be asked") && text.contains("\"UNAVAILABLE\""), "{text}");
    let settled = &bench.settled()[0];
    assert_eq!((kind(settled), settled.used.usd), (Some(ErrorKind::Network), 0.0));
}

#[tokio::test]
async fn a_provider_that_is_silent_is_given_up_in_its_own_form() {
    for wire in ALL {
        let closed = Arc::new(Notify::new());
        let told = closed.clone();
        let change = |spec: &mut MeterSpec| spec.patience.head = Duration::from_millis(50);
        let bench =
            Bench::with(wire, Purse::default(), change, move |_| vec![Piece::Hang(told.clone())]).await;
        let answer = bench.ask(wire, &question(wire, true)).await;
        assert_eq!(answer.status(), 504);
        let error: serde_json::Value = answer.json().await.unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(
            message
                .contains("not begun to answer within 0.05 s (`request_timeout` of [models.main], or 300 s"),
            "{message}"
        );
        assert_eq!(
            (bench.settled()[0].used, kind(&bench.settled()[0])),
            (worst(&bench), Some(ErrorKind::Timeout))
        );
        closed.notified().await;
    }
}

#[tokio::test]
async fn a_stream_that_stalls_ends_with_an_error_of_its_wire() {
    for wire in ALL {
        let closed = Arc::new(Notify::new());
        let told = closed.clone();
        let change = |spec: &mut MeterSpec| spec.patience.pause = Duration::from_millis(400);
        let bench = Bench::with(wire, Purse::default(), change, move |_| {
            vec![begin(), Piece::Chunk(hello(wire)[0].clone().into_bytes()), Piece::Hang(told.clone())]
        })
        .await;
        let text = bench.ask(wire, &question(wire, true)).await.text().await.unwrap();
        let error = text.strip_prefix(&hello(wire)[0]).unwrap();
        assert!(error.contains("data: {") && error.contains("nothing came for 0.4 s"), "{error}");
        let settled = &bench.settled()[0];
        assert!(is_worst(&bench, settled), "{settled:?}");
        assert_eq!(kind(settled), Some(ErrorKind::Timeout));
        closed.notified().await;
    }
}

#[tokio::test]
async fn a_program_that_goes_away_ends_the_request_and_pays_for_it() {
    let wire = ModelWire::Messages;
    let closed = Arc::new(Notify::new());
    let told = closed.clone();
    let bench = Bench::new(wire, move |_| {
        vec![begin(), Piece::Chunk(hello(wire)[0].clone().into_bytes()), Piece::Hang(told.clone())]
    })
    .await;
    let mut answer = bench.ask(wire, &question(wire, true)).await;
    answer.chunk().await.unwrap();
    drop(answer);
    closed.notified().await;
    let settled = &bench.settled_at(1).await[0];
    // 1500 tokens were read, more than were held for
    assert_eq!(settled.used.input_tokens, 1500);
    assert_eq!((settled.used.output_tokens, kind(settled)), (100, Some(ErrorKind::Interrupted)));
    // before the head of an answer as well
    let told = closed.clone();
    let bench = Bench::new(wire, move |_| vec![Piece::Hang(told.clone())]).await;
    let body = question(wire, true).to_string();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-length: {}\r\n\r\n{body}",
        bench.meter.key(),
        body.len()
    );
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    while bench.provider.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(stream);
    closed.notified().await;
    assert_eq!(bench.settled_at(1).await[0].used, worst(&bench));
}

#[tokio::test]
async fn closing_settles_what_is_under_way() {
    let wire = ModelWire::Messages;
    let closed = Arc::new(Notify::new());
    let told = closed.clone();
    let bench = Bench::new(wire, move |_| {
        vec![begin(), Piece::Chunk(hello(wire)[1].clone().into_bytes()), Piece::Hang(told.clone())]
    })
    .await;
    let mut answer = bench.ask(wire, &question(wire, true)).await;
    answer.chunk().await.unwrap();
    bench.meter.close().await;
    assert_eq!((bench.settled().len(), bench.meter.report().in_flight), (1, 0));
    assert_eq!(bench.settled()[0].used, worst(&bench));
    closed.notified().await;
    assert!(answer.chunk().await.is_err(), "half an answer is no whole one");
    let provider = bench.provider.seen().len();
    let refused = TcpStream::connect(bench.address).await;
    if let Ok(mut stream) = refused {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        assert!(!text.starts_with("HTTP/1.1 200"), "{text}");
    }
    assert_eq!(bench.provider.seen().len(), provider);
}

#[tokio::test]
async fn a_program_that_reads_nothing_holds_up_nobody_but_itself() {
    let wire = ModelWire::Chat;
    let change = |spec: &mut MeterSpec| spec.patience.pause = Duration::from_millis(500);
    let bench = Bench::with(wire, Purse::default(), change, move |_| {
        let mut pieces = vec![begin()];
        pieces.extend((0..600).map(|_| Piece::Chunk(vec![b':'; 64 << 10])));
        pieces
    })
    .await;
    let _unread = bench.ask(wire, &question(wire, true)).await;
    let settled = &bench.settled_at(1).await[0];
    assert_eq!((settled.used, kind(settled)), (worst(&bench), Some(ErrorKind::Interrupted)));
    assert!(settled.answer.len() <= 1 << 20 && settled.left_out > 0, "what is kept is bounded");
}

/// Looks a name up by falling over.
struct Falls;

impl reqwest::dns::Resolve for Falls {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        panic!("this test wants it so")
    }
}

#[tokio::test]
async fn what_falls_over_on_its_way_is_charged_the_worst_case_and_hangs_nobody() {
    let wire = ModelWire::Messages;
    let change = |spec: &mut MeterSpec| {
        spec.upstream.base = Url::parse("http://provider.invalid/v1").unwrap();
        let client = reqwest::Client::builder().no_proxy().dns_resolver(Arc::new(Falls));
        spec.upstream.client = client.build().unwrap();
        spec.limits.usd = Some(1.0);
    };
    let bench = Bench::with(wire, Purse::default(), change, |_| Vec::new()).await;
    for times in 1..3 {
        let answer = bench.ask(wire, &question(wire, true)).await;
        assert!(answer.status().is_server_error(), "{}", answer.status());
        let text = answer.text().await.unwrap();
        assert!(text.contains("api_error") && text.contains("bgagent"), "{text}");
        let settled = &bench.settled_at(times).await[times - 1];
        assert_eq!(settled.used, worst(&bench));
        assert_eq!(bench.meter.report().in_flight, 0);
    }
    bench.meter.close().await;
}

/// Looks a name up and never finds it.
#[derive(Clone)]
struct NeverFinds(Arc<Notify>);

impl reqwest::dns::Resolve for NeverFinds {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        self.0.notify_one();
        std::future::pending().boxed()
    }
}

#[tokio::test]
async fn a_name_that_is_looked_up_does_not_hang_the_close() {
    let wire = ModelWire::Chat;
    let looks = NeverFinds(Arc::default());
    let resolver = looks.clone();
    let change = |spec: &mut MeterSpec| {
        spec.upstream.base = Url::parse("http://provider.invalid/v1").unwrap();
        let client = reqwest::Client::builder().no_proxy().dns_resolver(Arc::new(resolver));
        spec.upstream.client = client.build().unwrap();
    };
    let bench = Bench::with(wire, Purse::default(), change, |_| Vec::new()).await;
    let asking = tokio::spawn(bench.request(wire, true).body(question(wire, true).to_string()).send());
    looks.0.notified().await;
    bench.meter.close().await;
    assert_eq!((bench.settled()[0].used, bench.meter.report().in_flight), (worst(&bench), 0));
    assert!(asking.await.unwrap().map_or(true, |answer| !answer.status().is_success()));
}

/// Never says whether a request may be sent.
struct NeverSays(Notify);

impl Account for NeverSays {
    fn hold(&self, _: Asked) -> BoxFuture<'_, Result<Held, RunError>> {
        self.0.notify_one();
        std::future::pending().boxed()
    }

    fn settle(&self, _: Held, _: Settled) -> BoxFuture<'_, ()> {
        unreachable!("nothing was held")
    }
}

#[tokio::test]
async fn a_hold_that_waits_does_not_hang_the_close() {
    let wire = ModelWire::Messages;
    let account = Arc::new(NeverSays(Notify::new()));
    let meter = Meter::new(spec(wire, "http://127.0.0.1:9/v1"), account.clone());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/messages", listener.local_addr().unwrap());
    meter.serve(std::future::ready(Some(listener)));
    let request = client().post(url).header("x-api-key", meter.key()).body(question(wire, true).to_string());
    let asking = tokio::spawn(request.send());
    account.0.notified().await;
    assert_eq!(meter.report().in_flight, 1);
    meter.close().await;
    assert_eq!(meter.report().in_flight, 0);
    assert!(asking.await.unwrap().map_or(true, |answer| !answer.status().is_success()));
}

#[tokio::test]
async fn usage_that_came_before_a_stream_broke_is_not_all_of_it() {
    for wire in [ModelWire::Chat, ModelWire::Gemini] {
        let said =
            hello(wire).concat().replace("data: [DONE]\n\n", "").replace(":1500", ":15").replace(":50", ":5");
        let said = said.replace(":1550", ":20");
        let bench =
            Bench::new(wire, move |_| vec![begin(), Piece::Chunk(said.clone().into_bytes()), Piece::Cut])
                .await;
        let _ = bench.ask(wire, &question(wire, true)).await.text().await;
        assert_eq!(bench.settled_at(1).await[0].used, worst(&bench), "{wire:?}");
    }
}
