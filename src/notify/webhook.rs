//! An HTTP POST of JSON. The address is often a secret itself: errors show only where it leads.
use super::message::{Message, SendError};
use crate::domain::EnvValue;
use crate::net::{self, Redirects};
use crate::secret;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Read of what a receiver says, in bytes; and shown of it, in characters.
const MOST_SAID: usize = 4096;
const SHOWN: usize = 200;

pub(super) async fn send(
    url: &EnvValue,
    headers: &BTreeMap<String, EnvValue>,
    message: &Message,
    timeout: Duration,
) -> Result<(), SendError> {
    let url = secret::value_of(url, timeout)
        .await
        .map_err(|error| SendError::passing(format!("no address: {error}")))?;
    let url = Url::parse(url.trim())
        .map_err(|error| SendError::lasting(format!("the address is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(SendError::lasting("the address must begin with http:// or https://"));
    }
    let (origin, parts) = (net::origin(&url), secret_parts(&url));
    let headers = headers_of(headers, message, timeout).await?;
    let client = net::client(&url, Redirects::Refuse).map_err(SendError::passing)?;
    let request =
        client.post(url).headers(headers).timeout(timeout.mul_f64(0.95)).body(message.to_json().to_string());
    let answer = request.send().await.map_err(|error| {
        let message = format!("{origin}: {}", net::describe(&error));
        if error.is_builder() { SendError::lasting(message) } else { SendError::passing(message) }
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let retry_after = net::retry_after(answer.headers(), crate::clock::wall());
    let said = words(answer, &parts).await;
    let error = refused(status, &said);
    Err(SendError { message: format!("{origin}: {}", error.message), retry_after, ..error })
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
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    if passing { SendError::passing(message) } else { SendError::lasting(message) }
}

/// The parts of an address that may be a secret.
fn secret_parts(url: &Url) -> Vec<String> {
    let path = url.path_segments().into_iter().flatten().map(str::to_owned);
    let query = url.query_pairs().map(|(_, value)| value.into_owned());
    let login = [url.username().to_owned(), url.password().unwrap_or_default().to_owned()];
    path.chain(query).chain(login).filter(|part| part.len() >= 6).collect()
}

/// What the receiver says of it, in short: the message of a JSON answer, else its text. No part of the address.
async fn words(mut answer: Response, parts: &[String]) -> String {
    let mut body = Vec::new();
    while let (true, Ok(Some(chunk))) = (body.len() < MOST_SAID, answer.chunk().await) {
        body.extend_from_slice(&chunk[..chunk.len().min(MOST_SAID - body.len())]);
    }
    let text = String::from_utf8_lossy(&body);
    let mut text = said_by(&text).unwrap_or_else(|| without_tags(&text));
    for part in parts {
        text = text.replace(part.as_str(), secret::REDACTED);
    }
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let text = secret::redact(&words.join(" ")).into_owned();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
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

async fn headers_of(
    headers: &BTreeMap<String, EnvValue>,
    message: &Message,
    timeout: Duration,
) -> Result<HeaderMap, SendError> {
    let mut all = HeaderMap::new();
    all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        let value = secret::value_of(value, timeout)
            .await
            .map_err(|error| SendError::passing(format!("no value for the header `{name}`: {error}")))?;
        let parsed: HeaderName =
            name.parse().map_err(|_| SendError::lasting(format!("`{name}` can't name a header")))?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            SendError::lasting(format!(
                "the value of the header `{name}` has characters that a header can't hold"
            ))
        })?;
        value.set_sensitive(true);
        all.insert(parsed, value);
    }
    // Last: receivers rely on it, so the configuration can't replace it.
    let key = HeaderValue::from_str(&message.idempotency_key())
        .map_err(|error| SendError::lasting(error.to_string()))?;
    all.insert(HeaderName::from_static("idempotency-key"), key);
    Ok(all)
}
