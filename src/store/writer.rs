//! The one writer: a thread that owns the only connection that writes.
//!
//! It takes everything that waits, applies it in one transaction, syncs once, and answers each: while
//! one commit is on its way to the disk, the next ones pile up and share the one after it.
use super::mark::MarkFile;
use super::open::{self, Opened};
use super::retention::Lived;
use super::{BUSY_TIMEOUT, Committed, Readers, StoreError, apply, examine, retention, room};
use crate::domain::{Entry, Retention, RunId, Seq};
use rusqlite::{Connection, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// Commits that share a transaction at the most.
const SHARED: usize = 512;
/// The log is written into the database at least as often as this, if anything is written at all.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// Pieces of history that are removed at a time when the disk is full.
const PIECES_FOR_ROOM: usize = 40;

type Done<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
pub(super) enum Job {
    Commit { entries: Vec<Entry>, done: Done<Committed> },
    Prune { keep: Retention, lived: Lived, done: Done<bool> },
    Look { done: Done<()> },
    Ping { done: oneshot::Sender<()> },
    Close { done: Done<()> },
}

struct Writer {
    db: Connection,
    path: PathBuf,
    next: u64,
    newest: watch::Sender<Seq>,
    mark: MarkFile,
    /// Their connections end before this one does, so that none of them holds on to lost files.
    readers: Arc<Readers>,
    /// Its log and the index of that, which belong to the connection.
    logs: [Option<FileId>; 2],
    /// The connection has failed, and is not to be trusted.
    failed: bool,
    /// Something is in the log that is not in the database: whether more came since the last look.
    in_log: InLog,
    checkpointed: Instant,
}

/// What the log holds that the database does not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InLog {
    Nothing,
    Something,
    Fresh,
}

/// Device and number of a file.
pub(super) type FileId = (u64, u64);

/// Which file has this name.
pub(super) fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|found| id_of(&found))
}

/// Which file it is that was found.
pub(super) fn id_of(found: &std::fs::Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino())
}

/// The log and its index, as files.
fn logs(path: &Path) -> [Option<FileId>; 2] {
    ["-wal", "-shm"].map(|suffix| file_id(&examine::beside(path, suffix)))
}

