//! Durability: a database with one writer.
//!
//! Knows facts and SQL, and nothing of why a fact came to be. What is committed here is on the disk
//! when [`Store::commit`] returns; events become visible to readers only then.
mod apply;
mod archive;
mod arrivals;
mod at_rest;
mod backfill;
mod chains;
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
pub use following::Attention;
pub use health::{read_health, read_trusted_servers};
pub use history::{HourUsed, LedgerPage, RunEnd};
pub use mark::HOLDER_BYTES;
pub use memory_changes::MemoryRow;
pub use nodes::{FleetLead, NodeRow};
pub use place::Where;
pub use postgres::{
    CallAnswer, CallAnswers, CallsOf, ForwardedCall, MOST_ANSWERS, NodeAbout, NodeJoined, NodeLink, Posted,
    RENEW_NODE_EVERY, TakenCall, TakenReport, UnknownIf, Withdrawn, WorkOrder, Workers,
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

/// Jobs that wait for the writer.
const JOBS_WAITING: usize = 4096;
/// How often a lead is looked at while nothing is written.
const LOOK_AT_LEAD: Duration = Duration::from_secs(2);
/// How long a lock of another program is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle to the one writer and to the readers. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    newest: watch::Receiver<Seq>,
    outbox: watch::Receiver<u64>,
    readers: Arc<Readers>,
    /// `None`: the records are in a file, whose lock nobody can take away.
    lead: Option<LeadTime>,
    /// Under which this daemon leads, with records on a server.
    epoch: Option<i64>,
    /// Of records that another daemon writes: who wants to hear of new events.
    following: Option<Arc<Following>>,
}

impl Store {
    /// Opens (or makes) the database and starts its writer.
    ///
    /// A damaged database is refused and not touched, and so is one of a newer release, one that is older
    /// than it was, and none where there was one. Before an older file is migrated, a copy is kept
    /// beside it. On a server the lead is taken: [`StoreError::Taken`] while another daemon has it.
    pub fn open_at(place: &Where) -> Result<(Self, Restored), StoreError> {
        match &place.server {
            None => Self::open(&place.file),
            Some(spec) => Self::open_on_server(spec, place),
        }
    }

    /// The same, for a file.
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

    /// The records, to be read while no daemon has them. Nothing is changed, and a commit gets [`StoreError::Closed`].
    /// `None`: there are none.
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

    /// Has the writer renew its lead while nothing is written, for as long as there is a handle.
    fn keep_lead(&self) -> Result<(), StoreError> {
        let jobs = self.jobs.downgrade();
        let keeping = std::thread::Builder::new().name("lead".into()).spawn(move || {
            loop {
                std::thread::sleep(LOOK_AT_LEAD);
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
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING);
        let (tell, told) = watch::channel(newest);
        let (queued, outbox) = watch::channel(0);
        let lead = backend.lead_time();
        writer::start(backend, waiting, tell, queued)?;
        Ok(Self { jobs, newest: told, outbox, readers, lead, epoch: None, following: None })
    }

    /// Has the server not been heard of for so long that another daemon may lead? What is decided since then is only done when
    /// a commit has shown that this one does.
    pub fn is_cut_off(&self) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.is_over(crate::clock::boot()))
    }

    /// The number of this daemon's lead, with records on a server: it grows with each daemon that leads.
    pub fn epoch(&self) -> Option<i64> {
        self.epoch
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

    /// Moves with each commit that put messages into the outbox, asked a question, or took up a configuration.
    pub fn outbox(&self) -> watch::Receiver<u64> {
        self.outbox.clone()
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

    /// Asks one of the readers, off the async threads. Damage that is reported is looked at again, since SQLite says
    /// `SQLITE_CORRUPT` of a read that the disk failed (`EIO`), too. If it was that, the error is one that passes.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.in_background(|readers| readers.ask(question)).await
    }

    /// What damage that a reader has reported is at a second look: it may be a read that failed.
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

    /// Removes what is older than `keep` allows, in one small piece; true if there is more to do.
    pub async fn prune(&self, keep: Retention, lived: Lived) -> Result<bool, StoreError> {
        let (done, pruned) = oneshot::channel();
        self.jobs.send(Job::Prune { keep, lived, done }).await.map_err(|_| StoreError::Closed)?;
        pruned.await.map_err(|_| StoreError::Closed)?
    }

    /// Marks a clean end, checkpoints, closes. Later commits get [`StoreError::Closed`].
    pub async fn close(&self) -> Result<(), StoreError> {
        self.readers.close_idle();
        let (done, closed) = oneshot::channel();
        self.jobs.send(Job::Close { done }).await.map_err(|_| StoreError::Closed)?;
        closed.await.map_err(|_| StoreError::Closed)?
    }
}

impl Store {
    /// The records, to be read while another daemon writes them. A commit gets [`StoreError::Closed`]. New events are
    /// noticed as long as [`Store::look_for_events`] runs. `None`: there are none.
    pub fn open_to_follow(place: &Where) -> Result<Option<(Self, Restored)>, StoreError> {
        let Some(reader) = health::to_read(place)? else { return Ok(None) };
        let restored = following::restored(&reader)?;
        let readers = Readers::of(Box::new(at_rest::AtRest(place.clone())));
        let (jobs, _) = mpsc::channel(1);
        let (tell, newest) = watch::channel(reader.newest()?);
        let (_, outbox) = watch::channel(0);
        let following = Following { waiting: watch::channel(0).0, newest: tell };
        let (readers, following) = (Arc::new(readers), Some(Arc::new(following)));
        Ok(Some((Self { jobs, newest, outbox, readers, lead: None, epoch: None, following }, restored)))
    }

    /// What is known now: for records that another daemon writes.
    pub async fn restored(&self) -> Result<Restored, StoreError> {
        self.read(following::restored).await
    }

    /// Somebody wants to hear of new events.
    pub fn attend(&self) -> Attention {
        Attention::to(self.following.clone())
    }

    /// The newest event. Of records that another daemon writes, the database is asked.
    pub async fn newest_now(&self) -> Result<Seq, StoreError> {
        let known = *self.newest.borrow();
        let Some(following) = &self.following else { return Ok(known) };
        let found = self.read(|reader| reader.newest()).await?;
        following.note(found);
        Ok(found)
    }

    /// Looks for new events while somebody attends. It holds nothing, and ends when nobody has the store any more. Of records
    /// that this daemon writes there is nothing to do.
    pub fn look_for_events(&self) -> impl Future<Output = ()> + use<> {
        let following = self.following.as_ref().map(Arc::downgrade).unwrap_or_default();
        following::look_for_events(Arc::downgrade(&self.readers), following)
    }
}
