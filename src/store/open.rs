//! The way to a database that can be trusted: checks, pragmas, migrations, and what it remembers.
use super::error::StoreError;
use super::examine::{self, Seen};
use super::mark::{self, Mark, MarkFile};
use super::{Ancestor, Restored, WentBack, files, read, reader, room};
use crate::domain::Seq;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// Migrations in order; the number of those that were applied is the `user_version`.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_models.sql"),
    include_str!("migrations/0003_told.sql"),
    include_str!("migrations/0004_findings.sql"),
    include_str!("migrations/0005_feeds.sql"),
    include_str!("migrations/0006_archives.sql"),
    include_str!("migrations/0007_history.sql"),
    include_str!("migrations/0008_pins.sql"),
    include_str!("migrations/0009_sessions.sql"),
    include_str!("migrations/0010_held_output.sql"),
    include_str!("migrations/0011_clocks.sql"),
    include_str!("migrations/0012_elapsed.sql"),
    include_str!("migrations/0013_untrusted.sql"),
];
/// The first release of SQLite without the WAL-reset bug (sqlite.org/wal.html#walresetbug).
const OLDEST_SQLITE: i32 = 3_051_003;
/// Databases of which this one was a copy once; older ones are forgotten.
const MOST_ANCESTORS: usize = 32;

/// A database that the writer can work with.
pub(super) struct Opened {
    pub(super) db: Connection,
    pub(super) restored: Restored,
    pub(super) newest: Seq,
    pub(super) mark: MarkFile,
}

/// Opens the database for the writer. Until all checks have passed, nothing is changed.
pub(super) fn open(path: &Path, busy: Duration) -> Result<Opened, StoreError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(StoreError::OldSqlite(rusqlite::version().into()));
    }
    files::are_files(path)?;
    let known = mark::read_mark(path);
    let fresh = !examine::is_there(path, known.as_ref())?;
    if fresh {
        create(path)?;
    }
    let mut seen = examine::look(path, busy, known.as_ref())?;
    let went_back = if fresh { None } else { compared(path, &seen, known.as_ref())? };
    let say = |doing: &'static str| move |error| StoreError::of(error, path, doing);
    only_ours(path);
    pragmas(&seen.db, path, fresh).map_err(say("setting up the database"))?;
    let latest = MIGRATIONS.len() as i64;
    if seen.version < latest {
        migrate(&mut seen.db, path, seen.version, MIGRATIONS)?;
    }
    // a damaged database shows here, before anything more is written
    let restored = read::restored(&seen.db).map_err(say("reading what was before"));
    let mut restored = restored.map_err(|error| looked_again(path, error))?;
    let taken = take_up(&seen.db, went_back.as_ref()).or_else(|error| {
        // a full disk is no reason not to be there and to say so, where room was set aside for that
        let is_full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        if is_full && room::release(path) {
            return take_up(&seen.db, went_back.as_ref());
        }
        Err(error)
    });
    taken.map_err(say("marking the database as open"))?;
    restored.database = identity(&seen.db).map_err(say("reading the database's identity"))?;
    restored.ancestors = ancestors(&seen.db).map_err(say("reading where the database came from"))?;
    restored.unclean = seen.unclean;
    restored.went_back = went_back;
    if seen.version < latest {
        // a young database lives in itself, and not in its log alone
        checkpoint(&seen.db).map_err(say("setting up the database"))?;
    }
    if fresh {
        sync_folder(path);
    }
    let mark = MarkFile::open(path, restored.database.clone());
    mark.note_durably(seen.newest, false);
    Ok(Opened { db: seen.db, restored, newest: seen.newest, mark })
}

/// The connection of a writer whose last one failed. The database was looked at whole when the
/// daemon began.
pub(super) fn open_again(path: &Path, busy: Duration) -> Result<(Connection, Seq), StoreError> {
    let say = |doing: &'static str| move |error| StoreError::of(error, path, doing);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(say("opening the database"))?;
    examine::keep_log(&db, true).map_err(say("opening the database"))?;
    db.busy_timeout(busy).map_err(say("setting the busy timeout"))?;
    pragmas(&db, path, false).map_err(say("setting up the database"))?;
    let newest = reader::newest_seq(&db).map_err(say("reading the newest event"))?;
    Ok((db, newest))
}

