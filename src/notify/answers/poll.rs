//! What the services share that answers are fetched from.
use crate::domain::one_line;
use crate::notify::message::SendError;
use crate::notify::post::{Post, Reads, ask};
use crate::notify::service;
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a service is asked to wait for something to say.
pub(super) const POLL: Duration = Duration::from_secs(50);
/// What it may take beyond that.
pub(super) const BEYOND: Duration = Duration::from_secs(15);
/// One message back.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Read of an answer, in bytes.
const MOST: usize = 4 << 20;

/// What somebody answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonsAnswer {
    /// The call may be made.
    pub approve: bool,
    /// The code of the question.
    pub code: String,
    /// Who answered, as the service says it.
    pub who: String,
    /// It came from where the target sends to, and from nowhere else.
    pub is_from_there: bool,
    /// What it is a reply to, in the words of the service.
    pub(super) reply_to: Value,
}

/// What was heard, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardAnswers {
    /// Answers, oldest first.
    pub answers: Vec<PersonsAnswer>,
    /// Where the next poll begins; `None`: nothing is known of that.
    pub position: Option<String>,
}

/// What the table of an account says, by its keys.
pub(super) type Keys = BTreeMap<&'static str, String>;

/// The server of an account, without a slash at its end.
pub(super) fn server<'a>(keys: &'a Keys, usual: &'a str) -> &'a str {
    keys.get("url").map_or(usual, String::as_str).trim_end_matches('/')
}

/// One request, with the token if there is one; its answer as JSON.
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
    let text = ask(Post { method, url, headers, body, hidden, reads, timeout }, MOST).await?;
    serde_json::from_str(&text).map_err(|_| SendError::passing("the service's answer is not JSON"))
}

/// A name as it is recorded.
pub(super) fn name(text: &str) -> String {
    one_line(text, 64)
}
