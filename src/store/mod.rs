//! Durability: a database with one writer.
//!
//! Knows facts and SQL, and not why a fact came to be. Committed entries are on disk when
//! [`Store::commit`] returns; events become visible to readers only then.
mod apply;
mod archive;
mod arrivals;
mod at_rest;
mod backfill;
mod chains;
mod configs;
mod error;
mod follow;
mod following;
mod health;
mod history;
mod lead_time;
mod mark;
mod memory_changes;
mod meta;
mod nodes;
mod outbox;
mod place;
mod postgres;
mod questions;
mod read;
mod reader;
mod readers;
mod retention;
mod row_page;
mod rows;
mod sql;
mod sqlite;
mod talk;
mod transfer;
mod types;
mod work;
mod writer;

#[cfg(test)]
mod tests;

pub use arrivals::{ArrivedFile, EventCursor};
pub use chains::EventOutcome;
pub use error::StoreError;
pub use following::EventSubscriber;
pub use health::{read_health, read_trusted_servers};
pub use history::{HourUsed, LedgerPage, RunEnd};
pub use mark::LOCK_HOLDER_BYTES;
pub use memory_changes::MemoryRow;
pub use nodes::{FleetLead, NodeRow};
pub use place::Where;
pub use postgres::{
    CallAnswer, CallAnswers, CallsOf, ForwardedCall, MAX_ANSWERS, NODE_RENEWAL_INTERVAL, NodeDescription,
    NodeJoined, NodeLink, Posted, TakenCall, TakenReport, UncertainError, Withdrawn, WorkOrder, Workers,
};
pub use reader::Reader;
pub use retention::Lived;
pub use sqlite::copy::{Copied, back_up, reset, restore};
pub use transfer::{MovedRecords, transfer};
pub use types::*;

use crate::domain::{Entry, Retention, Seq, StoreSpec};
use following::Following;
use lead_time::LeadTime;
use readers::Readers;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use writer::{Backend, Job};

/// Capacity of the writer's queue.
const MAX_QUEUED_JOBS: usize = 4096;
/// How often the lead is renewed while nothing is written.
const LEAD_RENEWAL_INTERVAL: Duration = Duration::from_secs(2);
/// How long to wait for a lock of another program.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle to the one writer and to the readers. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    newest: watch::Receiver<Seq>,
    outbox: watch::Receiver<u64>,
    readers: Arc<Readers>,
    /// `None`: the records are in a file, whose lock can't be taken away.
    lead: Option<LeadTime>,
    /// The epoch under which this daemon leads, with records on a server.
    epoch: Option<i64>,
    /// Listeners for new events of records that another daemon writes.
    following: Option<Arc<Following>>,
}

impl Store {
    /// Opens or creates the database and starts its writer.
    ///
    /// Refuses, without touching it, a database that is damaged, of a newer release, older than it
    /// was, or missing although there was one. A copy of an older file is kept beside it before it
    /// is migrated. On a server, takes the lead: [`StoreError::Taken`] while another daemon has it.
    pub fn open_at(place: &Where) -> Result<(Self, Restored), StoreError> {
        match &place.server {
            None => Self::open(&place.file),
            Some(spec) => Self::open_on_server(spec, place),
        }
    }

    /// Opens the database in a file.
    pub fn open(path: &Path) -> Result<(Self, Restored), StoreError> {
        Self::open_with(path, BUSY_TIMEOUT)
    }

    pub(crate) fn open_with(path: &Path, busy: Duration) -> Result<(Self, Restored), StoreError> {
        let mut opened = sqlite::open(path, busy)?;
        let newest = opened.newest;
        let restored = std::mem::take(&mut opened.restored);
        let place = Arc::new(sqlite::Place::of(path)?);
        let readers = Arc::new(Readers::of(Box::new(place.clone())));
        let file = sqlite::FileWriter::new(opened, place, readers.clone(), BUSY_TIMEOUT);
        Self::start(Box::new(file), readers, newest).map(|store| (store, restored))
    }