/// Starts the thread. It ends with [`Job::Close`], or when the last handle is gone.
pub(super) fn start(
    opened: Opened,
    readers: Arc<Readers>,
    mut jobs: mpsc::Receiver<Job>,
    newest: watch::Sender<Seq>,
) -> Result<(), StoreError> {
    let path = readers.path.clone();
    let mut writer = Writer {
        db: opened.db,
        logs: logs(&path),
        path,
        next: opened.newest.0 + 1,
        newest,
        mark: opened.mark,
        readers,
        failed: false,
        in_log: InLog::Fresh,
        checkpointed: Instant::now(),
    };
    room::set_aside(&writer.path);
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
                Job::Prune { keep, lived, done } => {
                    let _ = done.send(self.prune(keep, lived));
                }
                Job::Look { done } => {
                    let _ = done.send(self.look());
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
            if matches!(error, StoreError::Full(_)) && (room::release(&self.path) | self.make_room()) {
                return self.write(&commits);
            }
            Err(error)
        });
        match written {
            Ok(results) => {
                let newest = Seq(self.next - 1);
                self.mark.note(newest, false);
                self.in_log = InLog::Fresh;
                self.newest.send_if_modified(|old| std::mem::replace(old, newest) != newest);
                for ((_, done), (refused, events, last)) in commits.into_iter().zip(results) {
                    let _ = done.send(Ok(Committed { newest, last, refused, events }));
                }
                if retention::size(&self.path) > room::bound(&self.path, u64::MAX) {
                    self.make_room();
                }
                room::set_aside(&self.path);
            }
            // one of them is at fault, and only that one fails
            Err(StoreError::Refused { .. }) if commits.len() > 1 => {
                for commit in commits {
                    self.commit(vec![commit]);
                }
            }
            Err(error) => {
                let error = self.looked_again(error);
                for (_, done) in commits {
                    let _ = done.send(Err(error.clone()));
                }
            }
        }
    }

    fn write(
        &mut self,
        commits: &[(Vec<Entry>, Done<Committed>)],
    ) -> Result<Vec<(Vec<RunId>, u64, Seq)>, StoreError> {
        self.is_sound()?;
        let before = self.next;
        let result = (|| {
            let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut results = Vec::with_capacity(commits.len());
            for (entries, _) in commits {
                let from = self.next;
                let refused = apply::apply(&transaction, entries, &mut self.next)?;
                results.push((refused, self.next - from, Seq(self.next - 1)));
            }
            // what becomes durable in a file that nobody finds again is not durable
            let there = self.readers.still_there();
            if there.is_ok() {
                transaction.commit()?;
            }
            Ok(there.map(|()| results))
        })();
        let result = result
            .map_err(|error| StoreError::of(error, &self.path, "writing to the database"))
            .and_then(|written| written);
        if result.is_err() {
            self.next = before;
        }
        result
    }

    /// The files are those that were opened, and the connection is to be trusted.
    fn is_sound(&mut self) -> Result<(), StoreError> {
        self.readers.still_there()?;
        let now = logs(&self.path);
        if !self.failed && self.logs != now {
            // what the lost log held goes into the database as long as we hold it
            let doing = "saving what the log held, which was removed while it was open";
            let readers = self.readers.clone();
            let _nobody_reads = readers.close_all();
            let saved = open::checkpoint(&self.db);
            if !saved.map_err(|error| StoreError::of(error, &self.path, doing))? {
                return Err(StoreError::Busy(self.path.clone()));
            }
            tracing::warn!("the log of the database was removed while it was open; all of it was saved");
            self.failed = true;
        }
        if self.failed { self.renew() } else { Ok(()) }
    }

    /// Another connection in the place of one that has failed or has lost its files.
    fn renew(&mut self) -> Result<(), StoreError> {
        let readers = self.readers.clone();
        let nobody_reads = readers.close_all();
        let none = Connection::open_in_memory();
        let none = none.map_err(|error| StoreError::of(error, &self.path, "closing the database"))?;
        drop(std::mem::replace(&mut self.db, none));
        let (db, newest) = open::open_again(&self.path, BUSY_TIMEOUT)?;
        drop(nobody_reads);
        match newest.0 + 1 {
            found if found < self.next => {
                let (path, known) = (self.path.clone(), self.next - 1);
                return Err(StoreError::Behind { path, newest: newest.0, known });
            }
            // a commit that had failed is there after all: what it did is known after a start
            found if found > self.next => {
                let doing = format!("opening {} again", self.path.display());
                return Err(StoreError::Refused { doing, what: "it holds events that had failed".into() });
            }
            _ => {}
        }
        self.db = db;
        self.logs = logs(&self.path);
        self.failed = false;
        tracing::warn!("the database was opened anew");
        Ok(())
    }

    /// What seems corrupt, and by a second look is not, is an error that passes.
    fn looked_again(&mut self, error: StoreError) -> StoreError {
        self.failed |= matches!(error, StoreError::Corrupt { .. });
        let what = error.to_string();
        examine::confirm(&self.path, error).unwrap_or(StoreError::Other {
            doing: "writing to the database, which a second look found whole".into(),
            what,
        })
    }

    fn prune(&mut self, keep: Retention, lived: Lived) -> Result<bool, StoreError> {
        self.is_sound()?;
        let keep = Retention { max_db_size: room::bound(&self.path, keep.max_db_size), ..keep };
        let pruned = retention::prune(&mut self.db, &self.path, keep, lived);
        self.in_log = InLog::Fresh;
        self.mark.note(Seq(self.next - 1), false);
        pruned.map_err(|error| StoreError::of(error, &self.path, "removing what is too old"))
    }

    /// The disk is full, or the database more than its file system can bear. The log goes into the
    /// database, and the oldest of that goes until there is room for a while. False: that gave no room.
    fn make_room(&mut self) -> bool {
        let before = retention::size(&self.path);
        let most = room::bound(&self.path, u64::MAX) / 4 * 3;
        let _ = open::checkpoint(&self.db);
        for _ in 0..PIECES_FOR_ROOM {
            if !retention::shrink_to(&mut self.db, most).unwrap_or(false) {
                break;
            }
            let _ = open::checkpoint(&self.db);
        }
        let _ = open::checkpoint(&self.db);
        let after = retention::size(&self.path);
        if after < before {
            tracing::debug!(before, after, "the database was made smaller");
        }
        after < before
    }

    /// Is the database still the file that is open? When there is nothing to do, the log is written
    /// into it, so that all of it is there if the log is lost.
    fn look(&mut self) -> Result<(), StoreError> {
        self.is_sound()?;
        let is_due = match self.in_log {
            InLog::Nothing => false,
            InLog::Something => true,
            InLog::Fresh => self.checkpointed.elapsed() >= CHECKPOINT_EVERY,
        };
        if self.in_log == InLog::Fresh {
            self.in_log = InLog::Something;
        }
        if is_due {
            // one that readers hold up is tried again
            let written = self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok(row.get::<_, i64>(0)? == 0 && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
            });
            if written.is_ok_and(|all| all) {
                self.in_log = InLog::Nothing;
                self.checkpointed = Instant::now();
                self.mark.note(Seq(self.next - 1), false);
            }
        }
        room::set_aside(&self.path);
        Ok(())
    }

    fn close_cleanly(&mut self) -> Result<(), StoreError> {
        self.is_sound()?;
        let closed = (|| {
            self.db.execute("INSERT OR REPLACE INTO meta(key, value) VALUES ('clean', 'yes')", [])?;
            self.db.execute_batch("PRAGMA optimize;")?;
            open::checkpoint(&self.db)?;
            examine::keep_log(&self.db, false)
        })();
        closed.map_err(|error| StoreError::of(error, &self.path, "closing the database"))?;
        self.mark.note_durably(Seq(self.next - 1), true);
        Ok(())
    }

    fn close(mut self) {
        if let Err(error) = self.close_cleanly() {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }
}
