//! Shared by the services that answers are fetched from.
use crate::domain::one_line;
use crate::notify::message::SendError;
use crate::notify::post::{Post, Reads, ask};
use crate::notify::service;
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the service holds a poll open.
pub(super) const POLL: Duration = Duration::from_secs(50);
/// Extra time for the response to a poll.
pub(super) const POLL_MARGIN: Duration = Duration::from_secs(15);
/// Timeout of a reply.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Maximum size of a response.
const MAX_RESPONSE_BYTES: usize = 4 << 20;

/// An answer of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonAnswer {
    /// The call is approved.
    pub approve: bool,
    /// The code of the question.
    pub code: String,
    /// Who answered, as identified by the service.
    pub who: String,
    /// It came from the chat that the target sends to.
    pub is_from_there: bool,
    /// What to reply to, in the service's format.
    pub(super) reply_to: Value,
}

/// The answers of a poll, and the position for the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledAnswers {
    /// Answers, oldest first.
    pub answers: Vec<PersonAnswer>,
    /// Where the next poll begins; `None`: unknown.
    pub position: Option<String>,
}

/// The settings of an account, by key.
pub(super) type Keys = BTreeMap<&'static str, String>;

/// Returns the server of an account, without a trailing slash.
pub(super) fn server<'a>(keys: &'a Keys, usual: &'a str) -> &'a str {
    keys.get("url").map_or(usual, String::as_str).trim_end_matches('/')
}

/// Sends a request, with the token if there is one, and parses the JSON response.
pub(super) async fn request(
    keys: &Keys,
    method: &'static str,
    url: Url,
    body: Option<Value>,
    timeout: Duration,
) -> Result<Value, SendError> {
    let mut headers = HeaderMap::new();
    if let Some(token) = keys.get("token") {
        service::authorize(&mut headers, "Authorization", "Bearer {token}", token)?;
    }
    let hidden = keys.get("token").cloned().into_iter().collect();
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let reads = Reads { retry_after: Some(("parameters.retry_after", 1.0)), is_ok: true, moved_to: None };
    let text = ask(Post { method, url, headers, body, hidden, reads, timeout }, MAX_RESPONSE_BYTES).await?;
    serde_json::from_str(&text).map_err(|_| SendError::passing("the service's answer is not JSON"))
}

/// Shortens a person's name for the records.
pub(super) fn name(text: &str) -> String {
    one_line(text, 64)
}
