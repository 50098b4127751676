//! Durability: SQLite in WAL mode with one writer.
//!
//! Knows facts and SQL, and nothing of why a fact came to be. What is committed here is on the disk
//! when [`Store::commit`] returns; events become visible to readers only then.
mod apply;
mod archive;
mod chains;
mod copy;
mod error;
mod examine;
mod files;
mod follow;
mod health;
mod mark;
mod open;
mod read;
mod reader;
mod retention;
mod room;
mod row_page;
mod rows;
mod talk;
mod types;
mod writer;

#[cfg(test)]
mod tests;

pub use chains::EventOutcome;
pub use copy::{Copied, back_up, reset, restore};
pub use error::StoreError;
pub use health::{read_health, read_trusted_servers};
pub use mark::HOLDER_BYTES;
pub(crate) use open::looked_again;
pub use reader::Reader;
pub use retention::Lived;
pub use types::*;

use crate::domain::{Entry, Retention, Seq};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock, RwLockWriteGuard};
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
    /// The file that the writer has open: a reader of another one would tell of another database.
    file: writer::FileId,
    idle: Mutex<Vec<Reader>>,
    /// Held by each that reads; the writer takes it to have all readers closed.
    open: RwLock<()>,
}

impl Readers {
    fn of(path: &Path) -> Result<Self, StoreError> {
        let gone = || StoreError::Gone { path: path.to_owned(), what: "was removed while it was opened" };
        let file = writer::file_id(path).ok_or_else(gone)?;
        Ok(Self { path: path.to_owned(), file, idle: Mutex::new(Vec::new()), open: RwLock::new(()) })
    }

    /// An error if the name stands for another file than the one that is open, or for none.
    fn still_there(&self) -> Result<(), StoreError> {
        let what = match std::fs::metadata(&self.path) {
            Ok(found) if writer::id_of(&found) == self.file => return Ok(()),
            Ok(_) => "was replaced by another file while it was open",
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "was removed while it was open",
            Err(error) => return Err(StoreError::of_io(&error, &self.path, "looking at")),
        };
        Err(StoreError::Gone { path: self.path.clone(), what })
    }

    /// Closes all, when their questions are answered. None is opened as long as the guard lives.
    fn close_all(&self) -> RwLockWriteGuard<'_, ()> {
        let guard = self.open.write().expect("no holder panics");
        self.idle.lock().expect("no holder panics").clear();
        guard
    }

    /// Asks one that is idle, or a new one.
    fn ask<T>(&self, question: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, StoreError> {
        // a question that panics poisons nothing
        let _open = self.open.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let idle = self.idle.lock().expect("no holder panics").pop();
        let reader = match idle {
            Some(reader) => reader,
            None => {
                self.still_there()?;
                let reader = Reader::open(&self.path)?;
                self.still_there()?;
                reader
            }
        };
        // one that has failed is not asked again
        let answer = question(&reader)?;
        let mut idle = self.idle.lock().expect("no holder panics");
        if idle.len() < READERS {
            idle.push(reader);
        }
        Ok(answer)
    }
}

impl Store {
    /// Opens (or makes) the database and starts its writer.
    ///
    /// A damaged database is refused and not touched, and so is one of a newer release, one that is older
    /// than it was, and none where there was one. Before an older one is migrated, a copy is kept
    /// beside it.
    pub fn open(path: &Path) -> Result<(Self, Restored), StoreError> {
        Self::open_with(path, BUSY_TIMEOUT)
    }

    pub(crate) fn open_with(path: &Path, busy: Duration) -> Result<(Self, Restored), StoreError> {
        let mut opened = open::open(path, busy)?;
        let newest = opened.newest;
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING);
        let (tell, told) = watch::channel(newest);
        let restored = std::mem::take(&mut opened.restored);
        let readers = Arc::new(Readers::of(path)?);
        writer::start(opened, readers.clone(), waiting, tell)?;
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

    /// Looks after the files: an error if the database was taken away or replaced. Asked every few
    /// seconds, it also keeps the log small when there is nothing to do.
    pub async fn look(&self) -> Result<(), StoreError> {
        let (done, looked) = oneshot::channel();
        self.jobs.send(Job::Look { done }).await.map_err(|_| StoreError::Closed)?;
        looked.await.map_err(|_| StoreError::Closed)?
    }

    /// Asks one of the readers, off the async threads.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.in_background(|readers| readers.ask(question)).await
    }

    /// [`Store::read`] for what decisions depend on: damage that is reported is looked at again, since SQLite says
    /// `SQLITE_CORRUPT` of a read that the disk failed (`EIO`), too. If it was that, the error is one that passes.
    pub async fn read_surely<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.in_background(move |readers| {
            let again = |error: StoreError| {
                if error.is_damage() { looked_again(&readers.path, error) } else { error }
            };
            readers.ask(question).map_err(again)
        })
        .await
    }

    async fn in_background<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Readers) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = self.readers.clone();
        let done = tokio::task::spawn_blocking(move || work(&readers)).await;
        done.map_err(|panic| StoreError::Other { doing: "a question".into(), what: panic.to_string() })?
    }

    /// Removes what is older than `keep` allows, in one small piece; true if there is more to do.
    pub async fn prune(&self, keep: Retention, lived: Lived) -> Result<bool, StoreError> {
        let (done, pruned) = oneshot::channel();
        self.jobs.send(Job::Prune { keep, lived, done }).await.map_err(|_| StoreError::Closed)?;
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
