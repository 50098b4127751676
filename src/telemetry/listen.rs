//! The listener that Prometheus asks: one path, one method, few connections, each of them short.
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

/// Connections at a time. For a further one, the oldest that has not asked yet is closed.
const AT_A_TIME: usize = 32;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may last: Prometheus gives up a scrape after ten seconds.
const WHOLE: Duration = Duration::from_secs(15);
/// Longest head of a request, in bytes.
const LONGEST_HEAD: usize = 16 << 10;
/// What the text is, to those who read it.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How it stands with a listener, for those who are asked. Shared.
#[derive(Debug, Default)]
pub struct Listening(Mutex<Option<MetricsStanding>>);

/// How it stood with a listener at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsStanding {
    /// Where it listens, or is to.
    pub address: String,
    /// Why it does not.
    pub problem: Option<String>,
}

impl Listening {
    /// How it stands; `None`: nobody is to listen.
    pub fn now(&self) -> Option<MetricsStanding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It stands so from now on. True: that is news.
    pub fn is(&self, standing: Option<MetricsStanding>) -> bool {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *now != standing;
        *now = standing;
        is_news
    }
}

/// Answers with the text that `metrics` gives, until it is dropped. No text: the daemon can't say now.
pub async fn serve<T>(listener: TcpListener, metrics: impl Fn() -> T + Clone + Send + Sync + 'static)
where
    T: Future<Output = Option<String>> + Send + 'static,
{
    let places = ListenerPlaces::new(AT_A_TIME);
    let mut connections = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // no files for now, or the other side went away
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // all others are being answered
        let Some(place) = places.take() else { continue };
        let place = Arc::new(place);
        let metrics = metrics.clone();
        connections.spawn(async move {
            // also of a listener that others can reach: a page in a browser of this machine comes over loopback
            let is_local = stream.local_addr().is_ok_and(|address| address.ip().is_loopback());
            let serving = connection(stream, is_local, metrics, place.clone());
            let _ = tokio::time::timeout(WHOLE, place.kept(serving)).await;
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
                    None => said(StatusCode::SERVICE_UNAVAILABLE, "the daemon can't say now"),
                },
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), serving)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for metrics ended early");
    }
}

/// Why a request gets no metrics; `None`: it does.
fn refusal<B>(request: &Request<B>, is_local: bool) -> Option<Response<Full<Bytes>>> {
    if request.uri().path() != "/metrics" {
        return Some(said(StatusCode::NOT_FOUND, "the metrics are at /metrics"));
    }
    if request.method() != Method::GET {
        let mut refused = said(StatusCode::METHOD_NOT_ALLOWED, "metrics are only read: GET /metrics");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Some(refused);
    }
    // a page in a browser can have a name of its own lead here: it would read the answer as its own
    let host = request.headers().get(HOST).map_or(Some(""), |host| host.to_str().ok());
    if is_local && !host.is_some_and(is_this_machine) {
        return Some(said(
            StatusCode::FORBIDDEN,
            "on this machine the metrics are read by address: http://127.0.0.1:PORT/metrics",
        ));
    }
    None
}

/// Does this `Host` name no host that a stranger can choose: an address, `localhost`, or nothing?
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    name.is_some_and(|name| {
        name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    })
}

fn said(status: StatusCode, what: &str) -> Response<Full<Bytes>> {
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
        // who listens elsewhere is named as people like
        let request = Request::builder().uri("/metrics").header(HOST, "monitored.example").body(()).unwrap();
        assert!(refusal(&request, false).is_none());
    }
}
