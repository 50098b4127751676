//! Accepts the connections of a listener, bounded in number and time; how they are answered is left to others.
use super::reply::Answer;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Maximum concurrent connections of one program, but at most a quarter of all. Further ones wait.
const MAX_CONNECTIONS_PER_PROGRAM: usize = 64;
/// Timeout of that wait.
const SLOT_TIMEOUT: Duration = Duration::from_secs(10);
/// The response after it.
const NO_SLOT_RESPONSE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    bgagent: too many connections of sandboxes are open.\n";
/// Timeout for receiving the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Maximum connections of all programs: each takes two file descriptors; together they take an eighth of the limit.
static MAX_CONNECTIONS: LazyLock<usize> = LazyLock::new(|| {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    usize::try_from(files.unwrap_or(u64::MAX) / 16).unwrap_or(usize::MAX).clamp(16, 1 << 16)
});
static CONNECTION_SLOTS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(*MAX_CONNECTIONS)));

/// Returns how many of all connections one program may have.
fn share(places: usize) -> usize {
    MAX_CONNECTIONS_PER_PROGRAM.min(places / 4)
}

/// The slots of a connection, in its program's and the overall limit, held as long as any part of the connection lives.
#[derive(Debug)]
pub(super) struct ConnectionPlaces {
    _permits: [OwnedSemaphorePermit; 2],
    /// The port that the program connected to.
    pub(super) port: u16,
}

/// The same, shared by everything that belongs to a connection.
pub(super) type Place = Arc<ConnectionPlaces>;

/// A service that answers requests.
pub(super) trait Answers: Send + Sync + 'static {
    /// Answers one request.
    fn answer(self: Arc<Self>, request: Request<Incoming>, place: Place) -> BoxFuture<'static, Answer>;
}

/// Serves the listener once it is available, until `ended`.
pub(super) fn serve<A: Answers>(
    who: Arc<A>,
    ended: CancellationToken,
    listener: impl Future<Output = Option<std::net::TcpListener>> + Send + 'static,
) {
    let connections = ended.clone();
    let serving = async move {
        let Some(listener) = listener.await else { return };
        match listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)) {
            Ok(listener) => all(who, connections, listener).await,
            Err(error) => tracing::warn!(%error, "the way out of a sandbox can't be opened"),
        }
    };
    tokio::spawn(ended.run_until_cancelled_owned(serving));
}

async fn all<A: Answers>(who: Arc<A>, ended: CancellationToken, listener: TcpListener) {
    let own = Arc::new(Semaphore::new(share(*MAX_CONNECTIONS)));
    // one reserved connection per program, regardless of the others
    let reserved = Arc::new(Semaphore::new(1));
    let port = listener.local_addr().map_or(0, |address| address.port());
    loop {
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // out of file descriptors, or the client disconnected
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let place = async {
            let own = own.clone().acquire_owned().await;
            tokio::select! {
                biased;
                place = reserved.clone().acquire_owned() => (own, place),
                place = CONNECTION_SLOTS.clone().acquire_owned() => (own, place),
            }
        };
        match tokio::time::timeout(SLOT_TIMEOUT, place).await {
            Ok((Ok(own), Ok(one_of_all))) => {
                let place = ConnectionPlaces { _permits: [own, one_of_all], port };
                let serving = connection(who.clone(), stream, Arc::new(place));
                tokio::spawn(ended.clone().run_until_cancelled_owned(serving));
            }
            _ => {
                let _ = stream.try_write(NO_SLOT_RESPONSE);
                let _ = stream.shutdown().await;
            }
        }
    }
}

/// Returns whether an address names the proxy itself, at the port where it is reached.
pub(super) fn is_itself(uri: &Uri, place: &Place) -> bool {
    let Some(authority) = uri.authority() else { return false };
    let is_here = matches!(authority.host(), "127.0.0.1" | "localhost" | "[::1]");
    is_here && !authority.as_str().contains('@') && authority.port_u16().unwrap_or(80) == place.port
}

/// Serves one connection until it ends.
pub(super) async fn connection<A: Answers>(
    who: Arc<A>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    place: Place,
) {
    let serving = service_fn(move |request| {
        let (who, place) = (who.clone(), place.clone());
        async move { Ok::<_, Infallible>(who.answer(request, place).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), serving)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the proxy ended early");
    }
}

#[cfg(test)]
mod tests {
    //! Tests of shares.
    use super::share;

    #[test]
    fn one_program_takes_no_more_than_a_quarter_of_all_places() {
        assert_eq!([16, 64, 256, 65_536].map(share), [4, 16, 64, 64]);
    }
}
