//! Connections that come to a listener, bounded in number and in time; what is answered on them is for others to say.
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

/// Connections of one program at a time, if that is no more than a quarter of all. Further ones wait.
const AT_A_TIME: usize = 64;
/// How long.
const FULL: Duration = Duration::from_secs(10);
/// What they get then.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    bgagent: too many connections of sandboxes are open.\n";
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(30);
/// Longest head of a request, in bytes.
const LONGEST_HEAD: usize = 64 << 10;

/// Connections of all programs at a time: each takes two files, and an eighth of those that may be open is enough.
static PLACES: LazyLock<usize> = LazyLock::new(|| {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    usize::try_from(files.unwrap_or(u64::MAX) / 16).unwrap_or(usize::MAX).clamp(16, 1 << 16)
});
static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(*PLACES)));

/// How many of all places one program may take.
fn share(places: usize) -> usize {
    AT_A_TIME.min(places / 4)
}

/// Places among those that are served at a time, of its program and of all, as long as any part of a connection lives.
#[derive(Debug)]
pub(super) struct ConnectionPlaces {
    _permits: [OwnedSemaphorePermit; 2],
    /// Where the program has come to.
    pub(super) port: u16,
}

/// The same, shared by all that goes on on a connection.
pub(super) type Place = Arc<ConnectionPlaces>;

/// Who answers.
pub(super) trait Answers: Send + Sync + 'static {
    /// One request.
    fn answer(self: Arc<Self>, request: Request<Incoming>, place: Place) -> BoxFuture<'static, Answer>;
}

/// Serves the listener that comes, until `ended`.
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
    let own = Arc::new(Semaphore::new(share(*PLACES)));
    // whatever others take, each has one
    let reserved = Arc::new(Semaphore::new(1));
    let port = listener.local_addr().map_or(0, |address| address.port());
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
        let place = async {
            let own = own.clone().acquire_owned().await;
            tokio::select! {
                biased;
                place = reserved.clone().acquire_owned() => (own, place),
                place = ALL.clone().acquire_owned() => (own, place),
            }
        };
        match tokio::time::timeout(FULL, place).await {
            Ok((Ok(own), Ok(one_of_all))) => {
                let place = ConnectionPlaces { _permits: [own, one_of_all], port };
                let serving = connection(who.clone(), stream, Arc::new(place));
                tokio::spawn(ended.clone().run_until_cancelled_owned(serving));
            }
            _ => {
                let _ = stream.try_write(NO_PLACE);
                let _ = stream.shutdown().await;
            }
        }
    }
}

/// Does an address name the proxy itself, where it is reached?
pub(super) fn is_itself(uri: &Uri, place: &Place) -> bool {
    let Some(authority) = uri.authority() else { return false };
    let is_here = matches!(authority.host(), "127.0.0.1" | "localhost" | "[::1]");
    is_here && !authority.as_str().contains('@') && authority.port_u16().unwrap_or(80) == place.port
}

/// Answers on one connection, until it ends.
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
        .header_read_timeout(HEAD)
        .max_buf_size(LONGEST_HEAD)
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
