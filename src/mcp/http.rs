//! HTTP servers: turns each response to a message into an answer to it. A refusal in any form becomes one, with its text;
//! `rmcp` would ignore those that contain no request id or a wrong one. It manages sessions itself, and opens another one when
//! told that the last one is lost.
use super::mend::{Asked, error_of};
use super::text::shown;
use super::wire::{MAX_LINE, Signals, too_long};
use crate::domain::{JsonMistakes, read_json};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ErrorCode, ErrorData};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use serde_json::{Map, Value, json};
use sse_stream::{Sse, SseStream};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SESSION: &str = "mcp-session-id";
const EVENTS: &str = "text/event-stream";
/// Limits for reading a refusal.
const MAX_REFUSAL_BYTES: usize = 64 << 10;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Texts in refusals with status 400 of servers that do not know a session.
const NO_SESSION: [&str; 7] = [
    "session not found",
    "invalid session",
    "no valid session",
    "unknown session",
    "session expired",
    "session terminated",
    "mcp-session-id header is required",
];
/// Key in the `data` of our own errors: what the server's answer means for the call.
const OWN_ERROR_KEY: &str = "bgagent.http";

/// Returns whether a request was answered in a way that leaves open whether it was carried out.
pub(super) fn is_unsure(error: &ErrorData) -> bool {
    marked(error).is_some_and(|ours| ours["unsure"] == true)
}

/// Returns the HTTP status of a refusal that did not come from the server's protocol layer.
pub(super) fn refused_with(error: &ErrorData) -> Option<u64> {
    marked(error)?["status"].as_u64()
}

fn marked(error: &ErrorData) -> Option<&Value> {
    error.data.as_ref()?.get(OWN_ERROR_KEY)
}

/// The client of one server.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    signals: Arc<Signals>,
    /// Unanswered requests: an answer may arrive in another stream.
    open: Arc<Mutex<HashMap<i64, Asked>>>,
    /// Calls that were refused because their session was lost, and are repeated with another one; and whether that proves that
    /// they were not carried out.
    refused: Arc<Mutex<HashMap<i64, bool>>>,
}

type Failed = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;
type Events = BoxStream<'static, Result<Sse, SseError>>;

impl Http {
    pub(super) fn new(client: Client, signals: Arc<Signals>) -> Self {
        Self { client, signals, open: Arc::default(), refused: Arc::default() }
    }

