//! One guarded request: checked, sent, its redirects checked and followed, its response read up to a limit. What a response
//! means is left to the callers.
//!
//! The response to a request with side effects is never lost: later errors are reported along with it. If it was sent but not
//! answered, the error says so.
use super::describe::{MAX_REDIRECTS, describe};
use super::guard::{Allow, Dialer, GuardError, Vetted, is_odd};
use crate::domain::AddressPattern;
use cookie_store::CookieStore;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION, SET_COOKIE,
};
use reqwest::{Method, Response, StatusCode, Url};
use std::time::Duration;

/// Maximum cookies that are accepted from one response.
const MAX_COOKIES: usize = 50;

/// The request to send.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// GET by default.
    pub method: Method,
    pub url: String,
    /// Harmless ones, which are kept on redirects.
    pub headers: HeaderMap,
    /// For this host only: they are never sent to another one after a redirect.
    pub own_headers: HeaderMap,
    /// Whether those contain a secret.
    pub has_secret: bool,
    pub body: Option<Vec<u8>>,
    /// Additional restriction on redirect targets; `None`: only the guard decides.
    pub redirects: Option<Vec<AddressPattern>>,
}

/// The limits of a response.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For all of it, including redirects and body.
    pub time: Duration,
    /// For the body, after decompression.
    pub bytes: usize,
}

/// A response with any status.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub status: StatusCode,
    /// Its URL, after redirects.
    pub url: Url,
    /// The new URL, if the requested one was redirected permanently.
    pub moved: Option<Url>,
    pub headers: HeaderMap,
    /// Its body, or the beginning of it.
    pub body: Vec<u8>,
    pub truncated: bool,
    /// An error after this response to a request with side effects: a redirect that was not followed, an incomplete body.
    pub trouble: Option<GuardError>,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    pub error: GuardError,
    /// A request with side effects may have reached its server: its outcome is unknown.
    pub may_have_happened: bool,
}

/// Sends a guarded request.
pub async fn send(request: Request, allow: &Allow, bounds: Bounds) -> Result<Fetched, GuardError> {
    attempt(request, allow, bounds).await.map_err(|unanswered| unanswered.error)
}

/// Sends a guarded request, for callers that must know whether it may have happened.
pub async fn attempt(request: Request, allow: &Allow, bounds: Bounds) -> Result<Fetched, Unanswered> {
    send_by(&Dialer::system(), request, allow, bounds).await
}

/// The progress of a request with side effects.
#[derive(Default)]
struct RequestProgress {
    /// It was sent, and there is no response yet.
    open: bool,
    /// The last response, without its body.
    answer: Option<Fetched>,
}

pub(super) async fn send_by(
    dialer: &Dialer,
    request: Request,
    allow: &Allow,
    bounds: Bounds,
) -> Result<Fetched, Unanswered> {
    let mut way = RequestProgress::default();
    let all = follow(dialer, request, allow, bounds.bytes, &mut way);
    let outcome = tokio::time::timeout(bounds.time, all).await.unwrap_or(Err(GuardError::Timeout));
    outcome.or_else(|error| match way.answer.filter(|_| !way.open) {
        Some(answer) => Ok(Fetched { trouble: Some(error), ..answer }),
        None => Err(Unanswered { error, may_have_happened: way.open }),
    })
}

async fn follow(
    dialer: &Dialer,
    mut request: Request,
    allow: &Allow,
    bytes: usize,
    way: &mut RequestProgress,
) -> Result<Fetched, GuardError> {
    // Cookies that one response sets and the next request needs: a consent page, a load balancer. They are dropped after this
    // request.
    let mut cookies = CookieStore::default();
    let (mut moved, mut for_good) = (None, true);
    for _ in 0..=MAX_REDIRECTS {
        let vetted = dialer.vet(&request.url, allow).await?;
        if request.has_secret && !vetted.keeps_secrets() {
            let host = vetted.url.host_str().unwrap_or("?").to_owned();
            return Err(GuardError::InTheClear { host });
        }
        let changes = !only_reads(&request.method);
        let answer = ask(&vetted, &request, &cookies, &mut way.open).await?;
        let mut fetched = head(&vetted.url, &answer);
        fetched.moved.clone_from(&moved);
        take_cookies(&mut cookies, &vetted.url, answer.headers());
        if changes {
            way.answer = Some(fetched.clone());
        }
        match next(&vetted.url, &answer)? {
            Some(to) => {
                if !may_redirect(&request, &to) {
                    return Err(GuardError::Redirect(format!(
                        "the redirect is not followed: {} is not among the addresses in `sinks`",
                        super::describe::origin(&to)
                    )));
                }
                for_good &= matches!(answer.status().as_u16(), 301 | 308);
                if for_good {
                    moved = Some(to.clone());
                }
                redirect(&mut request, &vetted.url, to, answer.status())?;
            }
            None => {
                match read(answer, &mut fetched, bytes).await {
                    Err(error) if changes => fetched.trouble = Some(error),
                    outcome => outcome?,
                }
                return Ok(fetched);
            }
        }
    }
    Err(GuardError::Redirect(format!("more than {MAX_REDIRECTS} redirects")))
}

