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

/// How long another program that holds a lock is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its newest event.
    pub newest: Seq,
    /// Bytes of the file.
    pub bytes: u64,
    /// Where what was there before lies now.
    pub before: Option<PathBuf>,
}

/// Writes a copy of the database to `to`: of one instant, also while a daemon writes. The copy is one
/// file that only its owner can read, and it is checked. A file that is there is an error, unless it
/// may be replaced.
///
/// # Errors
/// `AlreadyExists` as [`StoreError::Refused`]; [`StoreError::NoPlace`]; what SQLite and the disk say.
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

/// Puts a copy in the place of the database, which is kept beside it. The caller holds the lock of the
/// state folder. The next daemon takes it for another database than before, whose events begin where
/// the copy ends. With the path of the database itself, what is there is taken for such a copy.
///
/// # Errors
/// [`StoreError::NoCopy`], [`StoreError::NoFile`]; [`StoreError::Corrupt`], [`StoreError::Newer`] of the copy; what SQLite and the disk say.
pub fn restore(path: &Path, from: &Path, now: Timestamp) -> Result<Copied, StoreError> {
    let in_place = same_file(path, from);
    if !in_place {
        examine::may_be_copy(from)?;
    } else if !examine::is_there(from, None)? {
        let what = "is empty: there is nothing to restore".into();
        return Err(StoreError::Missing { path: from.to_owned(), what });
    }
    let source = if in_place { examine::look(from, BUSY, None)?.link } else { checked_copy(from)? };
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

/// Sets the database aside and forgets that there was one: the next daemon begins anew. The caller
/// holds the lock of the state folder. Where the database lies now, if there was one.
///
/// # Errors
/// What the disk says.
pub fn reset(path: &Path, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    let before = files::set_aside(path, now)?;
    mark::forget(path).map_err(|error| StoreError::of_io(&error, &mark::place(path), "writing"))?;
    for name in ["daemon.json", "reserve"] {
        let _ = fs::remove_file(path.with_file_name(name));
    }
    Ok(before)
}

/// A copy that somebody brings is read without leaving anything beside it.
fn checked_copy(from: &Path) -> Result<Link, StoreError> {
    let has_log = fs::metadata(beside(from, "-wal")).is_ok_and(|found| found.len() > 0);
    if has_log {
        // what its log holds belongs to it
        return match examine::look(from, BUSY, None) {
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

/// The same question, for one with a log.
fn is_of_others(path: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags);
    db.is_ok_and(|db| examine::is_of_others(&db, path).unwrap_or(false))
}

/// A path in a URI (sqlite.org/uri.html).
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

/// Copies a database into a file of its own, checks it, and gives it its name only then.
fn copy_to(source: &Connection, path: &Path, to: &Path) -> Result<Seq, StoreError> {
    let fresh = beside(to, ".new");
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&fresh);
    // by the name that somebody gave, not by that of the file in between
    let made = made.map_err(|error| StoreError::of_io(&error, to, "writing"))?;
    // what a copying that was killed has left is written over; what another one writes is not
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
    // all of it in one step: what is written meanwhile is not in it
    let pages = Backup::new(source, &mut copy).and_then(|backup| {
        let mut last = backup.step(-1)?;
        for _ in 0..50 {
            if last == rusqlite::backup::StepResult::Done {
                break;
            }
            std::thread::sleep(BUSY / 50);
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

/// Says in the copy that it is one: a database in whose place it is put is known to be another then.
fn sign(copy: &Link, now: Timestamp) -> SqlResult<()> {
    meta::set(copy, meta::COPIED_AT, &now.to_string())?;
    meta::set(copy, meta::CLEAN, "yes")
}

/// Signs a copy that takes the place of a database.
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
