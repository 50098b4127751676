//! What a program is answered, and the headers that do not go on.
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use std::error::Error;

/// Why the body of an answer breaks off.
pub(super) type BodyError = Box<dyn Error + Send + Sync>;

/// What a program is answered.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, BodyError>>;

/// Headers that are for one connection only (RFC 9110, 7.6.1), beside those that `Connection` names.
const OF_ONE_CONNECTION: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// An answer of our own.
pub(super) fn said(status: StatusCode, words: &str) -> Answer {
    of_type(status, "text/plain; charset=utf-8", words.to_owned())
}

/// The same in another form.
pub(super) fn of_type(status: StatusCode, content_type: &'static str, words: String) -> Answer {
    let body = Full::new(Bytes::from(words)).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    answer
}

/// Takes out what is for one connection only.
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
    for name in OF_ONE_CONNECTION {
        headers.remove(name);
    }
}