/// Is it the database that was there, as far as it had come? One that somebody has put in its place
/// is gone on with, and that is told; one that has lost what it knew is refused.
fn compared(path: &Path, seen: &Seen, mark: Option<&Mark>) -> Result<Option<WentBack>, StoreError> {
    let newest = seen.newest;
    let Some(mark) = mark else {
        return Ok(seen.is_copy.then_some(WentBack { newest, known: None }));
    };
    let known = mark.newest;
    let is_other = seen.database.as_ref() != Some(&mark.database);
    if seen.is_copy || (is_other && seen.database.is_some()) {
        return Ok(Some(WentBack { newest, known: Some(known) }));
    }
    if newest >= known && !is_other {
        return Ok(None);
    }
    if seen.version == 0 {
        let what = format!("holds nothing, although it had come to event {}: its log is lost", known.0);
        return Err(StoreError::Missing { path: path.to_owned(), what });
    }
    if examine::changed_since(path, mark) {
        return Ok(Some(WentBack { newest, known: Some(known) }));
    }
    Err(StoreError::Behind { path: path.to_owned(), newest: newest.0, known: known.0 })
}

/// What seemed corrupt, and by a second look is not, is an error that passes.
pub(crate) fn looked_again(path: &Path, error: StoreError) -> StoreError {
    let doing = error.to_string();
    examine::confirm(path, error)
        .unwrap_or_else(|| StoreError::Other { doing, what: "a second look found nothing wrong".into() })
}

/// Makes an empty file that only we can read.
fn create(path: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::of_io(&error, path, "making");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let made = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map(|_| ()).map_err(failed)
}

/// What agents said is nobody else's.
fn only_ours(path: &Path) {
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
    }
}

fn pragmas(db: &Connection, path: &Path, fresh: bool) -> rusqlite::Result<()> {
    if fresh {
        // on any other file it would be a write without an effect
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0;
         PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192;",
    )?;
    let log = room::of_log(path);
    db.pragma_update(None, "wal_autocheckpoint", log.checkpoint_pages)?;
    db.pragma_update(None, "journal_size_limit", log.kept_bytes)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Applies what is missing, each migration in one transaction. An existing database is copied first.
pub(super) fn migrate(
    db: &mut Connection,
    path: &Path,
    from: i64,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let say = |doing: &'static str| move |error| StoreError::of(error, path, doing);
    if from > 0 {
        let copy = PathBuf::from(format!("{}.v{from}.bak", path.display()));
        let fresh = PathBuf::from(format!("{}.v{from}.bak.new", path.display()));
        // VACUUM INTO takes an empty file, and leaves its mode
        let made = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
        made.map_err(|error| StoreError::of_io(&error, &fresh, "making"))?;
        db.execute("VACUUM INTO ?1", [fresh.display().to_string()])
            .map_err(say("copying the database before a migration"))?;
        let _ = fs::File::open(&fresh).and_then(|file| file.sync_all());
        fs::rename(&fresh, &copy).map_err(|error| StoreError::of_io(&error, &copy, "writing"))?;
    }
    for (number, sql) in (1i64..).zip(migrations).filter(|(number, _)| *number > from) {
        let migration = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(say("migrating the database"))?;
        migration.execute_batch(sql).map_err(say("migrating the database"))?;
        migration.pragma_update(None, "user_version", number).map_err(say("migrating the database"))?;
        migration.commit().map_err(say("migrating the database"))?;
    }
    Ok(())
}

/// Marks the database as open, and as another one than before if it is a copy that was put in place:
/// numbers of events of the two can't be compared, beyond the newest that they share.
fn take_up(db: &Connection, went_back: Option<&WentBack>) -> rusqlite::Result<()> {
    let change = db.unchecked_transaction()?;
    if let Some(WentBack { newest, .. }) = went_back {
        let mut all = ancestors(&change)?;
        all.insert(0, Ancestor { database: identity(&change)?, until: newest.0 });
        all.truncate(MOST_ANCESTORS);
        let text = serde_json::to_string(&all).unwrap_or_default();
        let set = "INSERT OR REPLACE INTO meta(key, value) VALUES (?1, ?2)";
        change.execute(set, ["ancestors", &text])?;
        change.execute(set, ["database", &uuid::Uuid::now_v7().to_string()])?;
        change.execute("DELETE FROM meta WHERE key = 'copied_at'", [])?;
    }
    change.execute("INSERT OR REPLACE INTO meta(key, value) VALUES ('clean', 'no')", [])?;
    change.commit()
}

fn ancestors(db: &Connection) -> rusqlite::Result<Vec<Ancestor>> {
    let mut statement = db.prepare("SELECT value FROM meta WHERE key = 'ancestors'")?;
    let text: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Writes the log into the database; true if that was all of it, and no reader held it up.
pub(super) fn checkpoint(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

fn identity(db: &Connection) -> rusqlite::Result<String> {
    let fresh = uuid::Uuid::now_v7().to_string();
    db.execute("INSERT OR IGNORE INTO meta(key, value) VALUES ('database', ?1)", [fresh])?;
    db.query_row("SELECT value FROM meta WHERE key = 'database'", [], |row| row.get(0))
}

/// A new file is there after a power cut only if its folder was written, too.
pub(super) fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent() {
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
}
