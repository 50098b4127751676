//! Tests of what passes: byte for byte, as it comes, with the run's key in and the real one out.
use super::provider::{Piece, begin, hello, hello_whole, stream, whole};
use super::*;
use serde_json::json;
use tokio::sync::Notify;

/// 1200 fresh, 300 from the cache, 50 out.
const COST: f64 = (1200.0 * 3.0 + 300.0 * 0.3 + 50.0 * 15.0) / 1e6;

#[tokio::test]
async fn each_wire_passes_and_is_settled_by_what_it_says() {
    for wire in ALL {
        for streams in [true, false] {
            let bench = Bench::new(wire, move |_| match streams {
                true => stream(&hello(wire)),
                false => whole(
                    "200 OK",
                    "content-type: application/json\r\nx-own: 1\r\n",
                    &hello_whole(wire).to_string(),
                ),
            })
            .await;
            let question = question(wire, streams);
            let request = bench.request(wire, streams).body(question.to_string());
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{wire:?}");
            let kept = if streams { ("request-id", "req_1") } else { ("x-own", "1") };
            assert_eq!(answer.headers().get(kept.0).unwrap(), kept.1);
            let expected = if streams { hello(wire).concat() } else { hello_whole(wire).to_string() };
            assert_eq!(answer.text().await.unwrap(), expected, "{wire:?}");

            let settled = &bench.settled()[0];
            assert!((settled.used.usd - COST).abs() < 1e-12, "{wire:?} {settled:?}");
            assert_eq!(
                (settled.used.input_tokens, settled.used.cached_tokens, settled.used.output_tokens),
                (1500, 300, 50)
            );
            assert_eq!(
                (&settled.end, settled.text.as_str(), settled.status),
                (&AnswerEnd::Complete, "hello", Some(200))
            );
            assert_eq!(&settled.answer[..], expected.as_bytes());
            let report = bench.meter.report();
            assert_eq!(
                (report.used.requests, report.in_flight, report.last),
                (1, 0, Some(AnswerEnd::Complete))
            );
            assert_eq!(report.by_model["big"], report.used);
            assert_eq!((report.refused, report.odd, report.trouble), (0, 0, None));

            let seen = &bench.provider.seen()[0];
            assert_eq!(seen.body, question.to_string().into_bytes(), "{wire:?}: byte for byte");
            let path = match wire {
                ModelWire::Messages => "/v1/messages?beta=true",
                ModelWire::Responses => "/v1/responses",
                ModelWire::Chat => "/v1/chat/completions",
                ModelWire::Gemini if streams => "/v1/models/big:streamGenerateContent?alt=sse",
                ModelWire::Gemini => "/v1/models/big:generateContent",
            };
            assert_eq!(seen.line, format!("POST {path} HTTP/1.1"));
            let all = format!("{:?}", seen.headers);
            assert!(!all.contains(bench.meter.key()) && all.contains(REAL), "{all}");
            assert_eq!(seen.header("accept-encoding"), "identity");
        }
    }
}

#[tokio::test]
async fn an_answer_comes_as_it_is_sent_and_its_end_when_it_is_settled() {
    let wire = ModelWire::Messages;
    let next = Arc::new(Notify::new());
    let wait = next.clone();
    let bench = Bench::new(wire, move |_| {
        let mut pieces = vec![begin()];
        for event in hello(wire) {
            pieces.extend([Piece::Chunk(event.into_bytes()), Piece::Wait(wait.clone())]);
        }
        pieces.push(Piece::End);
        pieces
    })
    .await;
    let mut answer = bench.ask(wire, &question(wire, true)).await;
    for event in hello(wire) {
        // the provider sends the next one only when this one has come through
        assert_eq!(answer.chunk().await.unwrap().unwrap(), event);
        assert_eq!((bench.meter.report().in_flight, bench.settled().len()), (1, 0));
        next.notify_one();
    }
    assert_eq!(answer.chunk().await.unwrap(), None);
    assert_eq!((bench.meter.report().in_flight, bench.settled().len()), (0, 1));
}

