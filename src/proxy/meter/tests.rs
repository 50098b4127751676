//! Tests of the meter as a program has it: over a socket, against a provider whose every answer is scripted.
mod ends;
mod loads;
mod provider;
mod refusals;
mod wires;

use super::*;
use crate::domain::{ErrorKind, ModelSpec, Price, ProgramOwner, Provider, RequestSettings, Usage, WorstCase};
use futures_util::future::{BoxFuture, FutureExt};
use hyper::HeaderMap;
use provider::{Scripted, Seen};
use reqwest::Url;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use zeroize::Zeroizing;

/// The key that must never be seen by a program.
const REAL: &str = "sk-real-0123456789-abcdef";
const PRICE: Price = Price { input: 3.0, cached_input: 0.3, cache_write: 3.75, output: 15.0 };
/// Long enough that a test which needs it fails.
const LONG: Duration = Duration::from_secs(60);

/// Pays for everything up to a limit, and remembers it.
#[derive(Default)]
struct Purse {
    limit: Option<f64>,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    next: u64,
    held: BTreeMap<u64, WorstCase>,
    used: f64,
    /// The most that was used and held at a time.
    most: f64,
    settled: Vec<Settled>,
    asked: Vec<Asked>,
}

impl Account for Purse {
    fn hold(&self, asked: Asked) -> BoxFuture<'_, Result<Held, RunError>> {
        async move {
            let mut books = self.books.lock().unwrap();
            let sum = books.used + books.held.values().map(|worst| worst.usd).sum::<f64>() + asked.worst.usd;
            if self.limit.is_some_and(|limit| sum > limit) {
                return Err(RunError::new(ErrorKind::Budget, "usd_per_day = 1 is used up"));
            }
            books.most = books.most.max(sum);
            books.next += 1;
            let n = books.next;
            books.held.insert(n, asked.worst);
            books.asked.push(asked);
            Ok(Held(n))
        }
        .boxed()
    }

    fn settle(&self, held: Held, settled: Settled) -> BoxFuture<'_, ()> {
        async move {
            let mut books = self.books.lock().unwrap();
            assert!(books.held.remove(&held.0).is_some(), "each hold is settled once");
            books.used += settled.used.usd;
            books.settled.push(settled);
        }
        .boxed()
    }
}

/// A meter before a scripted provider.
struct Bench {
    meter: Meter,
    purse: Arc<Purse>,
    provider: Scripted,
    address: SocketAddr,
    client: reqwest::Client,
}

fn model(provider: Provider, name: &str, price: Option<Price>) -> ModelSpec {
    ModelSpec {
        provider,
        model: name.into(),
        base_url: None,
        api_key: None,
        headers: BTreeMap::new(),
        request_timeout: jiff::SignedDuration::from_secs(60),
        max_output_tokens: 1000,
        max_output_by_default: true,
        temperature: None,
        settings: RequestSettings::default(),
        price,
        fallback: Vec::new(),
        fallback_on: Vec::new(),
        max_parallel_requests: None,
        requests_per_minute: None,
    }
}

/// A client as programs have it.
fn client() -> reqwest::Client {
    crate::net::pooled(&Url::parse("http://127.0.0.1/").unwrap(), LONG).unwrap()
}

fn provider_of(wire: ModelWire) -> Provider {
    match wire {
        ModelWire::Messages => Provider::Anthropic,
        ModelWire::Responses | ModelWire::Chat => Provider::OpenAi,
        ModelWire::Gemini => Provider::Gemini,
    }
}

