//! Handles the requests of a program to its proxy.
use super::forward;
use super::listen::{Answers, Place, is_itself};
use super::reply::{Answer, said};
use super::state::PassState;
use crate::net::{self, GuardError};
use futures_util::future::{BoxFuture, FutureExt};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode, Uri};
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::net::TcpStream;

/// Timeout for connecting, including the DNS lookup.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

impl Answers for PassState {
    /// Passes requests for a model's provider to the run's meter, which has its own key; all others are for the proxy.
    fn answer(self: Arc<Self>, request: Request<Incoming>, place: Place) -> BoxFuture<'static, Answer> {
        let is_for_meter = request.method() != Method::CONNECT && request.uri().authority().is_none();
        match &self.meter {
            Some(meter) if is_for_meter || is_itself(request.uri(), &place) => {
                meter.clone().answer(request, place)
            }
            _ => async move { pass(&self, request, place).await }.boxed(),
        }
    }
}

async fn pass(state: &Arc<PassState>, request: Request<Incoming>, place: Place) -> Answer {
    let known = request.headers().get(PROXY_AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
    if !bool::from(known.ct_eq(state.credentials.as_bytes())) {
        let mut refused = said(
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            "bgagent: this proxy needs the program's key: use the whole URL in HTTP_PROXY or HTTPS_PROXY, with its user and password.\n",
        );
        refused.headers_mut().insert(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"bgagent\""));
        return refused;
    }
    let tunnel = request.method() == Method::CONNECT;
    let Some((host, port)) = asked_for(request.uri(), tunnel) else {
        return said(
            StatusCode::BAD_REQUEST,
            "bgagent: this is a proxy: send CONNECT host:port, or a request with an absolute URL.\n",
        );
    };
    if !tunnel && request.uri().scheme_str() != Some("http") {
        return said(
            StatusCode::BAD_REQUEST,
            "bgagent: without CONNECT only http:// URLs are forwarded; use CONNECT for others.\n",
        );
    }
    let named = format!("{host}:{port}");
    match reached(state, &host, port, &named).await {
        Err(refused) => *refused,
        Ok(stream) if tunnel => forward::tunnel(state, request, stream, place),
        Ok(stream) => forward::request(state, request, stream, &named).await,
    }
}

/// Returns host and port, if the authority contains nothing else (RFC 9110, 4.2.4 and 9.3.6).
fn asked_for(uri: &Uri, tunnel: bool) -> Option<(String, u16)> {
    let authority = uri.authority()?;
    let host = authority.host();
    let rest = authority.as_str().strip_prefix(host)?;
    if tunnel && uri.scheme().is_some() {
        return None;
    }
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None if rest.is_empty() && !tunnel => 80,
        None => return None,
    };
    Some((host.to_owned(), port))
}

/// Connects, or returns the response that explains why not.
async fn reached(state: &PassState, host: &str, port: u16, named: &str) -> Result<TcpStream, Box<Answer>> {
    let connecting = net::connect(host, port, &state.allow, &state.lookups);
    let error = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(stream)) => {
            state.connected(named);
            return Ok(stream);
        }
        Ok(Err(error)) => error,
        Err(_) => GuardError::Timeout,
    };
    let failed = |status| Box::new(said(status, &format!("bgagent: {named} can't be reached: {error}.\n")));
    Err(match &error {
        GuardError::Address(_)
        | GuardError::Host { .. }
        | GuardError::Port { .. }
        | GuardError::Private { .. } => Box::new(said(StatusCode::FORBIDDEN, &state.refuse(named, &error))),
        GuardError::Timeout => failed(StatusCode::GATEWAY_TIMEOUT),
        _ => failed(StatusCode::BAD_GATEWAY),
    })
}
