//! Errors of requests and their consequences: whether the request may be retried, another model may be asked, and it may have
//! cost something. What is shown of an answer is sanitized here.
use super::reason::{Cause, Reason};
use crate::domain::{ErrorKind, ModelError, RunError, SecretRef};
use crate::secret::Secret;
use aho_corasick::AhoCorasick;
use jiff::SignedDuration;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// Maximum wait that a provider may ask for.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Maximum characters that are shown of a provider's message.
const MAX_EXCERPT_CHARS: usize = 300;

/// Creates a permanent error: a retry of the same request won't help.
pub(super) fn lasting(kind: ErrorKind, message: impl Into<String>) -> ModelError {
    ModelError {
        error: RunError::new(kind, message),
        retry_after: None,
        try_fallback: false,
        may_cost: false,
        tokens: None,
        asked_twice: false,
    }
}

/// Creates a temporary error: another model may answer now, this one later.
pub(super) fn passing(kind: ErrorKind, message: impl Into<String>) -> ModelError {
    ModelError { try_fallback: true, ..lasting(kind, message) }
}

/// Creates an error for an answer that can't be used.
pub(super) fn unusable(what: impl std::fmt::Display) -> ModelError {
    let message = format!("the answer can't be used: {what}");
    ModelError { may_cost: true, ..lasting(ErrorKind::BadResponse, message) }
}

/// Creates a timeout error. `sent`: the provider may have processed the request.
pub(super) fn too_late(message: impl Into<String>, sent: bool) -> ModelError {
    ModelError { may_cost: sent, ..passing(ErrorKind::Timeout, message) }
}

/// Creates the error for an answer that is one, by its status or by its body under a success status. `excerpt`: the provider's
/// message as it may be shown.
pub(super) fn refused(
    status: StatusCode,
    wrapped: bool,
    retry_after: Option<Duration>,
    reason: &Reason,
    excerpt: &str,
    key: Option<&SecretRef>,
) -> ModelError {
    let named = match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    };
    let mut said = match wrapped {
        true => format!("answered 200 with an error ({named})"),
        false => format!("answered {named}"),
    };
    if status.is_redirection() {
        said.push_str("; a request is not sent on to another address: set `base_url` to the final one");
        return lasting(ErrorKind::Config, said);
    }
    if !excerpt.is_empty() {
        said = format!("{said}: {excerpt}");
    }
    let code = status.as_u16();
    let mut error = match (code, reason.cause) {
        (402, _) | (400..=499, Cause::Credit) => lasting(ErrorKind::Auth, format!("{said}; {OUT_OF_CREDIT}")),
        (413, _) | (400 | 422 | 500, Cause::Context) => lasting(
            ErrorKind::Config,
            format!(
                "{said}; the conversation is longer than the model takes: let tools and memory give less, or ask \
                 another model with fallback_on = [\"context\"]"
            ),
        ),
        (401 | 403, _) | (400, Cause::Key) => lasting(ErrorKind::Auth, format!("{said}; {}", advice(key))),
        (429, _) => passing(
            ErrorKind::RateLimit,
            format!(
                "{said}; `requests_per_minute` and `max_parallel_requests` keep below the provider's limit"
            ),
        ),
        (408 | 409 | 425 | 500.., _) => passing(ErrorKind::Provider, said),
        (400 | 422, _) if has_generated(&reason.json) => lasting(
            ErrorKind::BadResponse,
            format!("{said}; the model has answered, and its provider withholds what it said"),
        ),
        (404, _) => lasting(ErrorKind::Config, format!("{said}; check `model` and `base_url`")),
        _ => lasting(ErrorKind::Config, format!("{said}; the provider does not accept this request")),
    };
    // These mean that nothing was done. Others may come from a gateway that lost a working provider.
    let refuses = matches!(code, 501 | 503 | 529);
    error.may_cost = code == 408 || error.error.kind == ErrorKind::BadResponse || (code >= 500 && !refuses);
    if error.try_fallback {
        error.retry_after = retry_after.and_then(|wait| SignedDuration::try_from(wait).ok());
    }
    error
}

const OUT_OF_CREDIT: &str = "the account has no credit left: add some, or wait until its limit is renewed";

