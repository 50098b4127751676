//! One HTTP request, and what its answer means. The address is often a secret itself: errors show only where it leads.
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

/// Read of what a receiver says, in bytes; and shown of it, in characters.
const MOST_SAID: usize = 4096;
const SHOWN: usize = 200;
/// Read of an answer that goes on, in bytes.
const MOST_LINES: usize = 1 << 20;

/// What is read out of an answer, beside its status.
#[derive(Clone, Copy, Default)]
pub(super) struct Reads {
    /// Where it stands how long to wait, and how many of these make a second.
    pub(super) retry_after: Option<(&'static str, f64)>,
    /// Where a value stands that the table should have, and for which key.
    pub(super) moved_to: Option<(&'static str, &'static str)>,
    /// An answer with `"ok": false` refuses, whatever its status is.
    pub(super) is_ok: bool,
}

/// A request.
pub(super) struct Post {
    pub(super) method: &'static str,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    /// Secrets in it that are no part of the address.
    pub(super) hidden: Vec<String>,
    pub(super) reads: Reads,
    pub(super) timeout: Duration,
}

/// An address that a message can be sent to.
pub(super) fn url_of(text: &str) -> Result<Url, SendError> {
    // what is wrong with it may quote it
    let url = Url::parse(text.trim())
        .map_err(|error| SendError::lasting(format!("the address is not a URL: {error}")))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(SendError::lasting("the address must begin with http:// or https://")),
    }
}

/// Sends it; an answer that refuses it is an error.
pub(super) async fn post(post: Post) -> Result<(), SendError> {
    let most = if post.reads.is_ok { MOST_SAID } else { 0 };
    exchange(post, most).await.map(drop)
}

/// The same, with the answer; one that is longer is an error.
pub(super) async fn ask(post: Post, most: usize) -> Result<String, SendError> {
    let text = exchange(post, most + 1).await?;
    if text.len() > most {
        return Err(SendError::passing(format!("the answer has more than {most} bytes")));
    }
    Ok(text)
}

/// The lines of an answer that goes on: up to the first that is `wanted`, and what came with it; none, if its time is up
/// before.
pub(super) async fn first_lines(post: Post, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, SendError> {
    let end = tokio::time::Instant::now() + post.timeout;
    let mut answer = begin(post).await?;
    let mut text = Vec::new();
    // what breaks off is asked again
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout_at(end, answer.chunk()).await {
        text.extend_from_slice(&chunk);
        if text.len() > MOST_LINES || String::from_utf8_lossy(&text).lines().any(&wanted) {
            break;
        }
    }
    // a line without an end is not all of it
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    Ok(String::from_utf8_lossy(&text[..whole]).lines().map(str::to_owned).collect())
}

/// What of a request is needed to say why it was refused.
struct Asked {
    origin: String,
    /// What may not be shown, the longest first: one may be a part of another.
    hidden: Vec<String>,
    reads: Reads,
}

impl Asked {
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
        let mut error = refused(status, &shown(said, hidden));
        if let Some((value, key)) = reads.moved_to.and_then(|(path, key)| Some((at(path)?, key))) {
            error.message = format!("{}; set `{key} = {}` in this table", error.message, as_text(value));
        }
        // of two, the longer one: whoever comes too early is made to wait longer
        let retry_after = asked.max(in_answer).filter(|_| !status.is_success() || error.worth_retrying);
        SendError { message: format!("{origin}: {}", error.message), retry_after, ..error }
    }
}

/// Sends it, and reads so many bytes of an answer that takes it.
async fn exchange(post: Post, most: usize) -> Result<String, SendError> {
    let asked = Asked::of(&post);
    let answer = begin(post).await?;
    if most == 0 {
        return Ok(String::new());
    }
    let (status, wait) = (answer.status(), net::retry_after(answer.headers(), crate::clock::wall()));
    let said = said(answer, most).await;
    let json: Option<Value> = serde_json::from_str(&said).ok();
    let refuses = json.is_some_and(|json| json.get("ok") == Some(&Value::Bool(false)));
    if asked.reads.is_ok && refuses { Err(asked.refusal(status, wait, &said)) } else { Ok(said) }
}

/// Sends it; what comes back is an answer whose status takes it.
async fn begin(post: Post) -> Result<Response, SendError> {
    let asked = Asked::of(&post);
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
    Err(asked.refusal(status, wait, &said(answer, MOST_SAID).await))
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
        // a server that fails, or one before it that hears nothing of it, may have taken it all the same
        408 | 500 | 502 | 504 => SendError::in_doubt(message),
        425 | 429 => SendError::passing(message),
        _ if status.is_server_error() => SendError::passing(message),
        _ => SendError::lasting(message),
    }
}

/// The parts of an address that may be a secret.
fn secret_parts(url: &Url) -> Vec<String> {
    let path = url.path_segments().into_iter().flatten().map(str::to_owned);
    let query = url.query_pairs().map(|(_, value)| value.into_owned());
    let login = [url.username().to_owned(), url.password().unwrap_or_default().to_owned()];
    path.chain(query).chain(login).filter(|part| part.len() >= 6).collect()
}

async fn said(mut answer: Response, most: usize) -> String {
    let mut body = Vec::new();
    while let (true, Ok(Some(chunk))) = (body.len() < most, answer.chunk().await) {
        body.extend_from_slice(&chunk[..chunk.len().min(most - body.len())]);
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// What the receiver says of it, in short: the message of a JSON answer, else its text. No part of the address.
fn shown(said: &str, parts: &[String]) -> String {
    let mut text = said_by(said).unwrap_or_else(|| without_tags(said));
    for part in parts {
        text = text.replace(part.as_str(), secret::REDACTED);
    }
    one_line(&secret::redact(&one_line(&text, usize::MAX)), SHOWN)
}

/// The sentence of a JSON answer.
fn said_by(text: &str) -> Option<String> {
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

/// The words of a page.
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