    /// Opens the records for reading while no daemon has them open. Nothing is changed, and commits
    /// fail with [`StoreError::Closed`]. `None`: there are none.
    pub fn open_to_read(place: &Where) -> Result<Option<(Self, Restored)>, StoreError> {
        let Some(reader) = health::to_read(place)? else { return Ok(None) };
        let restored = following::restored(&reader)?;
        let readers = Readers::of(Box::new(at_rest::AtRest(place.clone())));
        let (jobs, _) = mpsc::channel(1);
        let (_, newest) = watch::channel(reader.newest()?);
        let (_, outbox) = watch::channel(0);
        Ok(Some((
            Self {
                jobs,
                newest,
                outbox,
                readers: Arc::new(readers),
                lead: None,
                epoch: None,
                following: None,
            },
            restored,
        )))
    }

    fn open_on_server(spec: &StoreSpec, place: &Where) -> Result<(Self, Restored), StoreError> {
        let server = Arc::new(postgres::StoreServer::of(spec, place.state_dir()));
        let mut opened = postgres::open(&server, &place.file)?;
        let newest = opened.newest;
        let restored = std::mem::take(&mut opened.restored);
        let readers = Arc::new(Readers::of(Box::new(server.clone())));
        let leader = postgres::Leader::new(opened, server)?;
        let epoch = leader.epoch();
        let store = Self { epoch: Some(epoch), ..Self::start(Box::new(leader), readers, newest)? };
        store.keep_lead()?;
        Ok((store, restored))
    }

    /// Starts a thread that renews the lead while nothing is written, as long as there is a handle.
    fn keep_lead(&self) -> Result<(), StoreError> {
        let jobs = self.jobs.downgrade();
        let keeping = std::thread::Builder::new().name("lead".into()).spawn(move || {
            loop {
                std::thread::sleep(LEAD_RENEWAL_INTERVAL);
                let Some(jobs) = jobs.upgrade() else { return };
                let (done, looked) = oneshot::channel();
                if jobs.blocking_send(Job::Look { done }).is_err() {
                    return;
                }
                drop(jobs);
                let _ = looked.blocking_recv();
            }
        });
        keeping
            .map(drop)
            .map_err(|error| StoreError::Other { doing: "starting a thread".into(), what: error.to_string() })
    }

    fn start(backend: Box<dyn Backend>, readers: Arc<Readers>, newest: Seq) -> Result<Self, StoreError> {
        let (jobs, waiting) = mpsc::channel(MAX_QUEUED_JOBS);
        let (sender, receiver) = watch::channel(newest);
        let (queued, outbox) = watch::channel(0);
        let lead = backend.lead_time();
        writer::start(backend, waiting, sender, queued)?;
        Ok(Self { jobs, newest: receiver, outbox, readers, lead, epoch: None, following: None })
    }