#[tokio::test]
async fn neither_unknown_fields_nor_what_a_provider_runs_itself_go_on() {
    let wire = ModelWire::Responses;
    let bench = Bench::new(wire, move |_| stream(&hello(wire))).await;
    let mut question = question(wire, true);
    question["tools"] = json!([{"type": "web_search"}, {"type": "function", "name": "read"}]);
    question["unknown"] = json!({"x": [1.5]});
    question["client_metadata"] = json!({"x": [1.5]});
    let body = question.to_string();
    let request = bench.request(wire, true).header("session-id", "s").header("x-codex-beta", "1").body(body);
    let request = request.header("x-portkey-config", "{}").header("helicone-fallbacks", "[]");
    request.send().await.unwrap().text().await.unwrap();
    let seen = &bench.provider.seen()[0];
    assert_eq!(seen.json()["tools"], json!([{"type": "function", "name": "read"}]));
    assert_eq!(
        (seen.json().get("unknown"), &seen.json()["client_metadata"]),
        (None, &question["client_metadata"])
    );
    assert_eq!((seen.header("session-id"), seen.header("x-codex-beta")), ("s", "1"));
    assert_eq!((seen.header("x-portkey-config"), seen.header("helicone-fallbacks")), ("", ""));
    assert_eq!(
        bench.meter.report().taken_out,
        BTreeMap::from([("unknown".to_owned(), 1), ("web_search".to_owned(), 1)])
    );
}

#[tokio::test]
async fn compressed_requests_are_read() {
    let wire = ModelWire::Responses;
    let bench = Bench::new(wire, move |_| stream(&hello(wire))).await;
    let question = question(wire, true).to_string();
    let packed = zstd::encode_all(question.as_bytes(), 1).unwrap();
    let request = bench.request(wire, true).header("content-encoding", "zstd").body(packed);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let seen = &bench.provider.seen()[0];
    assert_eq!((seen.header("content-encoding"), &seen.body[..]), ("", question.as_bytes()));
}

#[tokio::test]
async fn an_answer_that_is_compressed_is_unpacked_and_read() {
    use std::io::Write;
    let wire = ModelWire::Messages;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(hello_whole(wire).to_string().as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let bench = Bench::new(wire, move |_| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len());
        vec![Piece::Raw([head.as_bytes(), &packed].concat())]
    })
    .await;
    let answer = bench.ask(wire, &question(wire, false)).await;
    assert_eq!(answer.text().await.unwrap(), hello_whole(wire).to_string());
    assert!((bench.settled()[0].used.usd - COST).abs() < 1e-12);
}

#[tokio::test]
async fn the_real_key_never_comes_back() {
    for wire in ALL {
        let bench = Bench::new(wire, move |seen| {
            let all = format!("{:?} {}", seen.headers, seen.line);
            match seen.body.is_empty() {
                true => whole(
                    "401 Unauthorized",
                    &format!("x-said: {REAL}\r\n"),
                    &format!("{{\"error\":{{\"message\":\"bad key {REAL}\"}}}}"),
                ),
                // also in pieces
                false => {
                    let mut pieces = vec![begin()];
                    pieces.extend(all.as_bytes().chunks(7).map(|chunk| Piece::Chunk(chunk.to_vec())));
                    pieces.extend(hello(wire).into_iter().map(|event| Piece::Chunk(event.into_bytes())));
                    pieces.push(Piece::End);
                    pieces
                }
            }
        })
        .await;
        let answer = bench.ask(wire, &question(wire, true)).await;
        let text = answer.text().await.unwrap();
        assert!(text.contains(&"*".repeat(REAL.len())) && !text.contains(REAL), "{text}");
        let request = bench
            .client
            .get(bench.url("/v1/models"))
            .header("authorization", format!("Bearer {}", bench.meter.key()));
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().get("x-said")), (401, None));
        let text = answer.text().await.unwrap();
        assert!(text.contains("bad key ***") && !text.contains(REAL), "{text}");
        let all = format!("{:?} {:?} {:?}", bench.meter, bench.settled(), bench.meter.report());
        assert!(!all.contains(REAL) && !all.contains(bench.meter.key()), "{all}");
    }
}

#[tokio::test]
async fn a_side_model_is_priced_by_its_own_table() {
    let wire = ModelWire::Messages;
    let cheap = Price { input: 1.0, cached_input: 0.1, cache_write: 1.25, output: 5.0 };
    let change = |spec: &mut MeterSpec| spec.side.get_mut("small").unwrap().price = Some(cheap);
    let bench = Bench::with(wire, Purse::default(), change, move |_| stream(&hello(wire))).await;
    let mut question = question(wire, true);
    question["model"] = "small-20251001".into();
    bench.ask(wire, &question).await.text().await.unwrap();
    let settled = &bench.settled()[0];
    assert_eq!((settled.table.as_str(), settled.model.as_str()), ("small", "small-20251001"));
    assert!((settled.used.usd - COST / 3.0).abs() < 1e-12, "{settled:?}");
    assert_eq!(bench.meter.report().by_model.keys().collect::<Vec<_>>(), ["small-20251001"]);
}

