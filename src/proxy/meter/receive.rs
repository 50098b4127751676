//! Receives the requests of a program: checks authorization, parses them, and determines the destination.
use super::account::Asked;
use super::body::{self, NoBody};
use super::exchange::{Exchange, Hold};
use super::refusal::{NotSent, in_form};
use super::request::{Readied, RequestReader};
use super::state::MeterState;
use super::tool_server::MCP_PATH;
use super::tools;
use super::wire::{Asks, ModelWire, Route, route, wire_of};
use crate::domain::{ErrorKind, Price, RunError, Tokens, WorstCase, cost};
use crate::proxy::listen::{self, Answers, Place, is_itself};
use crate::proxy::reply::{Answer, said, without_connection};
use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap,
    HeaderName, HeaderValue, UPGRADE,
};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use tokio::sync::{Semaphore, oneshot};

/// Where a program may send the run's key, besides `Authorization` and `?key=`.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "x-goog-api-key", "x-bgagent-key"];

/// Query parameters that are forwarded. Others could contain a key, or exclude usage from an answer (`fields` at Google).
const FORWARDED_QUERY_KEYS: [&str; 8] =
    ["alt", "beta", "limit", "after_id", "before_id", "pageSize", "pageToken", "client_version"];
/// Headers of a program that are not forwarded: they change the fields of an answer, the account that pays, or the method.
const DROPPED_HEADERS: [&str; 9] = [
    "x-goog-fieldmask",
    "x-goog-user-project",
    "x-http-method-override",
    "openai-organization",
    "openai-project",
    "chatgpt-account-id",
    "anthropic-organization-id",
    "anthropic-workspace-id",
    "api-key",
];

/// Prefixes of headers by which gateways choose other models and providers, retry, or take another path or method.
const GATEWAY_HEADER_PREFIXES: [&str; 9] = [
    "x-portkey-",
    "x-litellm-",
    "litellm-",
    "helicone-",
    "cf-aig-",
    "x-original-",
    "x-rewrite-",
    "x-http-method",
    "x-method-override",
];

/// Bodies up to this many bytes are parsed inline, without queueing.
const MAX_INLINE_BYTES: usize = 64 << 10;
/// Headers that enable beta features, and parts that are not forwarded: they make the provider query models again.
const BETA_HEADERS: [&str; 2] = ["anthropic-beta", "openai-beta"];
const ASKS_AGAIN: [&str; 2] = ["fallback", "multi_agent"];

/// Maximum number of longer bodies that are parsed concurrently; one per run ([`MeterState::reads`]). Parsing takes several
/// times the size of a body, so the number is limited on large machines, too.
static READERS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    Arc::new(Semaphore::new(cores.clamp(2, 4)))
});

impl Answers for MeterState {
    fn answer(self: Arc<Self>, request: Request<Incoming>, place: Place) -> BoxFuture<'static, Answer> {
        if request.method() == Method::CONNECT && is_itself(request.uri(), &place) {
            return std::future::ready(tunnel(self, request, place)).boxed();
        }
        async move {
            let wires = ModelWire::of(self.spec.model.provider);
            let usual = wires.first().copied().unwrap_or(ModelWire::Chat);
            let wire = wire_of(request.uri().path()).unwrap_or(usual);
            let received = AssertUnwindSafe(receive(&self, request, &place)).catch_unwind().await;
            match received {
                Ok(Ok(answer)) => answer,
                Ok(Err(refused)) => refused.answer(&self, wire),
                Err(_) => broken(wire),
            }
        }
        .boxed()
    }
}

/// Serves what arrives through a tunnel to the meter. Tunnels can't be nested: each would wrap the previous one.
struct WithinTunnel(Arc<MeterState>);

impl Answers for WithinTunnel {
    fn answer(self: Arc<Self>, request: Request<Incoming>, place: Place) -> BoxFuture<'static, Answer> {
        let state = self.0.clone();
        if request.method() != Method::CONNECT {
            return state.answer(request, place);
        }
        let wire = ModelWire::of(state.spec.model.provider).first().copied().unwrap_or(ModelWire::Chat);
        let refused =
            NotSent::odd(StatusCode::BAD_REQUEST, "there is no tunnel within a tunnel; ask by POST");
        std::future::ready(refused.answer(&state, wire)).boxed()
    }
}

/// Opens a tunnel to the meter itself, for programs that send all requests through the proxy with `CONNECT`.
fn tunnel(state: Arc<MeterState>, request: Request<Incoming>, place: Place) -> Answer {
    let ended = state.ended.clone();
    let serving = async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            listen::connection(Arc::new(WithinTunnel(state)), TokioIo::new(upgraded), place).await;
        }
    };
    tokio::spawn(ended.run_until_cancelled_owned(serving));
    let mut answer = said(StatusCode::OK, "");
    answer.headers_mut().clear();
    answer
}

