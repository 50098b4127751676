//! The one writer: a thread that owns the only connection that writes.
//!
//! It takes everything that waits, has it written in one transaction, and answers each: while one commit
//! is on its way to the disk, the next ones pile up and share the one after it.
use super::error::StoreError;
use super::lead_time::LeadTime;
use super::retention::Lived;
use super::types::Committed;
use crate::domain::{Entry, Fact, Retention, RunId, Seq};
use tokio::sync::{mpsc, oneshot, watch};

/// Commits that share a transaction at the most.
const SHARED: usize = 512;

type Done<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
pub(super) enum Job {
    Commit { entries: Vec<Entry>, done: Done<Committed> },
    Prune { keep: Retention, lived: Lived, done: Done<bool> },
    Look { done: Done<()> },
    Ping { done: oneshot::Sender<()> },
    Close { done: Done<()> },
}

/// What became of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenCommit {
    /// Claims that were refused.
    pub(super) refused: Vec<RunId>,
    /// How many events it had.
    pub(super) events: u64,
    /// The newest event when it was written.
    pub(super) last: Seq,
}

/// The database, as its writer knows it. `newest` is the newest event that was written.
pub(super) trait Backend: Send {
    /// Writes commits in order and in one transaction; they are durable when this returns, or none of them is there.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for one that breaks a rule; anything else may be tried again if it passes.
    fn write(&mut self, commits: &[Vec<Entry>], newest: Seq) -> Result<Vec<WrittenCommit>, StoreError>;

    /// For how long the daemon may trust that nobody else writes; `None`: for as long as it lives.
    fn lead_time(&self) -> Option<LeadTime> {
        None
    }

    /// Makes room where there was none; false: there is still none.
    fn make_room(&mut self) -> bool;

    /// Commits were written, and nobody was answered yet: what is done here holds the answers up.
    fn written(&mut self, newest: Seq);

    /// Commits were written and answered.
    fn tidy(&mut self);

    /// What an error is at a second look.
    fn confirm(&mut self, error: StoreError) -> StoreError;

    /// Removes what is older than `keep` allows, in one small piece; true if there is more to do.
    fn prune(&mut self, keep: Retention, lived: Lived, newest: Seq) -> Result<bool, StoreError>;

    /// Looks after the database when there is little to do.
    fn look(&mut self, newest: Seq) -> Result<(), StoreError>;

    /// Says that all was well to the end. Nothing is written after it.
    fn close(&mut self, newest: Seq) -> Result<(), StoreError>;
}

struct Writer {
    backend: Box<dyn Backend>,
    newest: watch::Sender<Seq>,
    outbox: watch::Sender<u64>,
}

/// Starts the thread. It ends with [`Job::Close`], or when the last handle is gone.
pub(super) fn start(
    backend: Box<dyn Backend>,
    mut jobs: mpsc::Receiver<Job>,
    newest: watch::Sender<Seq>,
    outbox: watch::Sender<u64>,
) -> Result<(), StoreError> {
    let mut writer = Writer { backend, newest, outbox };
    let thread = std::thread::Builder::new().name("writer".into());
    let started = thread.spawn(move || {
        let mut taken = Vec::with_capacity(SHARED);
        loop {
            if jobs.blocking_recv_many(&mut taken, SHARED) == 0 {
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
    /// Closes it. Damage that shows on the way is looked at again: it may be a read that failed.
    fn close_surely(&mut self) -> Result<(), StoreError> {
        self.close().map_err(|error| self.backend.confirm(error))
    }

    /// Does what was taken, in order; commits that stand together share a transaction.
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
                // those that were made before, and only now have their answer, may be older
                let newest = written.iter().map(|one| one.last).max().map_or(newest, |last| last.max(newest));
                self.backend.written(newest);
                self.newest.send_if_modified(|old| std::mem::replace(old, newest) != newest);
                if entries.iter().flatten().any(moves_the_outbox) {
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

/// Is there more for the outbox to do, or another configuration to do it by?
fn moves_the_outbox(entry: &Entry) -> bool {
    matches!(
        entry.fact,
        Fact::NotificationQueued { .. } | Fact::QuestionAsked(_) | Fact::ConfigApplied { .. }
    )
}
