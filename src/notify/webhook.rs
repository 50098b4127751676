//! An HTTP POST of JSON, or of the table's `body` filled in; signed if there is a `secret`.
use super::message::{Message, SendError};
use super::post::{Post, Reads, post, url_of};
use super::service::{MessageFields, fill};
use crate::domain::template::{as_text, filled};
use crate::domain::{EnvValue, WebhookSpec};
use crate::secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::time::Duration;

/// Prefix of base64 secrets in Standard Webhooks.
const SECRET_PREFIX: &str = "whsec_";

pub(super) async fn send(spec: &WebhookSpec, message: &Message, timeout: Duration) -> Result<(), SendError> {
    let url = secret::value_of(&spec.url, timeout)
        .await
        .map_err(|error| SendError::passing(format!("no address: {error}")))?;
    let url = url_of(url.expose())?;
    let (body, content_type) = body(spec.body.as_deref(), message);
    let mut headers = headers_of(&spec.headers, message, timeout).await?;
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
    if let Some(reference) = &spec.secret {
        let secret = secret::resolve(reference, timeout)
            .await
            .map_err(|error| SendError::passing(format!("no `secret`: {error}")))?;
        let at = crate::clock::wall().as_second();
        sign(&mut headers, secret.expose(), &message.idempotency_key(), at, &body)?;
    }
    let (hidden, reads) = (Vec::new(), Reads::default());
    post(Post { method: "POST", url, headers, body, hidden, reads, timeout }).await
}

/// Returns the body and its content type.
fn body(template: Option<&str>, message: &Message) -> (String, &'static str) {
    let Some(template) = template else { return (message.to_json().to_string(), "application/json") };
    let words = MessageFields::of(message, [0, 1, 2]);
    match serde_json::from_str::<Value>(template) {
        Ok(json) => (fill(&json, &|place| words.value(place)).to_string(), "application/json"),
        Err(_) => {
            let text = filled(template, |place| words.value(place).map(|value| as_text(&value)));
            (text, "text/plain; charset=utf-8")
        }
    }
}

/// Adds the signature of Standard Webhooks (standardwebhooks.com, 1.0): HMAC-SHA256 of id, time and body.
fn sign(headers: &mut HeaderMap, secret: &str, id: &str, at: i64, body: &str) -> Result<(), SendError> {
    let secret = secret.trim();
    let key = match secret.strip_prefix(SECRET_PREFIX) {
        Some(text) => STANDARD.decode(text).map_err(|_| {
            SendError::lasting(format!(
                "`secret` begins with {SECRET_PREFIX}, and what follows is not base64"
            ))
        })?,
        None => secret.as_bytes().to_vec(),
    };
    let mut mac =
        Hmac::<Sha256>::new_from_slice(&key).map_err(|error| SendError::lasting(error.to_string()))?;
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    for (name, value) in
        [("webhook-id", id), ("webhook-timestamp", &at.to_string()), ("webhook-signature", &signature)]
    {
        let value = HeaderValue::from_str(value).map_err(|error| SendError::lasting(error.to_string()))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}

async fn headers_of(
    headers: &BTreeMap<String, EnvValue>,
    message: &Message,
    timeout: Duration,
) -> Result<HeaderMap, SendError> {
    let mut all = HeaderMap::new();
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
    // Last, since receivers rely on it: the configuration can't replace it.
    let key = HeaderValue::from_str(&message.idempotency_key())
        .map_err(|error| SendError::lasting(error.to_string()))?;
    all.insert(HeaderName::from_static("idempotency-key"), key);
    Ok(all)
}

#[cfg(test)]
mod tests {
    //! Tests of the signature.
    use super::*;

    /// The example of the specification.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let mut headers = HeaderMap::new();
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = r#"{"test": 2432232314}"#;
        sign(&mut headers, secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body).unwrap();
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert!(sign(&mut headers, "whsec_!", "x", 0, body).is_err());
    }
}