async fn receive(
    state: &Arc<MeterState>,
    request: Request<Incoming>,
    place: &Place,
) -> Result<Answer, NotSent> {
    let (parts, body) = request.into_parts();
    let elsewhere = parts.uri.authority().is_some() && !is_itself(&parts.uri, place);
    if parts.method == Method::CONNECT || elsewhere {
        let message = "only the model's provider is reached here; name other hosts in `net` of the sandbox";
        return Err(NotSent::odd(StatusCode::BAD_REQUEST, message));
    }
    // other upgrades may be ignored (RFC 9110, 7.8); this answer makes Codex fall back to POST
    if is_websocket(&parts.headers) {
        let message = "no other protocol is spoken here than HTTP/1.1: no WebSocket; ask by POST";
        return Err(NotSent::odd(StatusCode::UPGRADE_REQUIRED, message));
    }
    if !has_key(state, &parts.headers, &parts.uri) {
        let message =
            "this is not the key of the run: a program uses the key and the address that its start gave it";
        return Err(NotSent::odd(StatusCode::BAD_REQUEST, message));
    }
    if let (Some(server), MCP_PATH) = (&state.tools, parts.uri.path()) {
        return Ok(tools::receive(state, server.clone(), &parts, body).await);
    }
    let provider = state.spec.model.provider;
    let Some(route) = route(ModelWire::of(provider), &parts.method, parts.uri.path()) else {
        let path: String = parts.uri.path().chars().take(200).collect();
        let message = format!(
            "{} {path} is not a request that is metered, so it is not sent; [models.{}] is asked by: {}",
            parts.method,
            state.spec.table,
            ModelWire::of(provider).iter().map(|wire| wire.name()).collect::<Vec<_>>().join(", ")
        );
        return Err(NotSent::odd(StatusCode::BAD_REQUEST, message));
    };
    if let Some(why) = state.stop() {
        return Err(NotSent::because(why));
    }
    let bad = |why: String| NotSent::because(RunError::new(ErrorKind::Config, format!("not sent: {why}")));
    let read_whole = body::whole(&state.bodies, &parts.headers, body).await;
    let mut whole = read_whole.map_err(|why| match why {
        NoBody::Unfit(why) => bad(why),
        NoBody::NoRoom => {
            state.had_no_room();
            NotSent::later("too many large requests are under way: there was no memory for this one")
        }
        NoBody::Broken(why) => NotSent::odd(StatusCode::BAD_REQUEST, format!("not sent: {why}")),
    })?;
    let upstream = state.upstream();
    let headers = forwarded_headers(parts.headers, &upstream.headers);
    let url = url(&upstream.base, &route, &parts.uri).map_err(bad)?;
    let (hold, body) = match &route.asks {
        Asks::LookUp if parts.method == Method::GET => {
            state.looks_up().map_err(NotSent::because)?;
            (None, Bytes::new())
        }
        asks => {
            let readied = read(state, &route, whole.bytes).await.map_err(bad)?;
            whole.room.shrink(readied.body.len());
            let body = readied.body.clone();
            match asks {
                Asks::LookUp => {
                    state.looks_up().map_err(NotSent::because)?;
                    (None, body)
                }
                Asks::Answer { .. } => (Some(hold(state, route.wire, readied)?), body),
            }
        }
    };
    let (to_program, answer) = oneshot::channel();
    let exchange = Exchange {
        state: state.clone(),
        wire: route.wire,
        method: parts.method,
        url,
        headers,
        body,
        upstream,
        hold,
        room: Some(whole.room),
    };
    state.exchanges.spawn(exchange.run(to_program));
    Ok(answer.await.unwrap_or_else(|_| broken(route.wire)))
}

/// Returns the answer after a panic.
fn broken(wire: ModelWire) -> Answer {
    in_form(
        wire,
        StatusCode::INTERNAL_SERVER_ERROR,
        "the run is over, or its meter is broken: see the log of the daemon",
    )
}

fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(UPGRADE).iter().any(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Parses a request as far as its cost depends on it.
async fn read(state: &MeterState, route: &Route, body: Vec<u8>) -> Result<Readied, String> {
    let (model, counts_only) = match &route.asks {
        Asks::Answer { model } => (model.clone(), false),
        Asks::LookUp => (None, true),
    };
    let reader = RequestReader {
        wire: route.wire,
        provider: state.spec.model.provider,
        max_output_tokens: state.spec.max_output_tokens,
        counts_only,
    };
    let is_short = body.len() <= MAX_INLINE_BYTES;
    let reading = move || reader.read(&body, model.as_deref()).map_err(|why| format!("this request {why}"));
    if is_short {
        return reading();
    }
    let unreadable = || "this request can't be read".to_owned();
    let own = state.reads.clone().acquire_owned().await.map_err(|_| unreadable())?;
    let all = READERS.clone().acquire_owned().await.map_err(|_| unreadable())?;
    // a client that disconnects does not cancel what has begun: its slots are held until then
    let in_turn = move || {
        let _place = (own, all);
        reading()
    };
    tokio::task::spawn_blocking(in_turn).await.unwrap_or_else(|_| Err(unreadable()))
}

/// Returns what is to be held for a request.
fn hold(state: &MeterState, wire: ModelWire, readied: Readied) -> Result<Hold, NotSent> {
    let model = &readied.model;
    let priced = state.spec.priced_by(model);
    let table = priced.map_or(state.spec.table.as_str(), |(table, _)| table).to_owned();
    let price = priced.and_then(|(_, price)| price);
    if state.spec.limits.dollars && price.is_none() {
        let shown: String = model.chars().take(100).collect();
        let advice = match priced {
            Some((table, _)) => format!("set `price` of [models.{table}]"),
            None => format!(
                "add a table [models.…] of the same provider with model = \"{shown}\" and its `price`, or let the \
                 program ask another model for this"
            ),
        };
        let message = format!("the model `{shown}` has no price, and dollars are limited: {advice}");
        return Err(NotSent::because(RunError::new(ErrorKind::CostLimit, message)));
    }
    let price = price.map(|price| with_cache_writes(price, wire, readied.long_cache));
    let worst = worst_case(readied.input, readied.output, price.as_ref());
    let asked = Asked {
        table,
        model: readied.model,
        wire,
        worst,
        request: readied.body,
        has_tools: readied.has_tools,
    };
    Ok(Hold { asked, price, taken_out: readied.taken_out })
}

/// Returns a price with cache writes, which cost more than input according to "Pricing" of Anthropic's page on prompt caching:
/// twice as much if kept for an hour, else 1.25 times. Programs request them in each request, whatever the table says.
fn with_cache_writes(price: Price, wire: ModelWire, for_an_hour: bool) -> Price {
    let least = match (wire, for_an_hour) {
        (_, true) => 2.0,
        (ModelWire::Messages, false) => 1.25,
        _ => return price,
    };
    Price { cache_write: price.cache_write.max(least * price.input), ..price }
}

fn worst_case(input: u64, output: u64, price: Option<&Price>) -> WorstCase {
    let usd = price.map_or(0.0, |price| {
        let written = if price.cache_write > price.input { input } else { 0 };
        cost(price, &Tokens { input, written, output, cached: 0 })
    });
    WorstCase { tokens: input.saturating_add(output), output, usd }
}

/// Returns whether the request contains the run's key, in any of the provider's ways.
fn has_key(state: &MeterState, headers: &HeaderMap, uri: &Uri) -> bool {
    let plain = KEY_HEADERS.iter().filter_map(|name| headers.get(*name)).map(HeaderValue::as_bytes);
    let bearer = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|value| {
        let (scheme, key) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
    });
    let query = uri.query().unwrap_or_default().split('&').filter_map(|part| part.strip_prefix("key="));
    plain.chain(bearer).chain(query.map(str::as_bytes)).any(|said| state.is_key(said))
}

/// Returns the headers to forward: the program's, without hop-by-hop headers and the key, and with those of the provider's
/// table.
fn forwarded_headers(mut headers: HeaderMap, own: &HeaderMap) -> HeaderMap {
    without_connection(&mut headers);
    for name in [HOST, CONTENT_LENGTH, CONTENT_ENCODING, EXPECT, COOKIE, AUTHORIZATION] {
        headers.remove(name);
    }
    for name in KEY_HEADERS.iter().chain(&DROPPED_HEADERS) {
        headers.remove(*name);
    }
    let is_a_gateways =
        |name: &&HeaderName| GATEWAY_HEADER_PREFIXES.iter().any(|begin| name.as_str().starts_with(begin));
    let gateways: Vec<HeaderName> = headers.keys().filter(is_a_gateways).cloned().collect();
    for name in gateways {
        headers.remove(name);
    }
    BETA_HEADERS.iter().for_each(|name| remove_asking_again(&mut headers, name));
    // usage is parsed from the stream
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let beta = HeaderName::from_static("anthropic-beta");
    for (name, value) in own {
        match headers.contains_key(name) && *name == beta {
            true => headers.append(name, value.clone()),
            false => headers.insert(name, value.clone()).is_some(),
        };
    }
    headers
}

