//! The writer's side of a SQLite database: one transaction and one sync for what waits, the log, and room on the disk.
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

/// The log is written into the database at least as often as this, if anything is written at all.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// Pieces of history that are removed at a time when the disk is full.
const PIECES_FOR_ROOM: usize = 40;
/// Free pages that one piece gives back to the file system.
const PAGES: i64 = 256;

/// The writer's connection, and what it knows of its files.
pub(in crate::store) struct FileWriter {
    link: Link,
    path: PathBuf,
    place: Arc<Place>,
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
    /// How long a lock of another program is waited for.
    busy: Duration,
}

/// What the log holds that the database does not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InLog {
    Nothing,
    Something,
    Fresh,
}

/// The log and its index, as files.
fn logs(path: &Path) -> [Option<FileId>; 2] {
    ["-wal", "-shm"].map(|suffix| file_id(&files::beside(path, suffix)))
}

impl FileWriter {
    /// Takes over what was opened.
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

    /// The files are those that were opened, and the connection is to be trusted.
    fn is_sound(&mut self, newest: Seq) -> Result<(), StoreError> {
        self.place.still_there()?;
        let now = logs(&self.path);
        if !self.failed && self.logs != now {
            // what the lost log held goes into the database as long as we hold it
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

    /// Another connection in the place of one that has failed or has lost its files.
    fn renew(&mut self, known: Seq) -> Result<(), StoreError> {
        let readers = self.readers.clone();
        let nobody_reads = readers.close_all();
        self.link.let_go().map_err(self.says("closing the database"))?;
        let (link, newest) = open::open_again(&self.path, self.busy)?;
        drop(nobody_reads);
        if newest < known {
            return Err(StoreError::Behind { path: self.path.clone(), newest: newest.0, known: known.0 });
        }
        // a commit that had failed is there after all: what it did is known after a start
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

    /// Gives a piece of the free pages back to the file system; true: there were more than that.
    fn give_back(&self, at_least: i64) -> Result<bool, crate::store::sql::SqlError> {
        let free: i64 = self.db().one("PRAGMA freelist_count", &[], |row| row.get(0))?;
        if free > at_least {
            // each step gives back one page
            self.db().rows(&format!("PRAGMA incremental_vacuum({PAGES})"), &[], |_| Ok(()))?;
        }
        Ok(free > PAGES)
    }

    /// One small piece on the way to a database of `most` bytes; true if there is more to do.
    fn shrink_to(&self, most: u64) -> Result<bool, crate::store::sql::SqlError> {
        let more = self.link.used_bytes()? > most && retention::shrink_a_little(self.db())?;
        Ok(self.give_back(0)? || more)
    }

    /// The oldest goes until there is room for a while. False: that gave no room.
    fn shrink(&mut self) -> bool {
        let before = files::size(&self.path);
        let most = room::bound(&self.path, u64::MAX) / 4 * 3;
        let _ = open::checkpoint(&self.link);
        for _ in 0..PIECES_FOR_ROOM {
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
        self.is_sound(newest)?;
        let says = self.says("writing to the database");
        let transaction = self.db().begin(Scope::Write).map_err(&says)?;
        let mut next = newest.0 + 1;
        let mut written = Vec::with_capacity(commits.len());
        for entries in commits {
            let from = next;
            let refused = apply::apply(&*transaction, entries, &mut next).map_err(&says)?;
            written.push(WrittenCommit { refused, events: next - from, last: Seq(next - 1) });
        }
        // what becomes durable in a file that nobody finds again is not durable
        self.place.still_there()?;
        transaction.commit().map_err(&says)?;
        Ok(written)
    }

    /// The disk is full, or the database more than its file system can bear. What was set aside is given up, the log
    /// goes into the database, and the oldest of that goes.
    fn make_room(&mut self) -> bool {
        // the space that was set aside lets what is in flight be recorded
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

    /// What seems corrupt, and by a second look is not, is an error that passes.
    fn confirm(&mut self, error: StoreError) -> StoreError {
        self.failed |= matches!(error, StoreError::Corrupt { .. });
        examine::confirm(&self.path, error)
            .unwrap_or_else(|| StoreError::read_failed("writing to the database"))
    }

    fn prune(&mut self, keep: Retention, lived: Lived, newest: Seq) -> Result<bool, StoreError> {
        self.is_sound(newest)?;
        let keep = Retention { max_db_size: room::bound(&self.path, keep.max_db_size), ..keep };
        let pruned = retention::prune(self.db(), keep, lived)
            .and_then(|more| Ok(self.give_back(PAGES)? || more))
            .map_err(self.says("removing what is too old"));
        // the log grows while readers hold it; give it back when it is large
        if files::size(&self.path) > keep.max_db_size {
            let _ = open::checkpoint(&self.link);
        }
        self.in_log = InLog::Fresh;
        self.mark.note(newest, false);
        pruned
    }

    /// Is the database still the file that is open? When there is nothing to do, the log is written
    /// into it, so that all of it is there if the log is lost.
    fn look(&mut self, newest: Seq) -> Result<(), StoreError> {
        self.is_sound(newest)?;
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
        self.is_sound(newest)?;
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
