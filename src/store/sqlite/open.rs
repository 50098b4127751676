//! The way to a database that can be trusted: checks, pragmas, migrations, and what it remembers.
use super::examine::{self, Seen};
use super::link::Link;
use super::migrations::MIGRATIONS;
use super::{files, room};
use crate::domain::Seq;
use crate::store::error::StoreError;
use crate::store::mark::{self, Mark, MarkFile};
use crate::store::sql::{Sql, SqlErrorKind, SqlResult};
use crate::store::types::{Restored, WentBack};
use crate::store::{meta, read, reader};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// The first release of SQLite without the WAL-reset bug (sqlite.org/wal.html#walresetbug).
const OLDEST_SQLITE: i32 = 3_051_003;
/// What a database that is being made ends with.
const MOVING: &str = ".moving";

/// A database that the writer can work with.
pub(in crate::store) struct Opened {
    pub(super) link: Link,
    pub(in crate::store) restored: Restored,
    pub(in crate::store) newest: Seq,
    pub(super) mark: MarkFile,
}

/// Opens the database for the writer. Until all checks have passed, nothing is changed.
pub(in crate::store) fn open(path: &Path, busy: Duration) -> Result<Opened, StoreError> {
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
    let says = |doing: &'static str| move |error: rusqlite::Error| StoreError::of(error.into(), path, doing);
    only_ours(path);
    pragmas(&seen.link.db, path, fresh).map_err(says("setting up the database"))?;
    let latest = MIGRATIONS.len() as i64;
    if seen.version < latest {
        migrate(&mut seen.link.db, path, seen.version, MIGRATIONS)?;
    }
    // a damaged database shows here, before anything more is written
    let db: &Sql = &seen.link;
    not_moved(db, path)?;
    let restored = read::restored(db).map_err(say("reading what was before"));
    let mut restored = restored.map_err(|error| looked_again(path, error))?;
    let of_move =
        meta::value(db, meta::MOVING_FROM).map_err(say("reading what the database says of itself"))?;
    if of_move.is_some() {
        // it was accepted when it got its name
        meta::forget(db, meta::MOVING_FROM).map_err(say("marking the database as open"))?;
    }
    let taken = meta::take_up(db, went_back.as_ref()).or_else(|error| {
        // a full disk is no reason not to be there and to say so, where room was set aside for that
        if error.kind == SqlErrorKind::Full && room::release(path) {
            return meta::take_up(db, went_back.as_ref());
        }
        Err(error)
    });
    taken.map_err(say("marking the database as open"))?;
    restored.database = meta::identity(db).map_err(say("reading the database's identity"))?;
    restored.ancestors = meta::ancestors(db).map_err(say("reading where the database came from"))?;
    restored.unclean = seen.unclean;
    if went_back.is_none_or(|back| back.known == Some(back.newest)) {
        restored.lost = None; // as far as the copy goes, that is all there was
    }
    restored.went_back = went_back;
    if seen.version < latest {
        // a young database lives in itself, and not in its log alone
        checkpoint(&seen.link).map_err(say("setting up the database"))?;
    }
    if fresh {
        sync_folder(path);
    }
    let mark = MarkFile::open(path, restored.database.clone());
    mark.note_durably(seen.newest, false);
    Ok(Opened { link: seen.link, restored, newest: seen.newest, mark })
}

/// A connection by which all records are read at once, while no daemon does.
pub(in crate::store) fn open_alone(path: &Path) -> Result<Link, StoreError> {
    if !examine::is_there(path, mark::read_mark(path).as_ref())? {
        return Err(StoreError::Missing {
            path: path.to_owned(),
            what: "is missing: there is nothing to move".into(),
        });
    }
    open(path, Duration::from_secs(5)).map(|opened| opened.link)
}

/// An empty database that has no name yet: see [`put_in_place`].
pub(in crate::store) fn make(path: &Path) -> Result<Link, StoreError> {
    let fresh = files::beside(path, MOVING);
    let says = |error: rusqlite::Error| StoreError::of(error.into(), &fresh, "making a database");
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(files::beside(&fresh, suffix));
    }
    create(&fresh)?;
    let mut db = Connection::open(&fresh).map_err(says)?;
    pragmas(&db, &fresh, true).map_err(says)?;
    migrate(&mut db, &fresh, 0, MIGRATIONS)?;
    Ok(Link::new(db, fresh))
}

/// The database that was made and has no name yet, if there is one.
pub(in crate::store) fn made(path: &Path) -> Result<Option<Link>, StoreError> {
    let fresh = files::beside(path, MOVING);
    if !fresh.exists() {
        return Ok(None);
    }
    let says = |error: rusqlite::Error| StoreError::of(error.into(), &fresh, "opening a database");
    let db = Connection::open(&fresh).map_err(says)?;
    pragmas(&db, &fresh, false).map_err(says)?;
    Ok(Some(Link::new(db, fresh)))
}

/// Gives the database that was made the name; where what had it lies now.
pub(in crate::store) fn put_in_place(path: &Path, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    let fresh = files::beside(path, MOVING);
    let synced = fs::File::open(&fresh).and_then(|file| file.sync_all());
    synced.map_err(|error| StoreError::of_io(&error, &fresh, "writing"))?;
    let before = files::set_aside(path, now)?;
    fs::rename(&fresh, path).map_err(|error| StoreError::of_io(&error, path, "writing"))?;
    sync_folder(path);
    Ok(before)
}

/// Is it one that goes on elsewhere?
fn not_moved(db: &Sql, path: &Path) -> Result<(), StoreError> {
    let to = meta::value(db, meta::MOVED_TO)
        .map_err(|error| StoreError::of(error, path, "reading what the database says of itself"))?;
    match to {
        None => Ok(()),
        Some(to) => Err(StoreError::Moved { place: path.display().to_string(), to }),
    }
}

/// The connection of a writer whose last one failed. The database was looked at whole when the
/// daemon began.
pub(super) fn open_again(path: &Path, busy: Duration) -> Result<(Link, Seq), StoreError> {
    let says = |doing: &'static str| move |error: rusqlite::Error| StoreError::of(error.into(), path, doing);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(says("opening the database"))?;
    examine::keep_log(&db, true).map_err(says("opening the database"))?;
    db.busy_timeout(busy).map_err(says("setting the busy timeout"))?;
    pragmas(&db, path, false).map_err(says("setting up the database"))?;
    let link = Link::new(db, path.to_owned());
    let newest =
        reader::newest_seq(&link).map_err(|error| StoreError::of(error, path, "reading the newest event"))?;
    Ok((link, newest))
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
pub(super) fn looked_again(path: &Path, error: StoreError) -> StoreError {
    let reading = || StoreError::read_failed(&format!("reading the database {}", path.display()));
    examine::confirm(path, error).unwrap_or_else(reading)
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
    db.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// Applies what is missing, each migration in one transaction. An existing database is copied first.
pub(in crate::store) fn migrate(
    db: &mut Connection,
    path: &Path,
    from: i64,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let say = |doing: &'static str| move |error: rusqlite::Error| StoreError::of(error.into(), path, doing);
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

/// Writes the log into the database; true if that was all of it, and no reader held it up.
pub(super) fn checkpoint(link: &Link) -> SqlResult<bool> {
    let db: &Sql = link;
    db.one("PRAGMA wal_checkpoint(TRUNCATE)", &[], |row| Ok(row.get::<i64>(0)? == 0))
}

/// A new file is there after a power cut only if its folder was written, too.
pub(super) fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent() {
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
}