    async fn send(
        &self,
        request: RequestBuilder,
        message: &ClientJsonRpcMessage,
        session: bool,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let response = request.json(message).send().await?;
        let status = response.status();
        let Some(asked) = Asked::by(message) else {
            // Nobody waits for an answer to these, and a server that does not accept them says so when asked.
            return match status {
                StatusCode::NOT_FOUND if session => Err(StreamableHttpError::SessionExpired),
                _ => Ok(StreamableHttpPostResponse::Accepted),
            };
        };
        let of_session = response.headers().get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let before = self.refused.lock().expect("no holder panics").remove(&asked.id);
        if !status.is_success() {
            let refusal = Refusal::read(response).await;
            let lost = session && refusal.is_lost_session(asked.is_call());
            if session && refusal.is_lost_session(false) {
                // another session may have other tools
                self.signals.stale.store(true, Relaxed);
            }
            let error = match before {
                None if lost => {
                    if asked.is_call() {
                        self.refused
                            .lock()
                            .expect("no holder panics")
                            .insert(asked.id, refusal.is_not_found());
                    }
                    self.signals.lost(&refusal.text, refusal.is_not_found());
                    return Err(StreamableHttpError::SessionExpired);
                }
                None => refusal.error(),
                Some(surely) => refusal.error_after_retry(lost, surely),
            };
            return Ok(StreamableHttpPostResponse::Json(asked.error(error), of_session));
        }
        if media_type(response.headers()) == EVENTS {
            self.open().insert(asked.id, asked);
            return Ok(StreamableHttpPostResponse::Sse(self.events(response, Some(asked)), of_session));
        }
        let answer = match whole(response, MAX_LINE).await? {
            Body::Whole(kind, body) => given(asked, status, &kind, &body),
            Body::TooLong => asked.error(too_long()),
        };
        Ok(StreamableHttpPostResponse::Json(answer, of_session))
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<i64, Asked>> {
        self.open.lock().expect("no holder panics")
    }

    /// Returns the events of a response, each of them valid. `asked`: the request that it answers.
    fn events(&self, response: Response, asked: Option<Asked>) -> Events {
        let events = SseStream::from_bytes_stream(bounded(response.bytes_stream()));
        self.mended(events, asked)
    }

    fn mended(
        &self,
        events: impl Stream<Item = Result<Sse, SseError>> + Send + 'static,
        asked: Option<Asked>,
    ) -> Events {
        let this = self.clone();
        let mend = move |event: Result<Sse, SseError>| {
            let all = match event {
                Ok(Sse { data: Some(data), event, id, retry }) => {
                    let said = this.said(&data, asked).into_iter();
                    said.map(|data| Ok(Sse { data: Some(data), event: event.clone(), id: id.clone(), retry }))
                        .collect()
                }
                other => vec![other],
            };
            stream::iter(all)
        };
        events.flat_map(mend).boxed()
    }

    /// Returns the messages of an event. An unreadable one is left as it is, and will be ignored.
    fn said(&self, data: &str, asked: Option<Asked>) -> Vec<String> {
        let messages = match read_json(data.as_bytes(), JsonMistakes::Encoding) {
            Ok(Value::Array(messages)) => messages,
            Ok(message) => vec![message],
            Err(_) => return vec![data.to_owned()],
        };
        let answer = |message: Value| {
            let Value::Object(said) = message else { return message.to_string() };
            if said.contains_key("method") {
                return Value::Object(said).to_string();
            }
            let mut open = self.open();
            // An answer belongs to the request of its stream, unless its id is that of another request.
            let asked = match number(&said).and_then(|id| open.get(&id).copied()) {
                Some(asked) => Some(asked),
                None => asked.filter(|asked| open.contains_key(&asked.id)),
            };
            match asked {
                Some(asked) => {
                    open.remove(&asked.id);
                    serde_json::to_string(&asked.answer(said)).unwrap_or_default()
                }
                None => Value::Object(said).to_string(),
            }
        };
        messages.into_iter().map(answer).collect()
    }
}

fn number(said: &Map<String, Value>) -> Option<i64> {
    let id = said.get("id")?;
    id.as_i64().or_else(|| id.as_str()?.parse().ok())
}

/// Parses the answer in a body. It answers this request, whatever its id.
fn given(asked: Asked, status: StatusCode, kind: &str, body: &[u8]) -> rmcp::model::ServerJsonRpcMessage {
    let unsure = |text: String| asked.error(ours(status, text, true));
    if body.trim_ascii().is_empty() {
        return unsure(format!("it took the request and gave no answer (HTTP {})", status.as_u16()));
    }
    let said = match read_json(body, JsonMistakes::Encoding) {
        Ok(Value::Array(all)) => {
            let its = |said: &Value| said.get("method").is_none();
            all.into_iter().rfind(its).and_then(into_object)
        }
        Ok(said) => into_object(said),
        Err(_) => None,
    };
    match said {
        Some(said) => asked.answer(said),
        None => {
            let kind = if kind.is_empty() { "something" } else { kind };
            let head = shown(&String::from_utf8_lossy(&body[..body.len().min(1024)]));
            unsure(format!(
                "it answered with {kind} that is not a message (HTTP {}): {head}",
                status.as_u16()
            ))
        }
    }
}

fn into_object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

fn ours(status: StatusCode, text: String, unsure: bool) -> ErrorData {
    let about = json!({OWN_ERROR_KEY: {"status": status.as_u16(), "unsure": unsure}});
    ErrorData::new(ErrorCode::INTERNAL_ERROR, text, Some(about))
}

/// A response whose status is not a success.
struct Refusal {
    status: StatusCode,
    /// The JSON-RPC error.
    error: Option<ErrorData>,
    /// The body, if it is not a JSON-RPC error.
    text: String,
}

impl Refusal {
    async fn read(response: Response) -> Self {
        let status = response.status();
        let reading = tokio::time::timeout(REFUSAL_TIMEOUT, whole(response, MAX_REFUSAL_BYTES)).await;
        let (kind, body) = match reading {
            Ok(Ok(Body::Whole(kind, body))) => (kind, body),
            Ok(Ok(Body::TooLong) | Err(_)) | Err(_) => Default::default(),
        };
        let said: Value = read_json(&body, JsonMistakes::Encoding).unwrap_or_default();
        let error = &said["error"];
        let of_protocol = error.is_object() && (said["jsonrpc"].is_string() || !error["code"].is_null());
        let text =
            match [&error["message"], &said["message"], &said["error_description"], error, &said["detail"]]
                .into_iter()
                .find_map(Value::as_str)
            {
                Some(text) => text.to_owned(),
                None if kind.contains("html") => String::new(),
                None => String::from_utf8_lossy(&body).into_owned(),
            };
        Self { status, error: of_protocol.then(|| error_of(error)), text: shown(&text) }
    }

    fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// Returns whether the server does not know our session. Only 404 is specified for that; many send 400. A `call` will be
    /// repeated, so texts that may come from its tool don't count.
    fn is_lost_session(&self, call: bool) -> bool {
        let said = self.text.to_lowercase();
        match self.status.as_u16() {
            404 => true,
            400 if call => NO_SESSION.iter().any(|words| said.contains(words)),
            400 | 401 | 409 | 410 if !call => {
                let code = self.error.as_ref().map(|error| error.code.0);
                code == Some(-32_001) || (said.contains("session") && self.status != StatusCode::UNAUTHORIZED)
            }
            _ => false,
        }
    }

    /// Returns the error of a call that was refused for its session before, and was repeated. `lost`: refused for the same
    /// reason again. `surely`: the first refusal proves that it was not carried out.
    fn error_after_retry(self, lost: bool, surely: bool) -> ErrorData {
        if !lost {
            let (status, error) = (self.status, self.error());
            let unsure = is_unsure(&error) || !surely;
            return ours(status, error.message.into_owned(), unsure);
        }
        let unsure = !(surely && self.is_not_found());
        let text = if self.text.is_empty() { String::new() } else { format!(": {}", self.text) };
        let what = "it does not know our session, nor a new one";
        ours(self.status, format!("{what} (HTTP {}){text}", self.status.as_u16()), unsure)
    }

    /// Returns the error. A server that reports a JSON-RPC error has not carried out the request; for an error of a gateway, it
    /// is unknown.
    fn error(self) -> ErrorData {
        let status = self.status;
        let unsure =
            status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED && self.error.is_none();
        let what = match status.as_u16() {
            401 => "it requires authentication",
            403 => "it denies access",
            404 => "there is nothing at this address",
            405 => "it accepts no messages at this address",
            429 => "it was asked too often",
            300..=399 => "it sends us to another address, which is not followed",
            500..=599 => "it failed",
            _ => "it refuses the request",
        };
        let text = if self.text.is_empty() { String::new() } else { format!(": {}", self.text) };
        ours(status, format!("{what} (HTTP {}){text}", status.as_u16()), unsure)
    }
}

enum Body {
    /// Its content type, and its bytes.
    Whole(String, Vec<u8>),
    TooLong,
}

async fn whole(response: Response, most: usize) -> Result<Body, Failed> {
    let kind = media_type(response.headers());
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if body.len() + piece.len() > most {
            return Ok(Body::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Body::Whole(kind, body))
}

fn media_type(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Passes the bytes on, and fails as soon as an event exceeds the limit.
fn bounded<B: AsRef<[u8]>>(
    bytes: impl Stream<Item = reqwest::Result<B>> + Send + 'static,
) -> impl Stream<Item = io::Result<B>> + Send + 'static {
    let (mut of_event, mut of_line) = (0_usize, 0_usize);
    bytes.map(move |piece| {
        let piece = piece.map_err(io::Error::other)?;
        for byte in piece.as_ref() {
            match byte {
                b'\n' if of_line == 0 => of_event = 0,
                b'\n' => of_line = 0,
                b'\r' => {}
                _ => {
                    of_line += 1;
                    of_event += 1;
                }
            }
        }
        if of_event > MAX_LINE {
            return Err(io::Error::other(format!("an event is longer than {} MiB", MAX_LINE >> 20)));
        }
        Ok(piece)
    })
}

impl StreamableHttpClient for Http {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _: Option<String>,
        custom_headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let mut request = self.client.post(&*uri).header(ACCEPT, "application/json, text/event-stream");
        for (name, value) in custom_headers {
            request = request.header(name, value);
        }
        if let Some(session) = &session_id {
            request = request.header(SESSION, &**session);
        }
        self.send(request, &message, session_id.is_some()).await
    }

    /// Limits are enforced here.
    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        _: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        self.post_message(uri, message, session_id, auth_header, custom_headers).await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<(), Failed> {
        self.client.delete_session(uri, session_id, auth_header, custom_headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<Events, Failed> {
        let given = self.client.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            MAX_LINE,
        );
        Ok(self.mended(given.await?, None))
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
        _: usize,
    ) -> Result<Events, Failed> {
        self.get_stream(uri, session_id, last_event_id, auth_header, custom_headers).await
    }
}
