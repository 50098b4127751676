//! Webhooks that start agents (`on = { webhook = … }`): a listener on this machine, which takes what is signed.
//!
//! A delivery is answered with 202 when it is on record with what came of it, and with 200 when it was before. One that can't be
//! recorded now is answered with 503, and whoever sent it sends it again. So each delivery starts its agents once, whatever
//! happens between: what is not on record has not happened.
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

/// Connections at a time.
const MOST_CONNECTIONS: usize = 64;
/// Longest head of a request, in bytes.
const LONGEST_HEAD: usize = 16 << 10;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may last, with its one request.
const CONNECTION: Duration = Duration::from_secs(60);
/// Before an address that could not be listened at is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// Before it is said again that all places are taken.
const SAID_AGAIN: Duration = Duration::from_secs(60);
/// What further connections get, while deliveries of all others are being recorded.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n\
    Connection: close\r\n\r\n{\"error\":\"too many connections\"}\n";

/// Takes deliveries until the daemon goes down, at the address that the configuration in force names.
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
                    say(&handle, None);
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

/// How it stands, for `status`.
fn say(handle: &Handle, standing: Option<WebhookStanding>) {
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
            say(handle, Some(WebhookStanding { address, problem }));
            return tokio::time::sleep(AGAIN).await;
        }
    };
    let address = listener.local_addr().unwrap_or(address);
    say(handle, Some(WebhookStanding { address, problem: None }));
    let places = ListenerPlaces::new(MOST_CONNECTIONS);
    let mut said_full: Option<Instant> = None;
    // they end with the listener
    let ended = CancellationToken::new();
    let _end = ended.clone().drop_guard();
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            // no files for now, or the other side went away
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let place = places.take();
        let is_full = place.as_ref().is_none_or(ConnectionPlace::is_anothers);
        if is_full && said_full.is_none_or(|last| last.elapsed() > SAID_AGAIN) {
            said_full = Some(Instant::now());
            tracing::warn!(
                "all {MOST_CONNECTIONS} connections at {address} are taken: the oldest one that has not sent its delivery is \
                 closed for each new one"
            );
        }
        match place {
            Some(place) => {
                let serving = serve(stream, receiver.clone(), place);
                tokio::spawn(ended.clone().run_until_cancelled_owned(serving));
            }
            None => {
                let _ = stream.try_write(NO_PLACE);
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
        .header_read_timeout(HEAD)
        .max_buf_size(LONGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), serving);
    match tokio::time::timeout(CONNECTION, place.kept(served)).await {
        Ok(Some(Ok(()))) => {}
        Ok(None) => tracing::debug!("a connection of a webhook was closed for another one"),
        Ok(Some(Err(error))) => tracing::debug!(%error, "a connection of a webhook ended early"),
        Err(_) => tracing::debug!("a connection of a webhook took too long"),
    }
}