/// Returns whether Groq reports that the model has answered in an unwanted form: that was work.
pub(super) fn has_generated(body: &Value) -> bool {
    let error = &body["error"];
    !error["failed_generation"].is_null() || error["code"] == "json_validate_failed"
}

/// Returns the model's text if its provider could not parse its call.
pub(super) fn failed_call(body: &Value) -> Option<&str> {
    let error = &body["error"];
    error["failed_generation"].as_str().filter(|_| error["code"] == "tool_use_failed")
}

/// Returns advice about a key that is not accepted.
fn advice(key: Option<&SecretRef>) -> String {
    match key {
        Some(key) => format!("check the key in {}", place(key)),
        None => "it has no `api_key`: add api_key = { env = \"NAME\" }".into(),
    }
}

/// Returns where a secret is found.
pub(super) fn place(secret: &SecretRef) -> String {
    match secret {
        SecretRef::Env(name) => format!("the variable {name}"),
        SecretRef::File(path) => format!("the file {}", path.display()),
        SecretRef::Credential(name) => format!("the credential {name}"),
        SecretRef::Command(argv) => {
            format!("the output of `{}`", argv.first().map_or("", String::as_str))
        }
    }
}

/// Returns how long the provider asks to wait: `retry-after-ms`, `retry-after` in seconds or as a date, or Gemini's field in
/// the body. Invalid and past values are ignored.
pub(super) fn retry_after(headers: &HeaderMap, body: &Value, now: SystemTime) -> Option<Duration> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let millis = header("retry-after-ms").and_then(|text| seconds(text, 1e-3));
    let wait = millis
        .or_else(|| {
            let text = header("retry-after")?;
            seconds(text, 1.0)
                .or_else(|| httpdate::parse_http_date(text).ok()?.duration_since(now).ok())
                .filter(|wait| !wait.is_zero())
        })
        .or_else(|| {
            let details = body["error"]["details"].as_array()?;
            details.iter().find_map(|detail| seconds(detail["retryDelay"].as_str()?.strip_suffix('s')?, 1.0))
        })?;
    Some(wait.min(MAX_RETRY_AFTER))
}

fn seconds(text: &str, unit: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    if !number.is_finite() || number <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64((number * unit).min(MAX_RETRY_AFTER.as_secs_f64())).ok()
}

/// Returns a short, printable text without secrets and without quotations of the request.
pub(super) fn cleaned(text: &str, secrets: &[Secret], asked: &[&str]) -> String {
    /// This many characters in common with the request are a quotation.
    const MIN_QUOTE_CHARS: usize = 16;
    /// Shorter texts of the request may occur by chance.
    const MIN_TEXT_CHARS: usize = 6;
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.expose().is_empty()) {
        text = text.replace(secret.expose(), "…");
    }
    let chars: Vec<char> = text.chars().take(2 * MAX_EXCERPT_CHARS).collect();
    let mut hidden = vec![false; chars.len()];
    let windows: Vec<String> = chars.windows(MIN_QUOTE_CHARS).map(|window| window.iter().collect()).collect();
    let search = AhoCorasick::new(&windows).ok();
    for asked in asked.iter().map(|text| text.trim()) {
        if let Some(search) = &search {
            for found in search.find_overlapping_iter(asked) {
                let at = found.pattern().as_usize();
                hidden[at..at + MIN_QUOTE_CHARS].fill(true);
            }
        }
        let short: Vec<char> = asked.chars().take(MIN_QUOTE_CHARS).collect();
        if (MIN_TEXT_CHARS..MIN_QUOTE_CHARS).contains(&short.len()) {
            for at in
                (0..=chars.len().saturating_sub(short.len())).filter(|at| chars[*at..].starts_with(&short))
            {
                hidden[at..at + short.len()].fill(true);
            }
        }
    }
    let mut clean = String::new();
    for (c, hidden) in chars.into_iter().zip(hidden) {
        let c = match c {
            _ if hidden => '…',
            c if c.is_control() || c.is_whitespace() => ' ',
            c => c,
        };
        // One is enough of each.
        if !(matches!(c, ' ' | '…') && clean.ends_with(c)) {
            clean.push(c);
        }
    }
    let clean = clean.trim();
    match clean.char_indices().nth(MAX_EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean.to_owned(),
    }
}
