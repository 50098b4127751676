//! Webhooks that start agents (`on = { webhook = … }`): a listener on this machine that accepts
//! signed deliveries.
//!
//! A delivery is answered with 202 when it is recorded with its outcome, and with 200 if it was
//! recorded before. If it can't be recorded now, it is answered with 503, and the sender repeats
//! it. So each delivery starts its agents once, whatever fails: an unrecorded delivery has no
//! effect.
mod answer;
mod limits;
mod signature;

use super::inbox::{Handle, WebhookStanding};
use crate::domain::Fleet;
use crate::net::{ConnectionPlace, ListenerPlaces};
use crate::store::Store;
use answer::Receiver;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Maximum number of connections.
const MAX_CONNECTIONS: usize = 64;
/// Maximum length of a request head, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Timeout of a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of a connection, with its one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Delay before a failed bind is retried.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Minimum interval between warnings that all connections are in use.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Response to further connections while all others have a delivery being recorded.
const TOO_MANY_CONNECTIONS: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n\
    Connection: close\r\n\r\n{\"error\":\"too many connections\"}\n";

/// Accepts deliveries at the address of the configuration in force, until the daemon shuts down.
pub(super) async fn run(
    store: Store,
    handle: Handle,
    mut fleets: watch::Receiver<Arc<Fleet>>,
    down: CancellationToken,
) {
    let receiver = Arc::new(Receiver::new(store, handle.clone(), fleets.clone()));
    loop {
        let wanted = fleets.borrow_and_update().daemon.webhooks;
        let listening = async {
            match wanted {
                Some(address) => listen(address, &handle, &receiver).await,
                None => {
                    set_standing(&handle, None);
                    std::future::pending().await
                }
            }
        };
        let moves = async {
            loop {
                if fleets.changed().await.is_err() {
                    return false;
                }
                if fleets.borrow_and_update().daemon.webhooks != wanted {
                    return true;
                }
            }
        };
        tokio::select! {
            () = down.cancelled() => return,
            () = listening => {}
            goes_on = moves => if !goes_on { return },
        }
    }
}

/// Publishes the state of the listener, for `status`.
fn set_standing(handle: &Handle, standing: Option<WebhookStanding>) {
    let mut condition = handle.condition.lock().expect("no holder panics");
    let mut standing = standing;
    let before = condition
        .webhooks
        .as_ref()
        .filter(|before| standing.as_ref().is_some_and(|standing| standing.address == before.address));
    let before = before.and_then(|before| before.problem.as_ref());
    match &mut standing {
        Some(WebhookStanding { address, problem: Some((problem, since)) }) => {
            if before.is_none_or(|(before, _)| before != problem) {
                tracing::error!("webhooks can't be received at {address}: {problem}");
            }
            *since = before.map_or(*since, |(_, since)| *since);
        }
        Some(WebhookStanding { address, problem: None }) => {
            tracing::info!("webhooks are received at {address}")
        }
        None => {}
    }
    condition.webhooks = standing;
}

async fn listen(address: SocketAddr, handle: &Handle, receiver: &Arc<Receiver>) {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            let problem = Some((error.to_string(), crate::clock::wall()));
            set_standing(handle, Some(WebhookStanding { address, problem }));
            return tokio::time::sleep(RETRY_INTERVAL).await;
        }
    };
    let address = listener.local_addr().unwrap_or(address);
    set_standing(handle, Some(WebhookStanding { address, problem: None }));
    let places = ListenerPlaces::new(MAX_CONNECTIONS);
    let mut said_full: Option<Instant> = None;
    // connections end with the listener
    let ended = CancellationToken::new();
    let _end = ended.clone().drop_guard();
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            // out of file descriptors, or the peer disconnected
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let place = places.take();
        let is_full = place.as_ref().is_none_or(ConnectionPlace::is_anothers);
        if is_full && said_full.is_none_or(|last| last.elapsed() > WARNING_INTERVAL) {
            said_full = Some(Instant::now());
            tracing::warn!(
                "all {MAX_CONNECTIONS} connections at {address} are taken: the oldest one that has not sent its delivery is \
                 closed for each new one"
            );
        }
        match place {
            Some(place) => {
                let serving = serve(stream, receiver.clone(), place);
                tokio::spawn(ended.clone().run_until_cancelled_owned(serving));
            }
            None => {
                let _ = stream.try_write(TOO_MANY_CONNECTIONS);
                let _ = stream.shutdown().await;
            }
        }
    }
}

/// Answers the one request of a connection.
async fn serve(stream: TcpStream, receiver: Arc<Receiver>, place: ConnectionPlace) {
    let _ = stream.set_nodelay(true);
    let place = Arc::new(place);
    let of_request = place.clone();
    let serving = service_fn(move |request| {
        let (receiver, place) = (receiver.clone(), of_request.clone());
        async move { Ok::<_, Infallible>(receiver.answer(request, &place).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), serving);
    match tokio::time::timeout(CONNECTION_TIMEOUT, place.kept(served)).await {
        Ok(Some(Ok(()))) => {}
        Ok(None) => tracing::debug!("a connection of a webhook was closed for another one"),
        Ok(Some(Err(error))) => tracing::debug!(%error, "a connection of a webhook ended early"),
        Err(_) => tracing::debug!("a connection of a webhook took too long"),
    }
}
