//! The writer for a SQLite database: one transaction and one sync per batch, checkpoints, and disk space.
use super::examine;
use super::files::{self, FileId, file_id};
use super::link::Link;
use super::open::{self, Opened};
use super::place::Place;
use super::room;
use crate::domain::{Entry, Retention, Seq};
use crate::store::error::StoreError;
use crate::store::mark::MarkFile;
use crate::store::readers::Readers;
use crate::store::retention::{self, Lived};
use crate::store::sql::{Scope, Sql, SqlConnection};
use crate::store::writer::{Backend, WrittenCommit};
use crate::store::{apply, meta};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum interval between checkpoints, if anything is written at all.
const MAX_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(30);
/// Maximum number of batches of history removed at once when the disk is full.
const MAX_SHRINK_BATCHES: usize = 40;
/// Number of free pages returned to the file system per batch.
const VACUUM_PAGES: i64 = 256;

/// The writer's connection, and the state of its files.
pub(in crate::store) struct FileWriter {
    link: Link,
    path: PathBuf,
    place: Arc<Place>,
    mark: MarkFile,
    /// Closed before the writer's connection, so that none of them keeps removed files open.
    readers: Arc<Readers>,
    /// The log and its index, which belong to the connection.
    logs: [Option<FileId>; 2],
    /// Whether the connection has failed and must be replaced.
    failed: bool,
    /// Whether the log holds anything that is not in the database, and whether more was added since
    /// the last check.
    in_log: InLog,
    checkpointed: Instant,
    /// How long to wait for a lock of another program.
    busy: Duration,
}

/// What the log holds that the database does not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InLog {
    Nothing,
    Something,
    Fresh,
}

/// Returns the ids of the log and its index.
fn logs(path: &Path) -> [Option<FileId>; 2] {
    ["-wal", "-shm"].map(|suffix| file_id(&files::beside(path, suffix)))
}

impl FileWriter {
    /// Takes over an opened database.
    pub(in crate::store) fn new(
        opened: Opened,
        place: Arc<Place>,
        readers: Arc<Readers>,
        busy: Duration,
    ) -> Self {
        let path = place.path().to_owned();
        room::set_aside(&path);
        Self {
            link: opened.link,
            logs: logs(&path),
            path,
            place,
            mark: opened.mark,
            readers,
            failed: false,
            in_log: InLog::Fresh,
            checkpointed: Instant::now(),
            busy,
        }
    }

    fn db(&self) -> &Sql {
        &self.link
    }

    fn says(&self, doing: &str) -> impl Fn(crate::store::sql::SqlError) -> StoreError {
        let (path, doing) = (self.path.clone(), doing.to_owned());
        move |error| StoreError::of(error, &path, &doing)
    }

    /// Makes sure that the files are those that were opened, and that the connection is usable.
    fn ensure_sound(&mut self, newest: Seq) -> Result<(), StoreError> {
        self.place.still_there()?;
        let now = logs(&self.path);
        if !self.failed && self.logs != now {
            // the content of the removed log can be saved as long as we have it open
            let doing = "saving what the log held, which was removed while it was open";
            let readers = self.readers.clone();
            let _nobody_reads = readers.close_all();
            if !open::checkpoint(&self.link).map_err(self.says(doing))? {
                return Err(StoreError::Busy(self.path.clone()));
            }
            tracing::warn!("the log of the database was removed while it was open; all of it was saved");
            self.failed = true;
        }
        if self.failed { self.renew(newest) } else { Ok(()) }
    }

    /// Replaces a connection that has failed or lost its files.
    fn renew(&mut self, known: Seq) -> Result<(), StoreError> {
        let readers = self.readers.clone();
        let nobody_reads = readers.close_all();
        self.link.let_go().map_err(self.says("closing the database"))?;
        let (link, newest) = open::open_again(&self.path, self.busy)?;
        drop(nobody_reads);
        if newest < known {
            return Err(StoreError::Behind { path: self.path.clone(), newest: newest.0, known: known.0 });
        }
        // a commit that was reported as failed is there after all; its effects are only known after a restart
        if newest > known {
            let doing = format!("opening {} again", self.path.display());
            return Err(StoreError::Refused { doing, what: "it holds events that had failed".into() });
        }
        self.link = link;
        self.logs = logs(&self.path);
        self.failed = false;
        tracing::warn!("the database was opened anew");
        Ok(())
    }

