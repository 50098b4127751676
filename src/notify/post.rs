//! Sends an HTTP request and interprets the response. The URL is often a secret itself: errors show only its origin.
use super::message::SendError;
use crate::domain::novelty::at_path;
use crate::domain::one_line;
use crate::domain::template::as_text;
use crate::net::{self, Redirects};
use crate::secret;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;
use std::time::Duration;

/// Maximum bytes read of a receiver's error text, and maximum characters shown of it.
const MAX_ERROR_BYTES: usize = 4096;
const MAX_ERROR_CHARS: usize = 200;
/// Maximum bytes read of a streamed response.
const MAX_STREAM_BYTES: usize = 1 << 20;

/// What is read from a response, besides its status.
#[derive(Clone, Copy, Default)]
pub(super) struct Reads {
    /// The field with the retry delay, and how many of its units make a second.
    pub(super) retry_after: Option<(&'static str, f64)>,
    /// The field with a value that replaces one of the table, and the key of that.
    pub(super) moved_to: Option<(&'static str, &'static str)>,
    /// A response with `"ok": false` is a refusal, whatever its status.
    pub(super) is_ok: bool,
}

/// A request.
pub(super) struct Post {
    pub(super) method: &'static str,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    /// Secrets in it that are not part of the URL.
    pub(super) hidden: Vec<String>,
    pub(super) reads: Reads,
    pub(super) timeout: Duration,
}

/// Parses a URL that a message can be sent to.
pub(super) fn url_of(text: &str) -> Result<Url, SendError> {
    // errors of `url` don't quote the text, which may be secret
    let url = Url::parse(text.trim())
        .map_err(|error| SendError::lasting(format!("the address is not a URL: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(SendError::lasting("the address must begin with http:// or https://")),
    }
}

/// Sends the request; a response that refuses it is an error.
pub(super) async fn post(post: Post) -> Result<(), SendError> {
    let most = if post.reads.is_ok { MAX_ERROR_BYTES } else { 0 };
    exchange(post, most).await.map(drop)
}

/// Sends the request and returns the response body; a body longer than `most` bytes is an error.
pub(super) async fn ask(post: Post, most: usize) -> Result<String, SendError> {
    let text = exchange(post, most + 1).await?;
    if text.len() > most {
        return Err(SendError::passing(format!("the answer has more than {most} bytes")));
    }
    Ok(text)
}

/// Returns the lines of a streamed response, up to the chunk with the first line that is `wanted`; or what has arrived
/// when the time is up.
pub(super) async fn first_lines(post: Post, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, SendError> {
    let end = tokio::time::Instant::now() + post.timeout;
    let mut answer = begin(post).await?;
    let mut text = Vec::new();
    // if the stream breaks off, the next poll continues
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout_at(end, answer.chunk()).await {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_STREAM_BYTES || String::from_utf8_lossy(&text).lines().any(&wanted) {
            break;
        }
    }
    // an unterminated line is incomplete
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    Ok(String::from_utf8_lossy(&text[..whole]).lines().map(str::to_owned).collect())
}

/// The parts of a request that are needed to explain a refusal.
struct SentRequest {
    origin: String,
    /// Secrets, the longest first, since one may be part of another.
    hidden: Vec<String>,
    reads: Reads,
}

impl SentRequest {
    fn of(post: &Post) -> Self {
        let mut hidden = secret_parts(&post.url);
        hidden.extend(post.hidden.iter().cloned());
        hidden.sort_by_key(|part| std::cmp::Reverse(part.len()));
        Self { origin: net::origin(&post.url), hidden, reads: post.reads }
    }

    fn refusal(&self, status: StatusCode, asked: Option<Duration>, said: &str) -> SendError {
        let Self { origin, hidden, reads } = self;
        let json: Option<Value> = serde_json::from_str(said).ok();
        let at = |path: &str| json.as_ref().and_then(|json| at_path(json, path));
        let in_answer = reads.retry_after.and_then(|(path, units)| Some(at(path)?.as_f64()? / units));
        let in_answer = in_answer.and_then(|secs| Duration::try_from_secs_f64(secs.clamp(0.0, 1e9)).ok());
        let mut error = refused(status, &error_text(said, hidden));
        if let Some((value, key)) = reads.moved_to.and_then(|(path, key)| Some((at(path)?, key))) {
            error.message = format!("{}; set `{key} = {}` in this table", error.message, as_text(value));
        }
        // of two values, the longer one: retrying too early is usually penalized
        let retry_after = asked.max(in_answer).filter(|_| !status.is_success() || error.worth_retrying);
        SendError { message: format!("{origin}: {}", error.message), retry_after, ..error }
    }
}

/// Sends the request, and reads up to `most` bytes of a successful response.
async fn exchange(post: Post, most: usize) -> Result<String, SendError> {
    let asked = SentRequest::of(&post);
    let answer = begin(post).await?;
    if most == 0 {
        return Ok(String::new());
    }
    let (status, wait) = (answer.status(), net::retry_after(answer.headers(), crate::clock::wall()));
    let said = read_text(answer, most).await;
    let json: Option<Value> = serde_json::from_str(&said).ok();
    let refuses = json.is_some_and(|json| json.get("ok") == Some(&Value::Bool(false)));
    if asked.reads.is_ok && refuses { Err(asked.refusal(status, wait, &said)) } else { Ok(said) }
}

/// Sends the request; returns the response if its status is a success.
async fn begin(post: Post) -> Result<Response, SendError> {
    let asked = SentRequest::of(&post);
    let Post { method, url, mut headers, body, timeout, .. } = post;
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    let client = net::client(&url, Redirects::Refuse).map_err(SendError::passing)?;
    let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::POST);
    let request = client.request(method, url).headers(headers).timeout(timeout.mul_f64(0.95)).body(body);
    let answer = request.send().await.map_err(|error| {
        let message = format!("{}: {}", asked.origin, net::describe(&error));
        match error {
            error if error.is_builder() => SendError::lasting(message),
            error if error.is_connect() => SendError::passing(message),
            _ => SendError::in_doubt(message),
        }
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let wait = net::retry_after(answer.headers(), crate::clock::wall());
    Err(asked.refusal(status, wait, &read_text(answer, MAX_ERROR_BYTES).await))
}

fn refused(status: StatusCode, said: &str) -> SendError {
    let mut message = match status.canonical_reason() {
        Some(reason) => format!("answered {} {reason}", status.as_u16()),
        None => format!("answered {}", status.as_u16()),
    };
    if status.is_redirection() {
        return SendError::lasting(format!("{message}; a message is not sent on: use the final address"));
    }
    if !said.is_empty() {
        message = format!("{message}: {said}");
    }
    match status.as_u16() {
        // a server that fails, or a proxy whose upstream does not respond, may have accepted it nevertheless
        408 | 500 | 502 | 504 => SendError::in_doubt(message),
        425 | 429 => SendError::passing(message),
        _ if status.is_server_error() => SendError::passing(message),
        _ => SendError::lasting(message),
    }
}

/// Returns the parts of a URL that may be secret.
fn secret_parts(url: &Url) -> Vec<String> {
    let path = url.path_segments().into_iter().flatten().map(str::to_owned);
    let query = url.query_pairs().map(|(_, value)| value.into_owned());
    let login = [url.username().to_owned(), url.password().unwrap_or_default().to_owned()];
    path.chain(query).chain(login).filter(|part| part.len() >= 6).collect()
}

async fn read_text(mut answer: Response, most: usize) -> String {
    let mut body = Vec::new();
    while let (true, Ok(Some(chunk))) = (body.len() < most, answer.chunk().await) {
        body.extend_from_slice(&chunk[..chunk.len().min(most - body.len())]);
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// Returns the receiver's error text, shortened: the message of a JSON response, else its text. No part of the URL.
fn error_text(said: &str, parts: &[String]) -> String {
    let mut text = json_error(said).unwrap_or_else(|| without_tags(said));
    for part in parts {
        text = text.replace(part.as_str(), secret::REDACTED);
    }
    one_line(&secret::redact(&one_line(&text, usize::MAX)), MAX_ERROR_CHARS)
}

/// Returns the error message of a JSON response.
fn json_error(text: &str) -> Option<String> {
    let json: Value = serde_json::from_str(text).ok()?;
    let found = ["message", "error", "description", "detail", "error_description", "title", "errors"];
    let found = found.iter().find_map(|key| json.get(key));
    Some(match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(inner)) => match inner.get("message") {
            Some(Value::String(text)) => text.clone(),
            _ => Value::Object(inner.clone()).to_string(),
        },
        _ => json.to_string(),
    })
}

/// Returns the text of an HTML page.
fn without_tags(text: &str) -> String {
    if !text.trim_start().starts_with('<') {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                out.push(' ');
            }
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}
