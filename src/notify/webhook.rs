//! An HTTP POST of JSON. The address is often a secret itself: errors show only where it leads.
use super::{Message, SendError};
use crate::domain::EnvValue;
use crate::net::{self, Redirects};
use crate::secret;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use std::collections::BTreeMap;
use std::time::Duration;

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
    let origin = net::origin(&url);
    let headers = headers_of(headers, message, timeout).await?;
    let client = net::client(&url, Redirects::Refuse).map_err(SendError::passing)?;
    let request =
        client.post(url).headers(headers).timeout(timeout.mul_f64(0.95)).body(message.to_json().to_string());
    let answer = request.send().await.map_err(|error| SendError {
        message: format!("{origin}: {}", net::describe(&error)),
        worth_retrying: !error.is_builder(),
        reached: Vec::new(),
    })?;
    judge(answer.status())
        .map_err(|error| SendError { message: format!("{origin}: {}", error.message), ..error })
}

fn judge(status: StatusCode) -> Result<(), SendError> {
    if status.is_success() {
        return Ok(());
    }
    let said = match status.canonical_reason() {
        Some(reason) => format!("answered {} {reason}", status.as_u16()),
        None => format!("answered {}", status.as_u16()),
    };
    if status.is_redirection() {
        return Err(SendError::lasting(format!("{said}; a message is not sent on: use the final address")));
    }
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    Err(SendError { message: said, worth_retrying: passing, reached: Vec::new() })
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
