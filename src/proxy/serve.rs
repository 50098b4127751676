//! Who comes, and what they want: the requests of a program to its proxy.
use super::forward::{self, Answer, said};
use super::state::{PassState, Place};
use crate::net::{self, GuardError};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections of one program at a time. Further ones wait.
const AT_A_TIME: usize = 64;
/// How long.
const FULL: Duration = Duration::from_secs(10);
/// What they get then.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    bgagent: too many connections of sandboxes are open.\n";
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(30);
/// How long connecting may take, with the look-up of the name.
const CONNECTING: Duration = Duration::from_secs(30);
/// Longest head of a request, in bytes.
const LONGEST_HEAD: usize = 64 << 10;

/// Connections of all programs at a time: each takes two files, and an eighth of those that may be open is enough.
static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let places = files.map_or(1 << 16, |files| (files / 16).clamp(16, 1 << 16));
    Arc::new(Semaphore::new(usize::try_from(places).unwrap_or(usize::MAX)))
});

pub(super) async fn all(state: Arc<PassState>, listener: TcpListener) {
    let own = Arc::new(Semaphore::new(AT_A_TIME));
    loop {
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // no files for now, or the other side went away
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let place = async { (own.clone().acquire_owned().await, ALL.clone().acquire_owned().await) };
        match tokio::time::timeout(FULL, place).await {
            Ok((Ok(own), Ok(one_of_all))) => {
                let serving = connection(state.clone(), stream, Arc::new([own, one_of_all]));
                tokio::spawn(state.ended.clone().run_until_cancelled_owned(serving));
            }
            _ => {
                let _ = stream.try_write(NO_PLACE);
                let _ = stream.shutdown().await;
            }
        }
    }
}

async fn connection(state: Arc<PassState>, stream: TcpStream, place: Place) {
    let serving = service_fn(move |request| {
        let (state, place) = (state.clone(), place.clone());
        async move { Ok::<_, Infallible>(answer(&state, request, place).await) }
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

async fn answer(state: &Arc<PassState>, request: Request<Incoming>, place: Place) -> Answer {
    let known = request.headers().get(PROXY_AUTHORIZATION).map(HeaderValue::as_bytes);
    if known != Some(state.credentials.as_bytes()) {
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

/// Host and port, where there is nothing else in the authority (RFC 9110, 4.2.4 and 9.3.6).
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

/// Connects, or says why not.
async fn reached(state: &PassState, host: &str, port: u16, named: &str) -> Result<TcpStream, Box<Answer>> {
    let connecting = net::connect(host, port, &state.allow, &state.lookups);
    let error = match tokio::time::timeout(CONNECTING, connecting).await {
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
