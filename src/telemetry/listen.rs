//! The listener for Prometheus: one path, one method, few connections, all of them short.
use crate::net::{ConnectionPlace, ListenerPlaces};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Maximum number of concurrent connections. For a further one, the oldest without a request is closed.
const MAX_CONNECTIONS: usize = 32;
/// Timeout for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum duration of a connection: Prometheus aborts a scrape after ten seconds.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum size of the head of a request.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// The content type of the metrics.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The current state of the listener, shared with those who report it.
#[derive(Debug, Default)]
pub struct MetricsListenerState(Mutex<Option<MetricsStanding>>);

/// The state of the listener at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsStanding {
    /// The address where it listens, or should.
    pub address: String,
    /// Why it does not listen.
    pub problem: Option<String>,
}

impl MetricsListenerState {
    /// Returns the state; `None`: no listener is configured.
    pub fn now(&self) -> Option<MetricsStanding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the state. Returns true if it has changed.
    pub fn is(&self, standing: Option<MetricsStanding>) -> bool {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *now != standing;
        *now = standing;
        is_news
    }
}

/// Serves the text that `metrics` returns, until dropped. No text: the daemon can't provide it now.
pub async fn serve<T>(listener: TcpListener, metrics: impl Fn() -> T + Clone + Send + Sync + 'static)
where
    T: Future<Output = Option<String>> + Send + 'static,
{
    let places = ListenerPlaces::new(MAX_CONNECTIONS);
    let mut connections = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // no file descriptors, or the client has disconnected
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // all other connections have a request in progress
        let Some(place) = places.take() else { continue };
        let place = Arc::new(place);
        let metrics = metrics.clone();
        connections.spawn(async move {
            // even if the listener is reachable from elsewhere: a web page in a browser of this machine connects over loopback
            let is_local = stream.local_addr().is_ok_and(|address| address.ip().is_loopback());
            let serving = connection(stream, is_local, metrics, place.clone());
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, place.kept(serving)).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection<T>(
    stream: TcpStream,
    is_local: bool,
    metrics: impl Fn() -> T + Clone + Send + 'static,
    place: Arc<ConnectionPlace>,
) where
    T: Future<Output = Option<String>> + Send + 'static,
{
    let serving = service_fn(move |request: Request<Incoming>| {
        place.is_whole();
        let metrics = metrics.clone();
        async move {
            let answer = match refusal(&request, is_local) {
                Some(refusal) => refusal,
                None => match metrics().await {
                    Some(text) => answer(StatusCode::OK, TEXT_FORMAT, text),
                    None => text_response(StatusCode::SERVICE_UNAVAILABLE, "the daemon can't say now"),
                },
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), serving)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for metrics ended early");
    }
}

/// Returns the response to a request that gets no metrics; `None`: it gets them.
fn refusal<B>(request: &Request<B>, is_local: bool) -> Option<Response<Full<Bytes>>> {
    if request.uri().path() != "/metrics" {
        return Some(text_response(StatusCode::NOT_FOUND, "the metrics are at /metrics"));
    }
    if request.method() != Method::GET {
        let mut refused =
            text_response(StatusCode::METHOD_NOT_ALLOWED, "metrics are only read: GET /metrics");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Some(refused);
    }
    // prevents DNS rebinding: a web page whose host name resolves to this machine could read the response
    let host = request.headers().get(HOST).map_or(Some(""), |host| host.to_str().ok());
    if is_local && !host.is_some_and(is_this_machine) {
        return Some(text_response(
            StatusCode::FORBIDDEN,
            "on this machine the metrics are read by address: http://127.0.0.1:PORT/metrics",
        ));
    }
    None
}

/// Returns whether `Host` is not a name that a stranger can choose: an address, `localhost`, or empty.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    name.is_some_and(|name| {
        name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    })
}

fn text_response(status: StatusCode, what: &str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", format!("bgagent: {what}\n"))
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metrics_are_read_and_by_address() {
        let cases = [
            ("GET", "/metrics", Some("127.0.0.1:9464"), None),
            ("GET", "/metrics?x=1", Some("localhost:9464"), None),
            ("GET", "/metrics", Some("[::1]:9464"), None),
            ("GET", "/metrics", None, None),
            ("GET", "/", Some("127.0.0.1"), Some(404)),
            ("GET", "/metrics/", Some("127.0.0.1"), Some(404)),
            ("POST", "/metrics", Some("127.0.0.1"), Some(405)),
            ("HEAD", "/metrics", Some("127.0.0.1"), Some(405)),
            ("GET", "/metrics", Some("rebound.example:9464"), Some(403)),
            ("GET", "/metrics", Some("localhost.example"), Some(403)),
        ];
        for (method, path, host, status) in cases {
            let mut request = Request::builder().method(method).uri(path);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let request = request.body(()).unwrap();
            let refused = refusal(&request, true).map(|refusal| refusal.status().as_u16());
            assert_eq!(refused, status, "{method} {path} {host:?}");
        }
        // on other interfaces, any host name is accepted
        let request = Request::builder().uri("/metrics").header(HOST, "monitored.example").body(()).unwrap();
        assert!(refusal(&request, false).is_none());
    }
}