fn spec(wire: ModelWire, base: &str) -> MeterSpec {
    let (header, before) = match wire {
        ModelWire::Messages => ("x-api-key", ""),
        ModelWire::Responses | ModelWire::Chat => ("authorization", "Bearer "),
        ModelWire::Gemini => ("x-goog-api-key", ""),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header, format!("{before}{REAL}").parse().unwrap());
    let secrets = vec![Zeroizing::new(REAL.to_owned())];
    MeterSpec {
        table: "main".into(),
        model: model(provider_of(wire), "big", Some(PRICE)),
        side: BTreeMap::from([("small".to_owned(), model(provider_of(wire), "small", Some(PRICE)))]),
        limits: MeterLimits { dollars: true, ..MeterLimits::default() },
        max_output_tokens: 1000,
        upstream: Upstream::new(Url::parse(base).unwrap(), headers, secrets).unwrap(),
        patience: MeterPatience { head: LONG, pause: LONG },
        owner: ProgramOwner::default(),
    }
}

impl Bench {
    async fn new(
        wire: ModelWire,
        script: impl Fn(&Seen) -> Vec<provider::Piece> + Send + Sync + 'static,
    ) -> Self {
        Self::with(wire, Purse::default(), |_| {}, script).await
    }

    async fn with(
        wire: ModelWire,
        purse: Purse,
        change: impl FnOnce(&mut MeterSpec),
        script: impl Fn(&Seen) -> Vec<provider::Piece> + Send + Sync + 'static,
    ) -> Self {
        let provider = Scripted::start(script).await;
        let mut spec = spec(wire, &format!("http://{}/v1", provider.address));
        change(&mut spec);
        let purse = Arc::new(purse);
        let meter = Meter::new(spec, purse.clone());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        meter.serve(std::future::ready(Some(listener)));
        Self { client: client(), meter, purse, provider, address }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Asks as a program does, with the run's key.
    async fn ask(&self, wire: ModelWire, body: &serde_json::Value) -> reqwest::Response {
        self.request(wire, true).body(body.to_string()).send().await.unwrap()
    }

    fn request(&self, wire: ModelWire, stream: bool) -> reqwest::RequestBuilder {
        let (path, header, before) = match wire {
            ModelWire::Messages => ("/v1/messages?beta=true", "x-api-key", ""),
            ModelWire::Responses => ("/v1/responses", "authorization", "Bearer "),
            ModelWire::Chat => ("/v1/chat/completions", "authorization", "Bearer "),
            ModelWire::Gemini if stream => {
                ("/v1beta/models/big:streamGenerateContent?alt=sse", "x-goog-api-key", "")
            }
            ModelWire::Gemini => ("/v1beta/models/big:generateContent", "x-goog-api-key", ""),
        };
        let key = format!("{before}{}", self.meter.key());
        self.client.post(self.url(path)).header(header, key).header("content-type", "application/json")
    }

    /// All that was settled so far.
    fn settled(&self) -> Vec<Settled> {
        self.purse.books.lock().unwrap().settled.clone()
    }

    /// Waits until so many requests are settled.
    async fn settled_at(&self, count: usize) -> Vec<Settled> {
        while self.settled().len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.settled()
    }
}

/// A usual request of each wire.
fn question(wire: ModelWire, stream: bool) -> serde_json::Value {
    use serde_json::json;
    let tools = json!([{"name": "read", "input_schema": {"type": "object"}}]);
    let mut body = match wire {
        ModelWire::Messages => {
            json!({"model": "big", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], "tools": tools})
        }
        ModelWire::Responses => {
            json!({"model": "big", "max_output_tokens": 100, "input": [], "tools": [{"type": "function", "name": "read"}]})
        }
        ModelWire::Chat => {
            json!({"model": "big", "max_tokens": 100, "messages": [], "stream_options": {"include_usage": true}, "tools": [{"type": "function", "function": {"name": "read"}}]})
        }
        ModelWire::Gemini => {
            json!({"contents": [], "generationConfig": {"maxOutputTokens": 100}, "tools": [{"functionDeclarations": [{"name": "read"}]}]})
        }
    };
    if stream && wire != ModelWire::Gemini {
        body["stream"] = true.into();
    }
    body
}

const ALL: [ModelWire; 4] = [ModelWire::Messages, ModelWire::Responses, ModelWire::Chat, ModelWire::Gemini];

/// Counts what goes by, for tests that say how often.
#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
