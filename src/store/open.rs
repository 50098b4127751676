//! The way to a database that can be trusted: checks, pragmas, migrations, and what it remembers.
use super::read;
use super::{Restored, StoreError};
use crate::domain::Seq;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
];
/// The first release of SQLite without the WAL-reset bug (sqlite.org/wal.html#walresetbug).
const OLDEST_SQLITE: i32 = 3_051_003;
/// A database larger than this is not checked whole at a start, so that a start stays quick.
const CHECK_UP_TO: u64 = 200 << 20;

/// Opens the database for the writer.
pub(super) fn open(path: &Path, busy: Duration) -> Result<(Connection, Restored, Seq), StoreError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(StoreError::OldSqlite(rusqlite::version().into()));
    }
    no_log_without_database(path)?;
    let fresh = create(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let say = |doing: &'static str| move |error| StoreError::of(error, path, doing);
    let mut db = Connection::open_with_flags(path, flags).map_err(say("opening the database"))?;
    db.busy_timeout(busy).map_err(say("setting the busy timeout"))?;
    let version = version_of(&db, path)?;
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known });
    }
    let unclean = !fresh && version > 0 && !was_closed(&db);
    if unclean {
        quick_check(&db, path)?;
    }
    pragmas(&db, fresh).map_err(say("setting up the database"))?;
    if version < known {
        migrate(&mut db, path, version, MIGRATIONS)?;
    }
    if fresh {
        sync_folder(path);
    }
    // a damaged database shows here, before anything is written
    let mut restored = read::restored(&db).map_err(say("reading what was before"))?;
    let newest = read::newest_seq(&db).map_err(say("reading the newest event"))?;
    let database = identity(&db).map_err(say("reading the database's identity"))?;
    db.execute("INSERT OR REPLACE INTO meta(key, value) VALUES ('clean', 'no')", [])
        .map_err(say("marking the database as open"))?;
    restored.database = database;
    restored.unclean = unclean;
    Ok((db, restored, newest))
}

/// A log without its database would be thrown away by making a new one, and with it what a copy of
/// the database needs beside it.
fn no_log_without_database(path: &Path) -> Result<(), StoreError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let is_empty = |file: &Path| fs::metadata(file).map_or(0, |found| found.len()) == 0;
    if is_empty(path) && !is_empty(Path::new(&log)) {
        let state = if path.exists() { "empty" } else { "missing" };
        let what = format!(
            "it is {state}, but its log {} is not; put the database back beside its log, or move the log away to begin anew",
            Path::new(&log).display()
        );
        return Err(StoreError::Corrupt { path: path.to_owned(), what });
    }
    Ok(())
}

/// Makes an empty file that only we can read. True: there was none.
fn create(path: &Path) -> Result<bool, StoreError> {
    let other = |what: io::Error| match what.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            StoreError::ReadOnly(path.to_owned())
        }
        io::ErrorKind::StorageFull => StoreError::Full(path.to_owned()),
        _ => StoreError::Other { doing: format!("making {}", path.display()), what: what.to_string() },
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(other)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::metadata(path).map_err(other)?;
            if found.permissions().mode() & 0o077 != 0 {
                let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
            }
            Ok(found.len() == 0)
        }
        Err(error) => Err(other(error)),
    }
}

/// The first look at the file: one that is no database shows here, before anything is changed.
fn version_of(db: &Connection, path: &Path) -> Result<i64, StoreError> {
    let version = db.query_row("PRAGMA user_version", [], |row| row.get(0));
    let version = version.map_err(|error| StoreError::of(error, path, "reading the database's version"))?;
    db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
        .map_err(|error| StoreError::of(error, path, "reading the database's schema"))?;
    Ok(version)
}

fn was_closed(db: &Connection) -> bool {
    db.query_row("SELECT value FROM meta WHERE key = 'clean'", [], |row| row.get::<_, String>(0))
        .is_ok_and(|clean| clean == "yes")
}

fn quick_check(db: &Connection, path: &Path) -> Result<(), StoreError> {
    if fs::metadata(path).is_ok_and(|found| found.len() > CHECK_UP_TO) {
        tracing::info!("the database is large; it is not checked whole after an unclean end");
        return Ok(());
    }
    let first: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| StoreError::of(error, path, "checking the database"))?;
    if first == "ok" { Ok(()) } else { Err(StoreError::Corrupt { path: path.to_owned(), what: first }) }
}

fn pragmas(db: &Connection, fresh: bool) -> rusqlite::Result<()> {
    if fresh {
        // on any other file it would be a write without an effect
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0;
         PRAGMA cell_size_check = ON; PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 2000;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192;",
    )?;
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
        let _ = fs::remove_file(&copy);
        db.execute("VACUUM INTO ?1", [copy.display().to_string()])
            .map_err(say("copying the database before a migration"))?;
        let _ = fs::File::open(&copy).and_then(|file| file.sync_all());
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

fn identity(db: &Connection) -> rusqlite::Result<String> {
    let fresh = uuid::Uuid::now_v7().to_string();
    db.execute("INSERT OR IGNORE INTO meta(key, value) VALUES ('database', ?1)", [fresh])?;
    db.query_row("SELECT value FROM meta WHERE key = 'database'", [], |row| row.get(0))
}

/// A new file is there after a power cut only if its folder was written, too.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent() {
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
}
