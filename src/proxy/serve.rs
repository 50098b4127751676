//! Who comes, and what they want: the requests of a program to its proxy.
use super::forward::{self, Answer, said};
use super::held::{Held, Place};
use crate::net::{self, GuardError};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections of one program at a time. Further ones wait.
const AT_A_TIME: usize = 64;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(30);
/// How long connecting may take, with the look-up of the name.
const CONNECTING: Duration = Duration::from_secs(30);
/// Longest head of a request, in bytes.
const LONGEST_HEAD: usize = 64 << 10;

pub(super) async fn all(held: Arc<Held>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    loop {
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let ended = held.ended.clone();
                let serving = connection(held.clone(), stream, Arc::new(place));
                tokio::spawn(ended.run_until_cancelled_owned(serving));
            }
            // no files for now, or the other side went away
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(held: Arc<Held>, stream: TcpStream, place: Place) {
    let serving = service_fn(move |request| {
        let (held, place) = (held.clone(), place.clone());
        async move { Ok::<_, Infallible>(answer(&held, request, place).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), serving)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the proxy ended early");
    }
}

async fn answer(held: &Arc<Held>, request: Request<Incoming>, place: Place) -> Answer {
    let known = request.headers().get(PROXY_AUTHORIZATION).map(HeaderValue::as_bytes);
    if known != Some(held.credentials.as_bytes()) {
        let mut refused = said(
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            "bgagent: this proxy wants the key of the program, which stands in HTTP_PROXY and HTTPS_PROXY of its environment.\n",
        );
        refused.headers_mut().insert(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"bgagent\""));
        return refused;
    }
    let tunnel = request.method() == Method::CONNECT;
    let port = request.uri().port_u16().or((!tunnel).then_some(80));
    let (Some(host), Some(port)) = (request.uri().host(), port) else {
        return said(
            StatusCode::BAD_REQUEST,
            "bgagent: this is a proxy: it wants CONNECT host:port, or a request with a whole address.\n",
        );
    };
    if !tunnel && request.uri().scheme_str() != Some("http") {
        return said(
            StatusCode::BAD_REQUEST,
            "bgagent: without CONNECT only http:// addresses are asked for.\n",
        );
    }
    let named = format!("{host}:{port}");
    match reached(held, host, port, &named).await {
        Err(refused) => *refused,
        Ok(stream) if tunnel => forward::tunnel(held, request, stream, place),
        Ok(stream) => forward::request(held, request, stream, &named).await,
    }
}

/// Connects, or says why not.
async fn reached(held: &Held, host: &str, port: u16, named: &str) -> Result<TcpStream, Box<Answer>> {
    let connecting = net::connect(host, port, &held.allow);
    let error = match tokio::time::timeout(CONNECTING, connecting).await {
        Ok(Ok(stream)) => {
            held.connected(named);
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
        | GuardError::Private { .. } => {
            let reason = match &error {
                GuardError::Host { .. } | GuardError::Port { .. } => "it is not in its `net`".to_owned(),
                other => other.to_string(),
            };
            Box::new(said(StatusCode::FORBIDDEN, &held.refuse(named, &reason)))
        }
        GuardError::Timeout => failed(StatusCode::GATEWAY_TIMEOUT),
        _ => failed(StatusCode::BAD_GATEWAY),
    })
}
