//! Durability: SQLite in WAL mode with one writer.
//!
//! Knows facts and SQL, and nothing of why a fact came to be. What is committed here is on the disk
//! when [`Store::commit`] returns; events become visible to readers only then.
mod apply;
mod archive;
mod error;
mod follow;
mod health;
mod open;
mod read;
mod retention;
mod talk;
mod types;
mod writer;

#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use health::read_health;
pub use read::Reader;
pub use types::*;

use crate::domain::{Entry, Retention, Seq};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use writer::Job;

/// Jobs that wait for the writer.
const JOBS_WAITING: usize = 4096;
/// Readers that are kept open.
const READERS: usize = 4;
/// How long a lock of another program is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle to the one writer and to the readers. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    newest: watch::Receiver<Seq>,
    readers: Arc<Readers>,
}

struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Reader>>,
}

impl Store {
    /// Opens (or makes) the database and starts its writer.
    ///
    /// A damaged database is refused and not touched; one of a newer release as well. Before an
    /// older one is migrated, a copy is kept beside it.
    pub fn open(path: &Path) -> Result<(Self, Restored), StoreError> {
        Self::open_with(path, BUSY_TIMEOUT)
    }

    pub(crate) fn open_with(path: &Path, busy: Duration) -> Result<(Self, Restored), StoreError> {
        let (connection, restored, newest) = open::open(path, busy)?;
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING);
        let (tell, told) = watch::channel(newest);
        writer::start(connection, path.to_owned(), waiting, tell)?;
        let readers = Arc::new(Readers { path: path.to_owned(), idle: Mutex::new(Vec::new()) });
        Ok((Self { jobs, newest: told, readers }, restored))
    }

    /// Makes entries durable, in order, in one transaction with whatever else waits; returns when
    /// they are on the disk.
    pub async fn commit(&self, entries: Vec<Entry>) -> Result<Committed, StoreError> {
        let (done, durable) = oneshot::channel();
        self.jobs.send(Job::Commit { entries, done }).await.map_err(|_| StoreError::Closed)?;
        durable.await.map_err(|_| StoreError::Closed)?
    }

    /// Moves with each commit that had events.
    pub fn newest(&self) -> watch::Receiver<Seq> {
        self.newest.clone()
    }

    /// A round trip through the writer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let (done, answered) = oneshot::channel();
        self.jobs.send(Job::Ping { done }).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)
    }

    /// Asks one of the readers, off the async threads.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = self.readers.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let idle = readers.idle.lock().expect("no holder panics").pop();
            let reader = match idle {
                Some(reader) => reader,
                None => Reader::open(&readers.path)?,
            };
            let answer = question(&reader);
            let mut idle = readers.idle.lock().expect("no holder panics");
            if idle.len() < READERS {
                idle.push(reader);
            }
            answer
        });
        asked
            .await
            .map_err(|panic| StoreError::Other { doing: "a question".into(), what: panic.to_string() })?
    }

    /// Removes what is older than `keep` allows, in one small piece; true if there is more to do.
    pub async fn prune(&self, keep: Retention, now: Timestamp) -> Result<bool, StoreError> {
        let (done, pruned) = oneshot::channel();
        self.jobs.send(Job::Prune { keep, now, done }).await.map_err(|_| StoreError::Closed)?;
        pruned.await.map_err(|_| StoreError::Closed)?
    }

    /// Marks a clean end, checkpoints, closes. Later commits get [`StoreError::Closed`].
    pub async fn close(&self) -> Result<(), StoreError> {
        self.readers.idle.lock().expect("no holder panics").clear();
        let (done, closed) = oneshot::channel();
        self.jobs.send(Job::Close { done }).await.map_err(|_| StoreError::Closed)?;
        closed.await.map_err(|_| StoreError::Closed)?
    }
}
