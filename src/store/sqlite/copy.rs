//! Copies of the database: made while it is in use, and put in its place on purpose.
use super::examine;
use super::files::{self, beside};
use super::link::Link;
use super::open::{self, sync_folder};
use super::place;
use crate::domain::Seq;
use crate::store::error::StoreError;
use crate::store::mark;
use crate::store::sql::SqlResult;
use crate::store::{meta, reader};
use jiff::Timestamp;
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for a lock of another program.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A completed copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its newest event.
    pub newest: Seq,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// The new path of the replaced database.
    pub before: Option<PathBuf>,
}

/// Writes a copy of the database to `to`: a consistent snapshot, even while a daemon writes. The
/// copy is one file, readable only by its owner, and it is checked. An existing file is an error,
/// unless it may be replaced.
///
/// # Errors
/// An existing file as [`StoreError::Refused`]; [`StoreError::NoPlace`]; errors of SQLite and the disk.
pub fn back_up(path: &Path, to: &Path, replace: bool) -> Result<Copied, StoreError> {
    let refused = |what: &str| {
        Err(StoreError::Refused { doing: format!("copying to {}", to.display()), what: what.to_owned() })
    };
    if same_file(path, to) {
        return refused("it is the database itself");
    }
    if to.is_dir() {
        return Err(StoreError::NoPlace {
            path: to.to_owned(),
            what: "it is a folder; name a file in it".into(),
        });
    }
    if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        let what = format!("there is no folder {}", folder.display());
        return Err(StoreError::NoPlace { path: to.to_owned(), what });
    }
    if to.symlink_metadata().is_ok() && !replace {
        return refused("it is there already");
    }
    if !path.exists() {
        let what = "is missing: there is nothing to copy".into();
        return Err(StoreError::Missing { path: path.to_owned(), what });
    }
    let newest = copy_to(&place::link_to_read(path)?.db, path, to)?;
    Ok(Copied { newest, bytes: fs::metadata(to).map_or(0, |found| found.len()), before: None })
}

/// Replaces the database with a copy, and keeps the former beside it. The caller holds the lock of
/// the state folder. The next daemon treats it as another database, whose events continue from the
/// end of the copy. Given the path of the database itself, the existing file is treated as such a
/// copy.
///
/// # Errors
/// [`StoreError::NoCopy`], [`StoreError::NoFile`]; [`StoreError::Corrupt`], [`StoreError::Newer`]
/// of the copy; errors of SQLite and the disk.
pub fn restore(path: &Path, from: &Path, now: Timestamp) -> Result<Copied, StoreError> {
    let in_place = same_file(path, from);
    if !in_place {
        examine::may_be_copy(from)?;
    } else if !examine::is_there(from, None)? {
        let what = "is empty: there is nothing to restore".into();
        return Err(StoreError::Missing { path: from.to_owned(), what });
    }
    let source = if in_place { examine::look(from, BUSY_TIMEOUT, None)?.link } else { checked_copy(from)? };
    let of = |error: rusqlite::Error| StoreError::of(error.into(), from, "reading");
    if source.db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).map_err(of)? == 0 {
        let (path, what) = (from.to_owned(), "holds nothing: there is nothing to restore".into());
        return Err(if in_place {
            StoreError::Missing { path, what }
        } else {
            StoreError::NoCopy { path, what }
        });
    }
    if in_place {
        put_back(&source, now).map_err(|error| StoreError::of(error, path, "restoring"))?;
        open::checkpoint(&source).map_err(|error| StoreError::of(error, path, "restoring"))?;
        let newest = reader::newest_seq(&source).map_err(|error| StoreError::of(error, from, "reading"))?;
        return Ok(Copied { newest, bytes: fs::metadata(path).map_or(0, |found| found.len()), before: None });
    }
    let fresh = beside(path, ".restoring");
    let newest = copy_to(&source.db, from, &fresh)?;
    let copy = Connection::open(&fresh).map_err(|error| StoreError::of(error.into(), &fresh, "restoring"))?;
    let copy = Link::new(copy, fresh.clone());
    put_back(&copy, now).map_err(|error| StoreError::of(error, &fresh, "restoring"))?;
    drop(copy);
    let before = files::set_aside(path, now)?;
    fs::rename(&fresh, path).map_err(|error| StoreError::of_io(&error, path, "writing"))?;
    sync_folder(path);
    Ok(Copied { newest, bytes: fs::metadata(path).map_or(0, |found| found.len()), before })
}

/// Sets the database aside and deletes its mark: the next daemon starts with an empty one. The
/// caller holds the lock of the state folder. Returns the new path of the database, if there was
/// one.
///
/// # Errors
/// An I/O error.
pub fn reset(path: &Path, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    let before = files::set_aside(path, now)?;
    mark::forget(path).map_err(|error| StoreError::of_io(&error, &mark::place(path), "writing"))?;
    for name in ["daemon.json", "reserve"] {
        let _ = fs::remove_file(path.with_file_name(name));
    }
    Ok(before)
}

