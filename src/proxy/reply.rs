//! Responses to a program, and hop-by-hop headers.
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use std::error::Error;

/// Why the body of a response breaks off.
pub(super) type BodyError = Box<dyn Error + Send + Sync>;

/// A response to a program.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, BodyError>>;

/// Hop-by-hop headers (RFC 9110, 7.6.1), besides those that `Connection` lists.
const HOP_BY_HOP_HEADERS: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Returns a plain text response of the daemon.
pub(super) fn said(status: StatusCode, words: &str) -> Answer {
    of_type(status, "text/plain; charset=utf-8", words.to_owned())
}

/// Returns a response of this content type.
pub(super) fn of_type(status: StatusCode, content_type: &'static str, words: String) -> Answer {
    let body = Full::new(Bytes::from(words)).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    answer
}

/// Removes hop-by-hop headers.
pub(super) fn without_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP_HEADERS {
        headers.remove(name);
    }
}
