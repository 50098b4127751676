//! Sends the pending changes in the database to Redis.
use super::progress::MemoryProgress;
use super::reading::unread;
use super::server::{MemoryServer, Position};
use crate::clock;
use crate::domain::RedisMemorySpec;
use crate::redis::Hitch;
use crate::store::Store;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Maximum changes per call.
const MAX_CHANGES_PER_CALL: usize = 50;
/// Polling interval for changes without an event.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Interval for checking the position of Redis while nothing changes: it may have lost data.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Delay before the first retry; it doubles each time.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(200);
/// Maximum delay between retries; also used for permanent problems.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(20);

/// Sends the changes of one database to one server.
pub struct MemorySender {
    store: Store,
    spec: Arc<RedisMemorySpec>,
    progress: Arc<MemoryProgress>,
}

impl MemorySender {
    /// Creates a sender that reports its status to `progress`.
    pub fn new(store: Store, spec: Arc<RedisMemorySpec>, progress: Arc<MemoryProgress>) -> Self {
        Self { store, spec, progress }
    }

    /// Sends until it is dropped. Cancel-safe.
    pub async fn run(&self) -> Infallible {
        let mut wait = FIRST_RETRY_DELAY;
        let mut sent = None;
        loop {
            let Err(hitch) = self.session(&mut wait, &mut sent).await;
            let after = sent.map_or(0, |Position(after)| after);
            let waiting =
                self.store.read(move |reader| reader.memory_changes_after(after)).await.unwrap_or(0);
            if self.progress.is_held_up(clock::wall(), &hitch, waiting) {
                let place = self.spec.server.place();
                tracing::warn!(%place, "what agents remember can't be kept in Redis: {hitch}");
            }
            tokio::time::sleep(if hitch.stays { MAX_RETRY_DELAY } else { wait }).await;
            wait = (wait * 2).min(MAX_RETRY_DELAY);
        }
    }

    /// Sends all currently pending changes.
    ///
    /// # Errors
    /// A description of the problem.
    pub async fn catch_up(&self) -> Result<(), String> {
        let all = async {
            let mut server = self.open().await?;
            self.send_all(&mut server).await
        };
        all.await.map(|_| ()).map_err(|hitch: Hitch| hitch.to_string())
    }

    async fn open(&self) -> Result<MemoryServer<'_>, Hitch> {
        let fleet = self.store.read(|reader| reader.identity()).await.map_err(unread)?;
        MemoryServer::open(&self.spec, fleet).await
    }

    /// Uses one connection until it breaks or a problem occurs.
    async fn session(&self, wait: &mut Duration, sent: &mut Option<Position>) -> Result<Infallible, Hitch> {
        let mut newest = self.store.newest();
        let mut server = self.open().await?;
        loop {
            newest.borrow_and_update();
            let at = self.send_all(&mut server).await?;
            if let Some(before) = sent.filter(|before| at < *before) {
                tracing::warn!(
                    "Redis has lost what agents remember: changes {} to {} were made again",
                    at.0 + 1,
                    before.0
                );
            }
            *sent = Some(at);
            *wait = FIRST_RETRY_DELAY;
            if self.progress.is_well(clock::wall()) {
                let (place, prefix) = (self.spec.server.place(), &self.spec.prefix);
                tracing::info!(%place, %prefix, "what agents remember is kept in Redis");
            }
            let asked = tokio::time::Instant::now();
            loop {
                tokio::select! {
                    changed = newest.changed() => changed.map_err(|_| Hitch::passing("the daemon goes down"))?,
                    hitch = server.link.broken() => return Err(hitch),
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                }
                newest.borrow_and_update();
                let last = self.store.read(|reader| reader.last_memory_change()).await.map_err(unread)?;
                if last > at.0 || asked.elapsed() >= CHECK_INTERVAL {
                    break;
                }
            }
        }
    }

    /// Sends all changes that Redis does not have. Returns the new position.
    async fn send_all(&self, server: &mut MemoryServer<'_>) -> Result<Position, Hitch> {
        let last = self.store.read(|reader| reader.last_memory_change()).await.map_err(unread)?;
        let mut at = server.position().await?;
        // a number that was never assigned here: the database is an older copy, and continues from its own position
        if at.0 > last {
            at = server.make(&[], Some(0)).await?;
        }
        loop {
            let after = at.0;
            let rows =
                self.store.read(move |reader| reader.memory_changes(after, MAX_CHANGES_PER_CALL)).await;
            let rows = rows.map_err(unread)?;
            if rows.is_empty() {
                return Ok(at);
            }
            let next = server.make(&rows, None).await?;
            if next <= at {
                return Err(Hitch::passing("Redis does not keep how far it is"));
            }
            at = next;
        }
    }
}
