//! Opening a database safely: checks, pragmas, migrations, and the restored state.
use super::examine::{self, Examined};
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
const MIN_SQLITE_VERSION: i32 = 3_051_003;
/// Suffix of a database that is being created by a move.
const MOVING_SUFFIX: &str = ".moving";

/// A database that is ready for the writer.
pub(in crate::store) struct Opened {
    pub(super) link: Link,
    pub(in crate::store) restored: Restored,
    pub(in crate::store) newest: Seq,
    pub(super) mark: MarkFile,
}

/// Opens the database for the writer. Until all checks have passed, nothing is changed.
pub(in crate::store) fn open(path: &Path, busy: Duration) -> Result<Opened, StoreError> {
    if rusqlite::version_number() < MIN_SQLITE_VERSION {
        return Err(StoreError::OldSqlite(rusqlite::version().into()));
    }
    files::are_files(path)?;
    let known = mark::read_mark(path);
    let fresh = !examine::is_there(path, known.as_ref())?;
    if fresh {
        create(path)?;
    }
    let mut seen = examine::look(path, busy, known.as_ref())?;
    let went_back = if fresh { None } else { compare_with_mark(path, &seen, known.as_ref())? };
    let say = |doing: &'static str| move |error| StoreError::of(error, path, doing);
    let says = |doing: &'static str| move |error: rusqlite::Error| StoreError::of(error.into(), path, doing);
    restrict_permissions(path);
    pragmas(&seen.link.db, path, fresh).map_err(says("setting up the database"))?;
    let latest = MIGRATIONS.len() as i64;
    if seen.version < latest {
        migrate(&mut seen.link.db, path, seen.version, MIGRATIONS)?;
    }
    // damage shows here, before anything more is written
    let db: &Sql = &seen.link;
    not_moved(db, path)?;
    let restored = read::restored(db).map_err(say("reading what was before"));
    let mut restored = restored.map_err(|error| looked_again(path, error))?;
    let of_move =
        meta::value(db, meta::MOVING_FROM).map_err(say("reading what the database says of itself"))?;
    if of_move.is_some() {
        // it was accepted when it was renamed
        meta::forget(db, meta::MOVING_FROM).map_err(say("marking the database as open"))?;
    }
    let taken = meta::take_up(db, went_back.as_ref()).or_else(|error| {
        // a full disk must not prevent the start and the report about it, as long as there is a reserve
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
        restored.lost = None; // the copy is complete: nothing was recorded after it
    }
    restored.went_back = went_back;
    if seen.version < latest {
        // checkpoint a new database, so that its content is not in the log alone
        checkpoint(&seen.link).map_err(say("setting up the database"))?;
    }
    if fresh {
        sync_folder(path);
    }
    let mark = MarkFile::open(path, restored.database.clone());
    mark.note_durably(seen.newest, false);
    Ok(Opened { link: seen.link, restored, newest: seen.newest, mark })
}

/// Opens a connection for reading all records at once, while no daemon uses them.
pub(in crate::store) fn open_alone(path: &Path) -> Result<Link, StoreError> {
    if !examine::is_there(path, mark::read_mark(path).as_ref())? {
        return Err(StoreError::Missing {
            path: path.to_owned(),
            what: "is missing: there is nothing to move".into(),
        });
    }
    open(path, Duration::from_secs(5)).map(|opened| opened.link)
}

/// Creates an empty database under a temporary name: see [`put_in_place`].
pub(in crate::store) fn make(path: &Path) -> Result<Link, StoreError> {
    let fresh = files::beside(path, MOVING_SUFFIX);
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

/// Opens the database under the temporary name, if there is one.
pub(in crate::store) fn made(path: &Path) -> Result<Option<Link>, StoreError> {
    let fresh = files::beside(path, MOVING_SUFFIX);
    if !fresh.exists() {
        return Ok(None);
    }
    let says = |error: rusqlite::Error| StoreError::of(error.into(), &fresh, "opening a database");
    let db = Connection::open(&fresh).map_err(says)?;
    pragmas(&db, &fresh, false).map_err(says)?;
    Ok(Some(Link::new(db, fresh)))
}

/// Renames the created database to its final path; returns the new path of the file that it replaces.
pub(in crate::store) fn put_in_place(path: &Path, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    let fresh = files::beside(path, MOVING_SUFFIX);
    let synced = fs::File::open(&fresh).and_then(|file| file.sync_all());
    synced.map_err(|error| StoreError::of_io(&error, &fresh, "writing"))?;
    let before = files::set_aside(path, now)?;
    fs::rename(&fresh, path).map_err(|error| StoreError::of_io(&error, path, "writing"))?;
    sync_folder(path);
    Ok(before)
}

/// Refuses a database whose records were moved elsewhere.
fn not_moved(db: &Sql, path: &Path) -> Result<(), StoreError> {
    let to = meta::value(db, meta::MOVED_TO)
        .map_err(|error| StoreError::of(error, path, "reading what the database says of itself"))?;
    match to {
        None => Ok(()),
        Some(to) => Err(StoreError::Moved { place: path.display().to_string(), to }),
    }
}

/// Opens a new connection for the writer after the last one failed. The database was examined
/// completely at the start of the daemon.
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

/// Compares the database with its mark. One that was put in place on purpose is accepted and
/// reported; one that has lost events is refused.
fn compare_with_mark(
    path: &Path,
    seen: &Examined,
    mark: Option<&Mark>,
) -> Result<Option<WentBack>, StoreError> {
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

/// Verifies apparent corruption; if it is not confirmed, the error becomes a transient one.
pub(super) fn looked_again(path: &Path, error: StoreError) -> StoreError {
    let reading = || StoreError::read_failed(&format!("reading the database {}", path.display()));
    examine::confirm(path, error).unwrap_or_else(reading)
}

/// Creates an empty file that only we can read.
fn create(path: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::of_io(&error, path, "making");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let made = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map(|_| ()).map_err(failed)
}

/// Removes the permissions of others, since output of agents is private.
fn restrict_permissions(path: &Path) {
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
    }
}

fn pragmas(db: &Connection, path: &Path, fresh: bool) -> rusqlite::Result<()> {
    if fresh {
        // has no effect on an existing file
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

/// Applies missing migrations, each in one transaction. An existing database is copied first.
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
        // VACUUM INTO accepts an empty file, and keeps its mode
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

/// Checkpoints the log into the database; returns true if that was complete, and not blocked by a reader.
pub(super) fn checkpoint(link: &Link) -> SqlResult<bool> {
    let db: &Sql = link;
    db.one("PRAGMA wal_checkpoint(TRUNCATE)", &[], |row| Ok(row.get::<i64>(0)? == 0))
}

/// Syncs the folder of a file: a new file survives a power failure only if its folder was synced, too.
pub(super) fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent() {
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
}
