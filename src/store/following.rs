//! Following records that another daemon writes: their current state, and polling for new events.
use super::error::StoreError;
use super::reader::Reader;
use super::readers::Readers;
use super::types::Restored;
use super::{meta, read};
use crate::domain::Seq;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// Polling interval of new events. A poll reads one index row; a notification with each commit
/// would cost the leader more, even without listeners.
pub(super) const EVENT_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Polls for new events while someone waits for them, until the store is dropped.
pub(super) async fn look_for_events(readers: Weak<Readers>, following: Weak<Following>) {
    let Some(mut waiting) = following.upgrade().map(|following| following.waiting.subscribe()) else {
        return;
    };
    // on an error, the store has been dropped
    while waiting.wait_for(|waiting| *waiting > 0).await.is_ok() {
        let (Some(readers), Some(following)) = (readers.upgrade(), following.upgrade()) else { return };
        let found = tokio::task::spawn_blocking(move || readers.ask(|reader| reader.newest())).await;
        match found {
            Ok(Ok(found)) => following.note(found),
            // a failed poll is retried
            Ok(Err(error)) => tracing::debug!(%error, "events could not be looked for"),
            Err(_) => return,
        }
        drop(following);
        tokio::time::sleep(EVENT_POLL_INTERVAL).await;
    }
}

/// The listeners for new events.
pub(super) struct Following {
    pub(super) waiting: watch::Sender<usize>,
    pub(super) newest: watch::Sender<Seq>,
}

impl Following {
    /// Publishes the newest event.
    pub(super) fn note(&self, found: Seq) {
        self.newest.send_if_modified(|newest| std::mem::replace(newest, found) != found);
    }
}

/// Keeps polling for new events active as long as it lives.
pub struct EventSubscriber(Option<Arc<Following>>);

impl EventSubscriber {
    pub(super) fn to(following: Option<Arc<Following>>) -> Self {
        if let Some(following) = &following {
            following.waiting.send_modify(|waiting| *waiting += 1);
        }
        Self(following)
    }
}

impl Drop for EventSubscriber {
    fn drop(&mut self) {
        if let Some(following) = &self.0 {
            following.waiting.send_modify(|waiting| *waiting -= 1);
        }
    }
}

/// Returns the current state.
pub(super) fn restored(reader: &Reader) -> Result<Restored, StoreError> {
    reader.ask("reading what was", |db| {
        let unclean = meta::value(db, meta::CLEAN)?.as_deref() != Some("yes");
        Ok(Restored {
            unclean,
            database: meta::value(db, meta::DATABASE)?.unwrap_or_default(),
            ancestors: meta::ancestors(db)?,
            ..read::restored(db)?
        })
    })
}