#[tokio::test]
async fn the_end_of_the_work_counts_and_not_that_of_a_title() {
    let wire = ModelWire::Chat;
    let bench = Bench::new(wire, move |seen| {
        let cut = seen.json().get("tools").is_some();
        let events = hello(wire)
            .into_iter()
            .map(|event| if cut { event.replace("\"stop\"", "\"length\"") } else { event });
        stream(&events.collect::<Vec<_>>())
    })
    .await;
    let mut title = question(wire, true);
    title.as_object_mut().unwrap().remove("tools");
    for (question, last) in [
        (&title, AnswerEnd::Complete),
        (&question(wire, true), AnswerEnd::CutOff),
        (&title, AnswerEnd::CutOff),
    ] {
        bench.ask(wire, question).await.text().await.unwrap();
        assert_eq!(bench.meter.report().last, Some(last));
    }
}

#[tokio::test]
async fn lists_and_counts_cost_nothing_and_are_bounded() {
    let wire = ModelWire::Messages;
    let bench = Bench::with(
        wire,
        Purse { limit: Some(0.0), ..Purse::default() },
        |_| {},
        |_| whole("200 OK", "", "{\"input_tokens\":7}"),
    )
    .await;
    let count =
        || bench.client.post(bench.url("/v1/messages/count_tokens")).header("x-api-key", bench.meter.key());
    let answer = count().body("{\"model\":\"big\",\"messages\":[]}").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "{\"input_tokens\":7}");
    assert_eq!(&bench.provider.seen()[0].body[..], b"{\"model\":\"big\",\"messages\":[]}");
    for _ in 0..999 {
        let list = bench.client.get(bench.url("/v1/models")).header("x-api-key", bench.meter.key());
        assert_eq!(list.send().await.unwrap().status(), 200);
    }
    assert_eq!(
        bench
            .client
            .get(bench.url("/v1/models"))
            .header("x-api-key", bench.meter.key())
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
    let report = bench.meter.report();
    assert_eq!((report.lookups, report.used.requests), (1000, 0));
    assert_eq!(report.refusal.unwrap().kind, ErrorKind::RequestLimit);
}

#[tokio::test]
async fn in_whatever_pieces_an_answer_comes_it_goes_on_unchanged() {
    for wire in ALL {
        for size in [1, 2, 3, 5, 7, 13, 64, 1000] {
            let bench = Bench::new(wire, move |_| {
                let text = hello(wire).concat();
                let pieces = text.as_bytes().chunks(size).map(|piece| Piece::Chunk(piece.to_vec()));
                std::iter::once(begin()).chain(pieces).chain([Piece::End]).collect()
            })
            .await;
            let answer = bench.ask(wire, &question(wire, true)).await;
            assert_eq!(answer.text().await.unwrap(), hello(wire).concat(), "{wire:?} {size}");
            let settled = &bench.settled()[0];
            assert_eq!(
                (&settled.end, settled.text.as_str()),
                (&AnswerEnd::Complete, "hello"),
                "{wire:?} {size}"
            );
            assert!((settled.used.usd - COST).abs() < 1e-12, "{wire:?} {size}");
        }
    }
}

#[tokio::test]
async fn a_renewed_key_is_used_from_then_on() {
    let wire = ModelWire::Messages;
    let bench = Bench::new(wire, move |_| stream(&hello(wire))).await;
    bench.ask(wire, &question(wire, true)).await.text().await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer renewed-0123456789".parse().unwrap());
    let base = Url::parse(&format!("http://{}/v1", bench.provider.address)).unwrap();
    let secrets = vec![Zeroizing::new("renewed-0123456789".to_owned())];
    bench.meter.renew(Upstream::new(base, headers, secrets).unwrap());
    bench.ask(wire, &question(wire, true)).await.text().await.unwrap();
    let seen = bench.provider.seen();
    assert_eq!((seen[0].header("x-api-key"), seen[0].header("authorization")), (REAL, ""));
    assert_eq!(
        (seen[1].header("x-api-key"), seen[1].header("authorization")),
        ("", "Bearer renewed-0123456789")
    );
}
