//! What may be shown of an address, and of what went wrong with a request.
use reqwest::Url;
use std::error::Error;

/// Most redirects that a client follows, where it follows any.
pub const MAX_REDIRECTS: usize = 5;

/// Scheme, host and port: what may be shown of an address whose rest may be a secret.
pub fn origin(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// What went wrong with a request, without its address.
pub fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    if error.is_redirect() {
        return format!("more than {MAX_REDIRECTS} redirects, or redirects in a circle");
    }
    // The message of the error itself names the address; those beneath it don't.
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
