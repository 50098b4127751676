//! The one writer: a thread that owns the only connection that writes.
//!
//! It takes everything that waits, applies it in one transaction, syncs once, and answers each: while
//! one commit is on its way to the disk, the next ones pile up and share the one after it.
use super::{Committed, StoreError, apply, retention};
use crate::domain::{Entry, Retention, RunId, Seq};
use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot, watch};

/// Commits that share a transaction at the most.
const SHARED: usize = 512;
/// Space that is set aside, so that on a full disk what is in flight can still be recorded.
const RESERVE: u64 = 1 << 20;

type Done<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
pub(super) enum Job {
    Commit { entries: Vec<Entry>, done: Done<Committed> },
    Prune { keep: Retention, now: Timestamp, done: Done<bool> },
    Ping { done: oneshot::Sender<()> },
    Close { done: Done<()> },
}

struct Writer {
    db: Connection,
    path: PathBuf,
    next: u64,
    newest: watch::Sender<Seq>,
}

/// Starts the thread. It ends with [`Job::Close`], or when the last handle is gone.
pub(super) fn start(
    db: Connection,
    path: PathBuf,
    mut jobs: mpsc::Receiver<Job>,
    newest: watch::Sender<Seq>,
) -> Result<(), StoreError> {
    let next = newest.borrow().0 + 1;
    let mut writer = Writer { db, path, next, newest };
    set_aside(&writer.path);
    let thread = std::thread::Builder::new().name("writer".into());
    let started = thread.spawn(move || {
        let mut taken = Vec::with_capacity(SHARED);
        loop {
            if jobs.blocking_recv_many(&mut taken, SHARED) == 0 {
                return writer.close();
            }
            if let Some(done) = writer.work(&mut taken) {
                let closed = writer.close_cleanly();
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
    /// Does what was taken, in order; commits that stand together share a transaction.
    fn work(&mut self, taken: &mut Vec<Job>) -> Option<Done<()>> {
        let mut commits: Vec<(Vec<Entry>, Done<Committed>)> = Vec::new();
        for job in taken.drain(..) {
            if let Job::Commit { entries, done } = job {
                commits.push((entries, done));
                continue;
            }
            self.commit(std::mem::take(&mut commits));
            match job {
                Job::Commit { .. } => unreachable!("taken above"),
                Job::Prune { keep, now, done } => {
                    let pruned = retention::prune(&mut self.db, &self.path, keep, now);
                    let _ = done.send(
                        pruned.map_err(|error| StoreError::of(error, &self.path, "removing what is too old")),
                    );
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

    fn commit(&mut self, commits: Vec<(Vec<Entry>, Done<Committed>)>) {
        if commits.is_empty() {
            return;
        }
        let written = self.write(&commits).or_else(|error| {
            // the space that was set aside lets what is in flight be recorded
            if matches!(error, StoreError::Full(_)) && fs::remove_file(reserve(&self.path)).is_ok() {
                return self.write(&commits);
            }
            Err(error)
        });
        match written {
            Ok(results) => {
                let newest = Seq(self.next - 1);
                self.newest.send_if_modified(|old| std::mem::replace(old, newest) != newest);
                for ((_, done), (refused, events, last)) in commits.into_iter().zip(results) {
                    let _ = done.send(Ok(Committed { newest, last, refused, events }));
                }
                set_aside(&self.path);
            }
            // one of them is at fault, and only that one fails
            Err(StoreError::Refused { .. }) if commits.len() > 1 => {
                for commit in commits {
                    self.commit(vec![commit]);
                }
            }
            Err(error) => {
                for (_, done) in commits {
                    let _ = done.send(Err(error.again()));
                }
            }
        }
    }

    fn write(
        &mut self,
        commits: &[(Vec<Entry>, Done<Committed>)],
    ) -> Result<Vec<(Vec<RunId>, u64, Seq)>, StoreError> {
        let before = self.next;
        let result = (|| {
            let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut results = Vec::with_capacity(commits.len());
            for (entries, _) in commits {
                let from = self.next;
                let refused = apply::apply(&transaction, entries, &mut self.next)?;
                results.push((refused, self.next - from, Seq(self.next - 1)));
            }
            transaction.commit()?;
            Ok(results)
        })();
        result.map_err(|error| {
            self.next = before;
            StoreError::of(error, &self.path, "writing to the database")
        })
    }

    fn close_cleanly(&mut self) -> Result<(), StoreError> {
        let closed = (|| {
            self.db.execute("INSERT OR REPLACE INTO meta(key, value) VALUES ('clean', 'yes')", [])?;
            self.db.execute_batch("PRAGMA optimize;")?;
            self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        })();
        closed.map_err(|error| StoreError::of(error, &self.path, "closing the database"))
    }

    fn close(mut self) {
        if let Err(error) = self.close_cleanly() {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }
}

impl StoreError {
    /// The same error for another one who waits.
    fn again(&self) -> Self {
        match self {
            Self::Full(path) => Self::Full(path.clone()),
            Self::ReadOnly(path) => Self::ReadOnly(path.clone()),
            Self::Busy(path) => Self::Busy(path.clone()),
            Self::Corrupt { path, what } => Self::Corrupt { path: path.clone(), what: what.clone() },
            Self::Newer { path, found, known } => {
                Self::Newer { path: path.clone(), found: *found, known: *known }
            }
            Self::OldSqlite(version) => Self::OldSqlite(version.clone()),
            Self::Refused { doing, what } => Self::Refused { doing: doing.clone(), what: what.clone() },
            Self::Other { doing, what } => Self::Other { doing: doing.clone(), what: what.clone() },
            Self::Closed => Self::Closed,
        }
    }
}

fn reserve(path: &Path) -> PathBuf {
    path.with_file_name("reserve")
}

/// Makes the reserve, if it is not there and there is room for twice as much.
fn set_aside(path: &Path) {
    let file = reserve(path);
    if file.exists() {
        return;
    }
    let room = rustix::fs::statvfs(path).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    if room < 2 * RESERVE {
        return;
    }
    let made =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file).and_then(
            |out| {
                use std::io::Write;
                (&out).write_all(&vec![0; RESERVE as usize])
            },
        );
    if made.is_err() {
        let _ = fs::remove_file(&file);
    }
}