    /// Returns some of the free pages to the file system; returns true if there were more.
    fn give_back(&self, at_least: i64) -> Result<bool, crate::store::sql::SqlError> {
        let free: i64 = self.db().one("PRAGMA freelist_count", &[], |row| row.get(0))?;
        if free > at_least {
            // each step returns one page
            self.db().rows(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"), &[], |_| Ok(()))?;
        }
        Ok(free > VACUUM_PAGES)
    }

    /// Removes one small batch towards a database of `most` bytes; returns true if there is more to do.
    fn shrink_to(&self, most: u64) -> Result<bool, crate::store::sql::SqlError> {
        let more = self.link.used_bytes()? > most && retention::shrink_batch(self.db())?;
        Ok(self.give_back(0)? || more)
    }

    /// Removes the oldest records until there is some space. Returns false if that freed none.
    fn shrink(&mut self) -> bool {
        let before = files::size(&self.path);
        let most = room::bound(&self.path, u64::MAX) / 4 * 3;
        let _ = open::checkpoint(&self.link);
        for _ in 0..MAX_SHRINK_BATCHES {
            if !self.shrink_to(most).unwrap_or(false) {
                break;
            }
            let _ = open::checkpoint(&self.link);
        }
        let _ = open::checkpoint(&self.link);
        let after = files::size(&self.path);
        if after < before {
            tracing::debug!(before, after, "the database was made smaller");
        }
        after < before
    }
}

impl Backend for FileWriter {
    fn write(&mut self, commits: &[Vec<Entry>], newest: Seq) -> Result<Vec<WrittenCommit>, StoreError> {
        self.ensure_sound(newest)?;
        let says = self.says("writing to the database");
        let transaction = self.db().begin(Scope::Write).map_err(&says)?;
        let mut next = newest.0 + 1;
        let mut written = Vec::with_capacity(commits.len());
        for entries in commits {
            let from = next;
            let refused = apply::apply(&*transaction, entries, &mut next).map_err(&says)?;
            written.push(WrittenCommit { refused, events: next - from, last: Seq(next - 1) });
        }
        // a commit to a file that is no longer at its path would not be durable
        self.place.still_there()?;
        transaction.commit().map_err(&says)?;
        Ok(written)
    }

    /// Frees disk space, because the disk is full, or the database too large for its file system:
    /// deletes the reserve, checkpoints the log, and removes the oldest records.
    fn make_room(&mut self) -> bool {
        // the space of the reserve lets events in flight be recorded
        room::release(&self.path) | self.shrink()
    }

    fn written(&mut self, newest: Seq) {
        self.mark.note(newest, false);
        self.in_log = InLog::Fresh;
    }

    fn tidy(&mut self) {
        if files::size(&self.path) > room::bound(&self.path, u64::MAX) {
            self.shrink();
        }
        room::set_aside(&self.path);
    }

    /// Verifies apparent corruption; if it is not confirmed, the error becomes a transient one.
    fn confirm(&mut self, error: StoreError) -> StoreError {
        self.failed |= matches!(error, StoreError::Corrupt { .. });
        examine::confirm(&self.path, error)
            .unwrap_or_else(|| StoreError::read_failed("writing to the database"))
    }

    fn prune(&mut self, keep: Retention, lived: Lived, newest: Seq) -> Result<bool, StoreError> {
        self.ensure_sound(newest)?;
        let keep = Retention { max_db_size: room::bound(&self.path, keep.max_db_size), ..keep };
        let pruned = retention::prune(self.db(), keep, lived)
            .and_then(|more| Ok(self.give_back(VACUUM_PAGES)? || more))
            .map_err(self.says("removing what is too old"));
        // the log grows while readers hold it; truncate it when it is large
        if files::size(&self.path) > keep.max_db_size {
            let _ = open::checkpoint(&self.link);
        }
        self.in_log = InLog::Fresh;
        self.mark.note(newest, false);
        pruned
    }

    /// Checks that the database is still the open file. When there is nothing to write, checkpoints
    /// the log, so that nothing is lost with it.
    fn look(&mut self, newest: Seq) -> Result<(), StoreError> {
        self.ensure_sound(newest)?;
        let is_due = match self.in_log {
            InLog::Nothing => false,
            InLog::Something => true,
            InLog::Fresh => self.checkpointed.elapsed() >= MAX_CHECKPOINT_INTERVAL,
        };
        if self.in_log == InLog::Fresh {
            self.in_log = InLog::Something;
        }
        if is_due {
            // a checkpoint blocked by readers is retried
            let written = self.db().one("PRAGMA wal_checkpoint(PASSIVE)", &[], |row| {
                Ok(row.get::<i64>(0)? == 0 && row.get::<i64>(1)? == row.get::<i64>(2)?)
            });
            if written.is_ok_and(|all| all) {
                self.in_log = InLog::Nothing;
                self.checkpointed = Instant::now();
                self.mark.note(newest, false);
            }
        }
        room::set_aside(&self.path);
        Ok(())
    }

    fn close(&mut self, newest: Seq) -> Result<(), StoreError> {
        self.ensure_sound(newest)?;
        let closed = (|| {
            meta::set(self.db(), meta::CLEAN, "yes")?;
            self.link.db.execute_batch("PRAGMA optimize;")?;
            open::checkpoint(&self.link)?;
            examine::keep_log(&self.link.db, false)?;
            Ok(())
        })();
        closed.map_err(self.says("closing the database"))?;
        self.mark.note_durably(newest, true);
        Ok(())
    }
}