/// Opens a copy without leaving any file beside it.
fn checked_copy(from: &Path) -> Result<Link, StoreError> {
    let has_log = fs::metadata(beside(from, "-wal")).is_ok_and(|found| found.len() > 0);
    if has_log {
        // the content of its log belongs to it
        return match examine::look(from, BUSY_TIMEOUT, None) {
            Err(StoreError::Corrupt { .. }) if is_of_others(from) => Err(of_others(from)),
            seen => Ok(seen?.link),
        };
    }
    let doing = "opening the copy";
    let uri = format!("file:{}?immutable=1", encoded(from));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db =
        Connection::open_with_flags(uri, flags).map_err(|error| StoreError::of(error.into(), from, doing))?;
    if examine::is_of_others(&db, from)? {
        return Err(of_others(from));
    }
    examine::version_of(&db, from)?;
    examine::quick_check(&db, from)?;
    Ok(Link::new(db, from.to_owned()))
}

fn of_others(path: &Path) -> StoreError {
    let what = "is not a database of bgagent: it has other tables".into();
    StoreError::NoCopy { path: path.to_owned(), what }
}

/// Checks the same for a copy with a log.
fn is_of_others(path: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags);
    db.is_ok_and(|db| examine::is_of_others(&db, path).unwrap_or(false))
}

/// Encodes a path for a URI (sqlite.org/uri.html).
fn encoded(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut text = String::new();
    for byte in absolute.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Copies a database into a temporary file, checks it, and only then renames it.
fn copy_to(source: &Connection, path: &Path, to: &Path) -> Result<Seq, StoreError> {
    let fresh = beside(to, ".new");
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&fresh);
    // report the requested path, not that of the temporary file
    let made = made.map_err(|error| StoreError::of_io(&error, to, "writing"))?;
    // overwrites the leftover of a killed copy, but not the file of a running one
    match made.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let doing = format!("copying to {}", to.display());
            return Err(StoreError::Refused { doing, what: "it is being written by another copying".into() });
        }
        Err(fs::TryLockError::Error(error)) => return Err(StoreError::of_io(&error, &fresh, "locking")),
    }
    made.set_len(0).map_err(|error| StoreError::of_io(&error, &fresh, "writing"))?;
    let copied = copy_into(source, path, &fresh);
    let named = copied.and_then(|newest| {
        fs::rename(&fresh, to).map_err(|error| StoreError::of_io(&error, to, "writing"))?;
        sync_folder(to);
        Ok(newest)
    });
    if named.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    named
}

fn copy_into(source: &Connection, path: &Path, fresh: &Path) -> Result<Seq, StoreError> {
    let of = |error: rusqlite::Error| StoreError::of(error.into(), path, "copying the database");
    let mut copy = Connection::open(fresh).map_err(of)?;
    // all of it in one step: later writes are not included
    let pages = Backup::new(source, &mut copy).and_then(|backup| {
        let mut last = backup.step(-1)?;
        for _ in 0..50 {
            if last == rusqlite::backup::StepResult::Done {
                break;
            }
            std::thread::sleep(BUSY_TIMEOUT / 50);
            last = backup.step(-1)?;
        }
        Ok(last)
    });
    if pages.map_err(of)? != rusqlite::backup::StepResult::Done {
        return Err(StoreError::Busy(path.to_owned()));
    }
    let of = |error: rusqlite::Error| StoreError::of(error.into(), fresh, "writing the copy");
    let of_sql = |error| StoreError::of(error, fresh, "writing the copy");
    // one file, without a log beside it
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).map_err(of)?;
    let copy = Link::new(copy, fresh.to_owned());
    sign(&copy, Timestamp::now()).map_err(of_sql)?;
    examine::quick_check(&copy.db, fresh)?;
    let newest = reader::newest_seq(&copy).map_err(of_sql)?;
    copy.db.close().map_err(|(_, error)| of(error))?;
    let synced = fs::File::open(fresh).and_then(|file| file.sync_all());
    synced.map_err(|error| StoreError::of_io(&error, fresh, "writing"))?;
    Ok(newest)
}

/// Marks the copy as one, so that the database is treated as a different one once the copy takes its place.
fn sign(copy: &Link, now: Timestamp) -> SqlResult<()> {
    meta::set(copy, meta::COPIED_AT, &now.to_string())?;
    meta::set(copy, meta::CLEAN, "yes")
}

/// Marks a copy that takes the place of a database.
fn put_back(copy: &Link, now: Timestamp) -> SqlResult<()> {
    meta::set(copy, meta::PUT_BACK_AT, &now.to_string())?;
    sign(copy, now)
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
