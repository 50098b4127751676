//! Why an operation on a bucket failed: a kind to branch on, and a message with advice. Server responses are untrusted: only
//! code and message are shown, truncated, and never a URL, which would contain the signature.
use crate::{net, secret};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::Duration;

/// Maximum characters that are shown of a server's message.
const MAX_SHOWN_CHARS: usize = 200;

/// An operation that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct S3Error {
    pub kind: S3ErrorKind,
    /// The message: what, where and what to do. Contains no secret.
    pub message: String,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3ErrorKind {
    /// The key or the prefix is invalid.
    Key,
    NotFound,
    NoBucket,
    /// The credentials are wrong, or lack a permission.
    Denied,
    /// Too many requests; temporary.
    Throttled,
    /// An error of the server; temporary.
    Server,
    /// The server is unreachable, or the connection broke; temporary.
    Network,
    Timeout,
    /// The object exceeds the size limit.
    TooLarge,
    /// The content is not what was stored.
    Corrupt,
    /// The settings are invalid, or a secret is not available.
    Settings,
    /// The server refused it for another reason.
    Refused,
}

impl S3ErrorKind {
    /// Returns whether a retry may succeed.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Throttled | Self::Server | Self::Network | Self::Timeout)
    }
}

impl S3Error {
    /// Creates an error with this message.
    pub(super) fn new(kind: S3ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    pub(super) fn unsent(error: &reqwest::Error) -> Self {
        match error.is_timeout() {
            true => Self::late(),
            false => Self::new(S3ErrorKind::Network, net::describe(error)),
        }
    }

    pub(super) fn late() -> Self {
        Self::new(S3ErrorKind::Timeout, "no answer in time")
    }

    /// Adds where it happened, and redacts secrets.
    pub(super) fn at(mut self, place: &str) -> Self {
        self.message = secret::redact(&format!("{place}: {}", self.message)).into_owned();
        self
    }
}

/// Interprets a response that is not a success. `body`: its beginning.
pub(super) fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> S3Error {
    let body = String::from_utf8_lossy(body);
    let code = element(&body, "Code").unwrap_or_default();
    let said = match (code, element(&body, "Message").unwrap_or_default()) {
        ("", "") => format!("answered {status}"),
        (code, message) => shown(&format!("answered {status}: {code} {message}")),
    };
    let (kind, what) = meaning(status, code, headers);
    let message = if what.is_empty() { said } else { format!("{what} ({said})") };
    let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    S3Error { kind, message, retry_after: wait.map(Duration::from_secs) }
}

/// Interprets errors by "Error responses" of the Amazon S3 API Reference, and those of other servers.
fn meaning(status: StatusCode, code: &str, headers: &HeaderMap) -> (S3ErrorKind, String) {
    use S3ErrorKind::*;
    let elsewhere = || {
        let region = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok());
        match region.filter(|region| region.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')) {
            Some(region) => format!("the bucket is elsewhere: set region = \"{region}\" and its `endpoint`"),
            None => "the bucket is elsewhere: check `endpoint`, `region` and `path_style`".into(),
        }
    };
    match (status.as_u16(), code) {
        (_, "NoSuchBucket") => (NoBucket, "there is no such bucket: check `bucket` and `endpoint`".into()),
        (404, _) => (NotFound, String::new()),
        (_, "InvalidAccessKeyId") => (Denied, "`access_key_id` is not known there".into()),
        (_, "SignatureDoesNotMatch") => {
            (Denied, "the signature is wrong: check `secret_access_key`, and `region`".into())
        }
        (_, "RequestTimeTooSkewed") => (Denied, "this machine's clock is wrong".into()),
        (_, "ExpiredToken" | "InvalidToken") => (Denied, "`session_token` is not valid any more".into()),
        (_, "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError") => {
            (Settings, "the signature is not accepted: check `region`".into())
        }
        (301 | 302 | 307 | 308, _) | (_, "PermanentRedirect" | "IllegalLocationConstraintException") => {
            (Settings, elsewhere())
        }
        (401 | 403, _) => (Denied, "not allowed: check the credentials and what they may do there".into()),
        (429, _) | (_, "SlowDown" | "ThrottlingException" | "TooManyRequests") => {
            (Throttled, "too many requests".into())
        }
        (408 | 425, _) | (_, "RequestTimeout" | "BadDigest" | "IncompleteBody" | "OperationAborted") => {
            (Server, String::new())
        }
        (501, _) => (Refused, "the server does not offer this".into()),
        (500..=599, _) => (Server, String::new()),
        _ => (Refused, String::new()),
    }
}

/// Returns the text of the first element of this name. Error responses are flat.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0.trim())
}

fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SHOWN_CHARS).collect()
}
