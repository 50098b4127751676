//! The one writer: a thread that owns the only connection that writes.
//!
//! It takes everything that waits, has it written in one transaction, and answers each commit:
//! while one transaction is on its way to disk, the next commits are queued and share the following
//! one.
use super::error::StoreError;
use super::lead_time::LeadTime;
use super::retention::Lived;
use super::types::Committed;
use crate::domain::{Entry, Fact, Retention, RunId, Seq};
use tokio::sync::{mpsc, oneshot, watch};

/// Maximum number of commits per transaction.
const MAX_SHARED_COMMITS: usize = 512;

type Done<T> = oneshot::Sender<Result<T, StoreError>>;

/// A job for the writer.
pub(super) enum Job {
    Commit { entries: Vec<Entry>, done: Done<Committed> },
    Prune { keep: Retention, lived: Lived, done: Done<bool> },
    Look { done: Done<()> },
    Ping { done: oneshot::Sender<()> },
    Close { done: Done<()> },
}

/// The result of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenCommit {
    /// Claims that were refused.
    pub(super) refused: Vec<RunId>,
    /// Number of its events.
    pub(super) events: u64,
    /// The newest event when it was written.
    pub(super) last: Seq,
}

/// The database from the writer's perspective. `newest` is the newest event that was written.
pub(super) trait Backend: Send {
    /// Writes commits in order and in one transaction; either all are durable when this returns, or
    /// none is there.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for a commit that violates a constraint; others may be retried if
    /// they are transient.
    fn write(&mut self, commits: &[Vec<Entry>], newest: Seq) -> Result<Vec<WrittenCommit>, StoreError>;

    /// Returns how long the daemon may trust that no other daemon writes; `None`: for as long as it lives.
    fn lead_time(&self) -> Option<LeadTime> {
        None
    }

    /// Frees disk space; returns false if there is still none.
    fn make_room(&mut self) -> bool;

    /// Called when commits were written, before they are answered: it delays the answers.
    fn written(&mut self, newest: Seq);

    /// Called when commits were written and answered.
    fn tidy(&mut self);

    /// Verifies an error.
    fn confirm(&mut self, error: StoreError) -> StoreError;

    /// Removes one small batch of records older than `keep` allows; returns true if there are more.
    fn prune(&mut self, keep: Retention, lived: Lived, newest: Seq) -> Result<bool, StoreError>;

    /// Maintains the database when there is little to do.
    fn look(&mut self, newest: Seq) -> Result<(), StoreError>;

    /// Marks a clean shutdown. Nothing is written after it.
    fn close(&mut self, newest: Seq) -> Result<(), StoreError>;
}

struct Writer {
    backend: Box<dyn Backend>,
    newest: watch::Sender<Seq>,
    outbox: watch::Sender<u64>,
}

/// Starts the thread. It ends with [`Job::Close`], or when the last handle is dropped.
pub(super) fn start(
    backend: Box<dyn Backend>,
    mut jobs: mpsc::Receiver<Job>,
    newest: watch::Sender<Seq>,
    outbox: watch::Sender<u64>,
) -> Result<(), StoreError> {
    let mut writer = Writer { backend, newest, outbox };
    let thread = std::thread::Builder::new().name("writer".into());
    let started = thread.spawn(move || {
        let mut taken = Vec::with_capacity(MAX_SHARED_COMMITS);
        loop {
            if jobs.blocking_recv_many(&mut taken, MAX_SHARED_COMMITS) == 0 {
                if let Err(error) = writer.close_surely() {
                    tracing::warn!(%error, "the database was not closed cleanly");
                }
                return;
            }
            if let Some(done) = writer.work(&mut taken) {
                let closed = writer.close_surely();
                drop(jobs);
                drop(writer);
                let _ = done.send(closed);
                return;
            }
        }
    });
    started
        .map(|_| ())
        .map_err(|error| StoreError::Other { doing: "starting the writer".into(), what: error.to_string() })
}

impl Writer {
    /// Closes the backend, and verifies damage that it reports.
    fn close_surely(&mut self) -> Result<(), StoreError> {
        self.close().map_err(|error| self.backend.confirm(error))
    }

    /// Executes jobs in order; adjacent commits share a transaction.
    fn work(&mut self, taken: &mut Vec<Job>) -> Option<Done<()>> {
        let mut commits: Vec<(Vec<Entry>, Done<Committed>)> = Vec::new();
        for job in taken.drain(..) {
            if let Job::Commit { entries, done } = job {
                commits.push((entries, done));
                continue;
            }
            self.commit(std::mem::take(&mut commits));
            let newest = self.newest();
            match job {
                Job::Commit { .. } => unreachable!("taken above"),
                Job::Prune { keep, lived, done } => {
                    let pruned = self.backend.prune(keep, lived, newest);
                    let _ = done.send(pruned.map_err(|error| self.backend.confirm(error)));
                }
                Job::Look { done } => {
                    let looked = self.backend.look(newest);
                    let _ = done.send(looked.map_err(|error| self.backend.confirm(error)));
                }
                Job::Ping { done } => {
                    let _ = done.send(());
                }
                Job::Close { done } => return Some(done),
            }
        }
        self.commit(commits);
        None
    }

    fn newest(&self) -> Seq {
        *self.newest.borrow()
    }

    fn commit(&mut self, commits: Vec<(Vec<Entry>, Done<Committed>)>) {
        if commits.is_empty() {
            return;
        }
        let (entries, waiting): (Vec<_>, Vec<_>) = commits.into_iter().unzip();
        let newest = self.newest();
        let written = self.backend.write(&entries, newest).or_else(|error| {
            if matches!(error, StoreError::Full(_)) && self.backend.make_room() {
                return self.backend.write(&entries, newest);
            }
            Err(error)
        });
        match written {
            Ok(written) => {
                // commits recovered after a lost answer may be older
                let newest = written.iter().map(|one| one.last).max().map_or(newest, |last| last.max(newest));
                self.backend.written(newest);
                self.newest.send_if_modified(|old| std::mem::replace(old, newest) != newest);
                if entries.iter().flatten().any(affects_outbox) {
                    self.outbox.send_modify(|moves| *moves += 1);
                }
                for (done, WrittenCommit { refused, events, last }) in waiting.into_iter().zip(written) {
                    let _ = done.send(Ok(Committed { newest, last, refused, events }));
                }
                self.backend.tidy();
            }
            // one of them is at fault, and only that one fails
            Err(StoreError::Refused { .. }) if entries.len() > 1 => {
                for commit in entries.into_iter().zip(waiting) {
                    self.commit(vec![commit]);
                }
            }
            Err(error) => {
                let error = self.backend.confirm(error);
                for done in waiting {
                    let _ = done.send(Err(error.clone()));
                }
            }
        }
    }

    fn close(&mut self) -> Result<(), StoreError> {
        let newest = self.newest();
        self.backend.close(newest)
    }
}

/// Returns whether an entry gives the outbox new work or another configuration.
fn affects_outbox(entry: &Entry) -> bool {
    matches!(
        entry.fact,
        Fact::NotificationQueued { .. } | Fact::QuestionAsked(_) | Fact::ConfigApplied { .. }
    )
}