/// Removes the parts of a header's list that make the provider query models again.
fn remove_asking_again(headers: &mut HeaderMap, name: &'static str) {
    let asks_again = |part: &str| {
        let part = part.to_ascii_lowercase().replace('-', "_");
        ASKS_AGAIN.iter().any(|word| part.contains(word))
    };
    // a header that is not text can't contain such a part
    let texts = || headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    if !texts().any(asks_again) {
        return;
    }
    let stays: Vec<&str> =
        texts().flat_map(|text| text.split(',')).filter(|part| !asks_again(part)).collect();
    let stays = HeaderValue::from_str(&stays.join(","));
    headers.remove(name);
    if let Ok(stays) = stays
        && !stays.is_empty()
    {
        headers.insert(name, stays);
    }
}

/// Returns the URL of a request at the provider, without the key.
fn url(base: &Url, route: &Route, uri: &Uri) -> Result<Url, String> {
    let mut url = base.clone();
    url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), route.path));
    let query = uri.query().unwrap_or_default().split('&');
    let is_known = |part: &&str| FORWARDED_QUERY_KEYS.contains(&part.split('=').next().unwrap_or_default());
    let kept: Vec<&str> = query.filter(is_known).collect();
    url.set_query((!kept.is_empty()).then(|| kept.join("&")).as_deref());
    match url.path().ends_with(&route.path) {
        true => Ok(url),
        false => Err("this request has an address that can't be sent on".into()),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what goes on of a request's head.
    use super::*;

    #[test]
    fn an_address_goes_on_without_its_key() {
        let route = |path: &str| Route { wire: ModelWire::Gemini, asks: Asks::LookUp, path: path.into() };
        for (base, path, asked, sent) in [
            (
                "https://a.example/v1",
                "/messages",
                "/v1/messages?beta=true",
                "https://a.example/v1/messages?beta=true",
            ),
            (
                "https://a.example/v1beta/",
                "/models/x:streamGenerateContent",
                "/v1beta/models/x:streamGenerateContent?alt=sse&key=abc&fields=candidates&%24fields=x&%6bey=abc",
                "https://a.example/v1beta/models/x:streamGenerateContent?alt=sse",
            ),
            ("https://a.example", "/responses", "/responses?key=abc", "https://a.example/responses"),
        ] {
            let base = Url::parse(base).unwrap();
            assert_eq!(url(&base, &route(path), &asked.parse().unwrap()).unwrap().as_str(), sent);
        }
    }

    #[test]
    fn headers_go_on_but_for_keys_and_those_of_a_connection() {
        let all = [
            ("host", "127.0.0.1"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("x-api-key", "run"),
            ("cookie", "a=b"),
            ("authorization", "Bearer run"),
            ("x-goog-api-key", "run"),
            ("content-length", "5"),
            ("expect", "100-continue"),
            ("anthropic-beta", "one,server-side-fallback-2026-06-01,two"),
            ("openai-beta", "responses_multi_agent=v1"),
            ("x-stainless-retry-count", "1"),
            ("accept-encoding", "gzip, br"),
            ("user-agent", "claude-cli/2"),
            ("x-goog-fieldmask", "candidates"),
            ("openai-project", "other"),
        ];
        let headers: HeaderMap = all
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let own = [("x-api-key", "real"), ("anthropic-beta", "oauth-2025-04-20")];
        let own: HeaderMap = own
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let mut sent: Vec<_> = forwarded_headers(headers, &own)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        sent.sort();
        assert_eq!(
            sent,
            [
                "accept-encoding: identity",
                "anthropic-beta: oauth-2025-04-20",
                "anthropic-beta: one,two",
                "user-agent: claude-cli/2",
                "x-api-key: real",
                "x-stainless-retry-count: 1",
            ]
        );
    }

    #[test]
    fn writes_to_a_cache_cost_what_the_provider_asks_for_them() {
        let plain = Price { input: 4.0, cached_input: 0.4, cache_write: 4.0, output: 20.0 };
        let writes = |price, wire, for_an_hour| with_cache_writes(price, wire, for_an_hour).cache_write;
        assert_eq!(writes(plain, ModelWire::Messages, false), 5.0);
        assert_eq!(writes(plain, ModelWire::Messages, true), 8.0);
        assert_eq!(writes(plain, ModelWire::Chat, false), 4.0);
        let dear = Price { cache_write: 9.0, ..plain };
        assert_eq!(writes(dear, ModelWire::Messages, true), 9.0);
        let worst = worst_case(1_000_000, 0, Some(&with_cache_writes(plain, ModelWire::Messages, false)));
        assert_eq!(worst.usd, 5.0);
    }
}
