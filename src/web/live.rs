//! Notifies open pages that something changed, not what. The script requests the page again and replaces the parts that
//! differ.
use super::state::Web;
use crate::client::{Backoff, Follow, FollowItem, Timeouts};
use crate::protocol::StreamParams;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// Minimum interval between notifications.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(2000);
/// Interval of the heartbeat, by which the script notices a dead stream.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// Maximum number of concurrent streams.
const MAX_STREAMS: usize = 64;

/// Follows the daemon's events on a thread of its own, for all pages.
pub(super) fn follow(web: &Web) {
    let (address, changed) = (web.pool.address().clone(), web.changed.clone());
    let _ = std::thread::Builder::new().name("events".into()).spawn(move || {
        loop {
            let params = StreamParams { follow: true, ..StreamParams::default() };
            let begun = Follow::start(address.clone(), Timeouts::default(), Backoff::default(), params, None);
            if let Ok(mut follow) = begun {
                notify_change(&changed);
                while let Ok(what) = follow.next(None) {
                    if matches!(what, FollowItem::Event(_) | FollowItem::Note(_) | FollowItem::Gap { .. }) {
                        notify_change(&changed);
                    }
                }
            }
            if changed.is_closed() {
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    });
}

fn notify_change(changed: &watch::Sender<u64>) {
    changed.send_modify(|count| *count = count.wrapping_add(1));
}

/// Serves `GET /live`: server-sent events (the HTML standard, section 9.2), `changed` and `tick`.
pub(super) async fn live(
    State(web): State<Web>,
) -> Result<Sse<impl futures_util::Stream<Item = Result<Event, Infallible>>>, axum::http::StatusCode> {
    if web.streams.fetch_add(1, Ordering::Relaxed) >= MAX_STREAMS {
        web.streams.fetch_sub(1, Ordering::Relaxed);
        return Err(axum::http::StatusCode::SERVICE_UNAVAILABLE);
    }
    let place = OpenStream(web.clone());
    let changes = web.changed.subscribe();
    let stream = futures_util::stream::unfold((changes, place), |(mut changes, place)| async move {
        let event = match tokio::time::timeout(HEARTBEAT_INTERVAL, changes.changed()).await {
            Ok(Ok(())) => {
                tokio::time::sleep(NOTIFY_INTERVAL).await;
                let count = *changes.borrow_and_update();
                Event::default().event("changed").id(count.to_string()).data("")
            }
            Ok(Err(_)) => return None,
            Err(_) => Event::default().event("tick").data(crate::clock::wall().to_string()),
        };
        place.0.seen();
        Some((Ok(event), (changes, place)))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT_INTERVAL)))
}

/// Counts an open stream until it is dropped.
struct OpenStream(Web);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