/// Returns whether a redirect to this URL is allowed.
fn may_redirect(request: &Request, to: &Url) -> bool {
    let kept = request.redirects.as_ref();
    kept.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.fits(to.as_str())))
}

fn only_reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Sends a request. `open` is true while it has side effects and no response.
async fn ask(
    vetted: &Vetted,
    request: &Request,
    cookies: &CookieStore,
    open: &mut bool,
) -> Result<Response, GuardError> {
    let mut headers = request.headers.clone();
    for (name, value) in &request.own_headers {
        headers.insert(name, value.clone());
    }
    if let Some(value) = cookie_header(cookies, &vetted.url, headers.get(COOKIE)) {
        headers.insert(COOKIE, value);
    }
    let mut sending = vetted.client()?.request(request.method.clone(), vetted.url.clone()).headers(headers);
    if let Some(body) = &request.body {
        sending = sending.body(body.clone());
    }
    let host = vetted.url.host_str().unwrap_or("?");
    *open = !only_reads(&request.method);
    let answer = sending.send().await.map_err(|error| {
        // In these cases nothing was sent.
        *open &= !(error.is_connect() || error.is_builder());
        GuardError::Failed(format!("{host}: {}", describe(&error)))
    })?;
    // The client can't have connected elsewhere. If it did, its response is not trustworthy.
    let peer = answer.remote_addr().map(|peer| peer.ip());
    if peer.is_some_and(|peer| !vetted.addresses.contains(&peer)) {
        return Err(GuardError::Failed(format!("{host}: the connection went to another address")));
    }
    *open = false;
    Ok(answer)
}

fn take_cookies(cookies: &mut CookieStore, url: &Url, headers: &HeaderMap) {
    for cookie in headers.get_all(SET_COOKIE).iter().take(MAX_COOKIES) {
        if let Ok(text) = cookie.to_str() {
            // cookies that do not match the host are dropped
            let _ = cookies.parse(text, url);
        }
    }
}

/// Returns the cookies for a URL, after those that the caller sends there.
fn cookie_header(cookies: &CookieStore, url: &Url, own: Option<&HeaderValue>) -> Option<HeaderValue> {
    let mut all: Vec<String> =
        cookies.get_request_values(url).map(|(name, value)| format!("{name}={value}")).collect();
    if all.is_empty() {
        return None;
    }
    if let Some(own) = own {
        all.insert(0, own.to_str().ok()?.to_owned());
    }
    let mut value = HeaderValue::from_str(&all.join("; ")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns the target of a redirect, if the response is one.
///
/// # Errors
/// Why it can't be followed.
pub fn next(url: &Url, answer: &Response) -> Result<Option<Url>, GuardError> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(to) = answer.headers().get(LOCATION) else { return Ok(None) };
    let cannot = |why: &str| GuardError::Redirect(format!("the redirect can't be followed: {why}"));
    let to = std::str::from_utf8(to.as_bytes()).map_err(|_| cannot("its address is not UTF-8"))?;
    if to.chars().any(is_odd) {
        return Err(cannot("its address has characters that no address has"));
    }
    // The result is checked like any other URL.
    url.join(to).map(Some).map_err(|error| cannot(&error.to_string()))
}

/// Changes the request into the one that follows the redirect.
fn redirect(request: &mut Request, from: &Url, to: Url, status: StatusCode) -> Result<(), GuardError> {
    let post = request.method == Method::POST;
    let see_other = status == StatusCode::SEE_OTHER && request.method != Method::HEAD;
    if see_other || (post && matches!(status.as_u16(), 301 | 302)) {
        request.method = Method::GET;
        request.body = None;
        for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
            request.headers.remove(name);
        }
        request.own_headers.remove("idempotency-key");
    }
    if !is_same(from, &to) {
        if !only_reads(&request.method) {
            return Err(GuardError::Redirect(format!(
                "the redirect is not followed: {} would be done at {}, another host",
                request.method,
                super::describe::origin(&to)
            )));
        }
        request.own_headers.clear();
        request.has_secret = false;
    }
    request.url = to.into();
    Ok(())
}

/// Returns whether host and port are the same, or changed from plain HTTP to HTTPS only.
pub fn is_same(from: &Url, to: &Url) -> bool {
    let place = |url: &Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
    let upgraded = from.scheme() == "http" && to.scheme() == "https" && from.port().or(to.port()).is_none();
    (place(from) == place(to) && from.scheme() == to.scheme())
        || (upgraded && from.host_str() == to.host_str())
}

/// Returns the response without its body.
fn head(url: &Url, answer: &Response) -> Fetched {
    Fetched {
        status: answer.status(),
        url: url.clone(),
        moved: None,
        headers: answer.headers().clone(),
        body: Vec::new(),
        truncated: false,
        trouble: None,
    }
}

/// Reads the body, up to the limit.
async fn read(mut answer: Response, into: &mut Fetched, bytes: usize) -> Result<(), GuardError> {
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => {
                let room = bytes - into.body.len();
                into.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                into.truncated = chunk.len() > room;
                if into.truncated {
                    return Ok(());
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                let host = into.url.host_str().unwrap_or("?");
                return Err(GuardError::Failed(format!("{host}: {}", describe(&error))));
            }
        }
    }
}
