//! What may be shown of a URL and of a failed request.
use reqwest::Url;
use std::error::Error;

/// Maximum redirects that a client follows, if it follows any.
pub const MAX_REDIRECTS: usize = 5;

/// Returns scheme, host and port: the rest of a URL may be secret.
pub fn origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// Describes an error of a request, without its URL.
pub fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    if error.is_redirect() {
        return format!("more than {MAX_REDIRECTS} redirects, or redirects in a circle");
    }
    // The message of the error itself contains the URL; those of its causes don't.
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    let mut deepest = None;
    let mut resolving = false;
    while let Some(inner) = cause {
        let text = inner.to_string();
        resolving |= text.starts_with("dns error");
        deepest = Some(text);
        cause = inner.source();
    }
    let what = if resolving {
        "the name can't be resolved"
    } else if error.is_connect() {
        "can't connect"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else if error.is_builder() {
        "the request can't be built"
    } else {
        "the request failed"
    };
    match deepest {
        Some(text) => format!("{what}: {text}"),
        None => what.into(),
    }
}
