//! Tests of many at a time: limits that hold to the cent, programs that ask without end, and what the meter takes of time.
use super::provider::{Scripted, hello, hello_whole, stream, whole};
use super::*;
use std::time::Instant;

/// The usage of a request is made up by its number, up to what was held.
fn some(n: u64) -> String {
    let (input, output) = (20 + n * 37 % 400, 1 + n * 13 % 100);
    hello(ModelWire::Chat)
        .concat()
        .replace(":50", &format!(":{output}"))
        .replace(":1500", &format!(":{input}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_runs_never_overrun_a_budget_by_a_cent() {
    let wire = ModelWire::Chat;
    let count = Count::default();
    // some break off, some say nothing, the others say what they used
    let provider = Scripted::start(move |_| match count.next() {
        n if n % 17 == 0 => vec![provider::begin(), provider::Piece::Cut],
        n if n % 11 == 0 => stream(&[]),
        n => stream(&[some(n)]),
    })
    .await;
    let base = format!("http://{}/v1", provider.address);
    let probe = WorstCase { usd: 0.0015, ..WorstCase::default() };
    let (limit, per_run) = (probe.usd * 1000.0, probe.usd * 150.0);
    let purse = Arc::new(Purse { limit: Some(limit), ..Purse::default() });
    let mut runs = Vec::new();
    for _ in 0..16 {
        let mut spec = spec(wire, &base);
        spec.limits.usd = Some(per_run);
        let meter = Meter::new(spec, purse.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
        meter.serve(std::future::ready(Some(listener)));
        runs.push(tokio::spawn(async move {
            let client = client();
            let body = question(wire, true).to_string();
            let (mut answered, mut refused) = (0, 0);
            for _ in 0..200 {
                let ask = || client.post(&url).bearer_auth(meter.key()).body(body.clone()).send();
                let (one, two) = tokio::join!(ask(), ask());
                // one that breaks off at once may break before its head is out
                for answer in [one, two].into_iter().flatten() {
                    match answer.status().as_u16() {
                        200 => answered += u64::from(answer.text().await.is_ok_and(|text| !text.is_empty())),
                        400 => refused += 1,
                        other => panic!("{other}: {}", answer.text().await.unwrap()),
                    }
                }
            }
            meter.close().await;
            let report = meter.report();
            assert!(report.used.usd <= per_run * (1.0 + 1e-9), "{} of {per_run}", report.used.usd);
            (answered, refused, report.used)
        }));
    }
    let mut sum = Usage::default();
    let (mut answered, mut refused) = (0, 0);
    for run in runs {
        let (some, none, used) = run.await.unwrap();
        answered += some;
        refused += none;
        sum.add(&used);
    }
    let books = purse.books.lock().unwrap();
    assert!(books.most <= limit + 1e-12, "{} of {limit} were held", books.most);
    assert!(books.held.is_empty(), "all is settled");
    assert!((books.used - sum.usd).abs() < 1e-9, "{} {}", books.used, sum.usd);
    assert!(answered > 500 && refused > 0, "{answered} answered, {refused} refused");
    assert_eq!(sum.requests as usize, provider.seen().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_asks_ten_thousand_times_is_refused_ten_thousand_times_less_some() {
    let wire = ModelWire::Responses;
    let change = |spec: &mut MeterSpec| spec.limits.requests = Some(20);
    let bench = Bench::with(wire, Purse::default(), change, move |_| stream(&[])).await;
    let body = question(wire, true).to_string();
    let one = async || {
        for _ in 0..1250 {
            let answer = bench.request(wire, true).body(body.clone()).send().await.unwrap();
            answer.bytes().await.unwrap();
        }
    };
    tokio::join!(one(), one(), one(), one(), one(), one(), one(), one());
    assert_eq!(bench.provider.seen().len(), 20);
    let report = bench.meter.report();
    assert_eq!((report.used.requests, report.refused, report.in_flight), (20, 9980, 0));
    assert_eq!(report.refusal.unwrap().kind, ErrorKind::RequestLimit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_runs_are_served_at_a_time() {
    let wire = ModelWire::Messages;
    let provider = Scripted::start(move |_| stream(&hello(wire))).await;
    let base = format!("http://{}/v1", provider.address);
    let purse = Arc::new(Purse::default());
    let runs = (0..64).map(|_| {
        let meter = Meter::new(spec(wire, &base), purse.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/messages", listener.local_addr().unwrap());
        meter.serve(std::future::ready(Some(listener)));
        tokio::spawn(async move {
            let client = client();
            let ask = || {
                client
                    .post(&url)
                    .header("x-api-key", meter.key())
                    .body(question(wire, true).to_string())
                    .send()
            };
            let answers = tokio::join!(ask(), ask(), ask(), ask());
            for answer in [answers.0, answers.1, answers.2, answers.3] {
                assert_eq!(answer.unwrap().text().await.unwrap(), hello(wire).concat());
            }
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
    assert_eq!(provider.seen().len(), 256);
}

/// What the meter adds to a request as large as the first of Claude Code: at the 99th of 100, against the same request
/// without it. A debug build on a slow machine is given much more time than the 5 ms that a release takes.
#[tokio::test]
async fn the_meter_adds_little_to_a_request() {
    let wire = ModelWire::Messages;
    let answer = hello_whole(wire).to_string();
    let bench =
        Bench::new(wire, move |_| whole("200 OK", "content-type: application/json\r\n", &answer)).await;
    let mut question = question(wire, false);
    question["system"] = "You are a tool that edits files; the rules follow. ".repeat(2300).into();
    let body = question.to_string();
    assert!(body.len() > 115_000);
    let direct = format!("http://{}/v1/messages", bench.provider.address);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        for (metered, times) in times.iter_mut().enumerate() {
            let url = if metered == 1 { bench.url("/v1/messages") } else { direct.clone() };
            let request = bench.client.post(url).header("x-api-key", bench.meter.key()).body(body.clone());
            let began = Instant::now();
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success());
            answer.bytes().await.unwrap();
            times.push(began.elapsed());
        }
    }
    let at = |times: &mut Vec<Duration>, part: usize| {
        times.sort();
        times[times.len() * part / 100]
    };
    let [mut without, mut with] = times;
    let shown = [50, 99].map(|part| (at(&mut without, part), at(&mut with, part)));
    println!("direct and metered: half {:?}, 99 of 100 {:?}", shown[0], shown[1]);
    let added = shown[0].1.saturating_sub(shown[0].0);
    assert!(added < Duration::from_millis(200), "{added:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_runs_with_large_requests_keep_to_the_memory_that_there_is() {
    use crate::proxy::meter::body::{MEMORY, memory_in_use};
    let wire = ModelWire::Messages;
    let answer = hello_whole(wire).to_string();
    let provider =
        Scripted::start(move |_| whole("200 OK", "content-type: application/json\r\n", &answer)).await;
    let base = format!("http://{}/v1", provider.address);
    let purse = Arc::new(Purse::default());
    // each takes 10 MiB while it is unpacked: all at once would be more than there is
    let mut question = question(wire, false);
    question["metadata"] = serde_json::json!({ "x": "0".repeat(256 << 10) });
    let packed = hyper::body::Bytes::from(zstd::encode_all(question.to_string().as_bytes(), 1).unwrap());
    let runs: Vec<_> = (0..64)
        .map(|_| {
            let mut spec = spec(wire, &base);
            spec.limits.usd = None;
            let meter = Meter::new(spec, purse.clone());
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/v1/messages", listener.local_addr().unwrap());
            meter.serve(std::future::ready(Some(listener)));
            let packed = packed.clone();
            tokio::spawn(async move {
                let asking = client().post(&url).header("x-api-key", meter.key());
                let answer = asking.header("content-encoding", "zstd").body(packed).send().await.unwrap();
                assert_eq!(answer.status(), 200);
            })
        })
        .collect();
    let mut most = 0;
    while !runs.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(memory_in_use());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for run in runs {
        run.await.unwrap();
    }
    assert!((10 << 20..=MEMORY).contains(&most), "{most}");
    assert_eq!(provider.seen().len(), 64);
}