    /// Returns whether the server has not answered for so long that another daemon may lead. Later
    /// decisions are only carried out once a commit has confirmed the lead.
    pub fn is_cut_off(&self) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.is_over(crate::clock::boot()))
    }

    /// Returns the epoch of this daemon's lead, with records on a server: it grows with each daemon
    /// that leads.
    pub fn epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// Makes entries durable, in order, in one transaction with other waiting entries; returns when
    /// they are on disk.
    pub async fn commit(&self, entries: Vec<Entry>) -> Result<Committed, StoreError> {
        let (done, durable) = oneshot::channel();
        self.jobs.send(Job::Commit { entries, done }).await.map_err(|_| StoreError::Closed)?;
        durable.await.map_err(|_| StoreError::Closed)?
    }

    /// Returns a receiver that changes with each commit that has events.
    pub fn newest(&self) -> watch::Receiver<Seq> {
        self.newest.clone()
    }

    /// Returns a receiver that changes with each commit that queues messages, asks a question, or
    /// applies a configuration.
    pub fn outbox(&self) -> watch::Receiver<u64> {
        self.outbox.clone()
    }

    /// Makes a round trip through the writer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let (done, answered) = oneshot::channel();
        self.jobs.send(Job::Ping { done }).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)
    }

    /// Checks the files: returns an error if the database was removed or replaced. Called every few
    /// seconds, it also checkpoints the log when there is nothing to write.
    pub async fn look(&self) -> Result<(), StoreError> {
        let (done, looked) = oneshot::channel();
        self.jobs.send(Job::Look { done }).await.map_err(|_| StoreError::Closed)?;
        looked.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs a query on one of the readers, off the async threads. Reported damage is verified, since SQLite returns `SQLITE_CORRUPT`
    /// also for a failed disk read (`EIO`); in that case the error is transient.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.in_background(|readers| readers.ask(question)).await
    }

    /// Verifies damage reported by a reader: it may have been a failed read.
    pub async fn confirm(&self, error: StoreError) -> StoreError {
        let again = error.clone();
        self.in_background(move |readers| Ok(readers.confirm(again))).await.unwrap_or(error)
    }

    async fn in_background<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Readers) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = self.readers.clone();
        let done = tokio::task::spawn_blocking(move || work(&readers)).await;
        done.map_err(|panic| StoreError::Other { doing: "a question".into(), what: panic.to_string() })?
    }

    /// Removes one small batch of records older than `keep` allows; returns true if there are more.
    pub async fn prune(&self, keep: Retention, lived: Lived) -> Result<bool, StoreError> {
        let (done, pruned) = oneshot::channel();
        self.jobs.send(Job::Prune { keep, lived, done }).await.map_err(|_| StoreError::Closed)?;
        pruned.await.map_err(|_| StoreError::Closed)?
    }

    /// Marks a clean shutdown, checkpoints, closes. Later commits fail with [`StoreError::Closed`].
    pub async fn close(&self) -> Result<(), StoreError> {
        self.readers.close_idle();
        let (done, closed) = oneshot::channel();
        self.jobs.send(Job::Close { done }).await.map_err(|_| StoreError::Closed)?;
        closed.await.map_err(|_| StoreError::Closed)?
    }
}

impl Store {
    /// Opens the records for reading while another daemon writes them. Commits fail with
    /// [`StoreError::Closed`]. New events are noticed as long as [`Store::look_for_events`] runs.
    /// `None`: there are no records.
    pub fn open_to_follow(place: &Where) -> Result<Option<(Self, Restored)>, StoreError> {
        let Some(reader) = health::to_read(place)? else { return Ok(None) };
        let restored = following::restored(&reader)?;
        let readers = Readers::of(Box::new(at_rest::AtRest(place.clone())));
        let (jobs, _) = mpsc::channel(1);
        let (sender, newest) = watch::channel(reader.newest()?);
        let (_, outbox) = watch::channel(0);
        let following = Following { waiting: watch::channel(0).0, newest: sender };
        let (readers, following) = (Arc::new(readers), Some(Arc::new(following)));
        Ok(Some((Self { jobs, newest, outbox, readers, lead: None, epoch: None, following }, restored)))
    }

    /// Returns the current state of records that another daemon writes.
    pub async fn restored(&self) -> Result<Restored, StoreError> {
        self.read(following::restored).await
    }

    /// Keeps polling for new events active while the result lives.
    pub fn subscribe_events(&self) -> EventSubscriber {
        EventSubscriber::to(self.following.clone())
    }

    /// Returns the newest event; queries the database if another daemon writes it.
    pub async fn newest_now(&self) -> Result<Seq, StoreError> {
        let known = *self.newest.borrow();
        let Some(following) = &self.following else { return Ok(known) };
        let found = self.read(|reader| reader.newest()).await?;
        following.note(found);
        Ok(found)
    }

    /// Polls for new events while [`Store::subscribe_events`] is in use. Holds no references, and ends when
    /// the store is dropped. Does nothing for records that this daemon writes.
    pub fn look_for_events(&self) -> impl Future<Output = ()> + use<> {
        let following = self.following.as_ref().map(Arc::downgrade).unwrap_or_default();
        following::look_for_events(Arc::downgrade(&self.readers), following)
    }
}
