//! The examination of a database before anything is changed: is it intact, and is it the one that was there?
//!
//! A failed read is not damage. Apparent damage is checked again, over another connection and by
//! reading both files completely; only confirmed damage is reported as corruption. Until all checks
//! have passed, closing the connection does not checkpoint the log, so that "nothing was changed"
//! is true.
use super::files::beside;
use super::link::Link;
use super::migrations::MIGRATIONS;
use crate::domain::{Seq, counted};
use crate::store::error::StoreError;
use crate::store::mark::{self, Mark};
use crate::store::{meta, reader};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

/// Maximum size of a database that is checked completely at a start, in bytes, so that starts stay quick.
const MAX_CHECKED_BYTES: u64 = 200 << 20;
/// The first bytes of a SQLite database (sqlite.org/fileformat.html, "Magic Header String").
const MAGIC: &[u8] = b"SQLite format 3\0";
/// The smallest page size: no database is shorter.
const MIN_DATABASE_BYTES: u64 = 512;
/// Number of attempts before a database is reported as corrupt, or before a failed read is given up.
const MAX_ATTEMPTS: u32 = 3;
/// Delay between attempts.
const RETRY_DELAY: Duration = Duration::from_millis(150);
/// Tables that every version has.
const BASE_TABLES: [&str; 5] = ["agents", "events", "ledger", "meta", "runs"];

/// The result of an examination.
pub(super) struct Examined {
    /// The connection used. Closing it does not checkpoint the log.
    pub(super) link: Link,
    /// The version of its tables; 0 if it has none yet.
    pub(super) version: i64,
    /// Whether the last daemon did not close it cleanly.
    pub(super) unclean: bool,
    /// Its identity, if it has one.
    pub(super) database: Option<String>,
    /// Its newest event.
    pub(super) newest: Seq,
    /// Whether it is a copy that was put here: by `bgagent store restore`, or by hand.
    pub(super) is_copy: bool,
}

/// Returns whether there is a database; false if there never was one. An error if it is missing
/// although there was one, or if the file is not a database.
pub(in crate::store) fn is_there(path: &Path, mark: Option<&Mark>) -> Result<bool, StoreError> {
    let of_io = |error: &io::Error| StoreError::of_io(error, path, "looking at");
    let bytes = match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            let what = "is not a file".into();
            return Err(StoreError::Missing { path: path.to_owned(), what });
        }
        Ok(found) => Some(found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(of_io(&error)),
    };
    let corrupt = |what: String| Err(StoreError::Corrupt { path: path.to_owned(), what });
    match bytes {
        None | Some(0) => {
            let Some(known) = evidence_of_database(path, mark) else { return Ok(false) };
            let state = if bytes.is_none() { "is missing" } else { "is empty" };
            Err(StoreError::Missing { path: path.to_owned(), what: format!("{state}, although {known}") })
        }
        Some(bytes) if bytes < MIN_DATABASE_BYTES => {
            corrupt(format!("it has {}, which is less than a page of a database", counted(bytes, "byte")))
        }
        Some(_) if has_magic(path).map_err(|error| of_io(&error))? => Ok(true),
        Some(_) => corrupt("it does not begin as a SQLite database does".into()),
    }
}

/// Refuses a file that can't be a copy because it is not a SQLite database.
pub(super) fn may_be_copy(path: &Path) -> Result<(), StoreError> {
    let no_copy = |what: &str| Err(StoreError::NoCopy { path: path.to_owned(), what: what.to_owned() });
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => no_copy("is a folder: name the copy in it"),
        Ok(found) if !found.is_file() => no_copy("is not a file"),
        Ok(found) if found.len() == 0 => no_copy("is empty"),
        Ok(found) if found.len() < MIN_DATABASE_BYTES => no_copy("is not a SQLite database"),
        Ok(_) if has_magic(path).map_err(|error| StoreError::of_io(&error, path, "reading"))? => Ok(()),
        Ok(_) => no_copy("is not a SQLite database"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NoFile(path.to_owned())),
        Err(error) => Err(StoreError::of_io(&error, path, "looking at")),
    }
}

/// Returns whether a database has tables, but none of ours.
pub(super) fn is_of_others(db: &Connection, path: &Path) -> Result<bool, StoreError> {
    let tables =
        tables(db).map_err(|error| StoreError::of(error.into(), path, "reading the database's schema"))?;
    Ok(!tables.is_empty() && !tables.iter().any(|table| BASE_TABLES.contains(&table.as_str())))
}

fn tables(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Returns how it is known that there was a database.
fn evidence_of_database(path: &Path, mark: Option<&Mark>) -> Option<String> {
    let log = beside(path, "-wal");
    if fs::metadata(&log).is_ok_and(|found| found.len() > 0) {
        return Some(format!("its log {} is there", log.display()));
    }
    if let Some(mark) = mark {
        let lock = mark::place(path);
        return Some(format!("{} says that it had come to event {}", lock.display(), mark.newest.0));
    }
    // both are written once there is a database, also by releases that left no mark
    let witness = ["daemon.json", "reserve"].map(|name| path.with_file_name(name));
    let witness = witness.into_iter().find(|file| file.exists())?;
    Some(format!("{} of an earlier daemon is there", witness.display()))
}

/// Checks the magic header, with retries, since a read can fail.
fn has_magic(path: &Path) -> io::Result<bool> {
    let mut last = Ok(false);
    for nth in 0..MAX_ATTEMPTS {
        if nth > 0 {
            std::thread::sleep(RETRY_DELAY);
        }
        let mut head = [0; 16];
        last = File::open(path).and_then(|file| file.read_exact_at(&mut head, 0)).map(|()| head == MAGIC);
        if matches!(last, Ok(true)) {
            break;
        }
    }
    last
}

/// How thorough an examination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Checked completely if the last daemon did not close it, and if it is not very large.
    AtStart,
    /// Checked completely.
    Whole,
}

/// Examines an existing database.
pub(super) fn look(path: &Path, busy: Duration, mark: Option<&Mark>) -> Result<Examined, StoreError> {
    look_at(path, busy, mark, Depth::AtStart)
}

fn look_at(path: &Path, busy: Duration, mark: Option<&Mark>, depth: Depth) -> Result<Examined, StoreError> {
    let mut nth = 1;
    loop {
        // the first attempt may skip the complete check; retries do not
        let depth = if nth > 1 { Depth::Whole } else { depth };
        match look_once(path, busy, mark, depth) {
            Ok(seen) => {
                if nth > 1 {
                    tracing::warn!("the database is whole: what looked wrong was a read that had failed");
                }
                return Ok(seen);
            }
            Err(error @ (StoreError::Corrupt { .. } | StoreError::Other { .. })) if nth < MAX_ATTEMPTS => {
                tracing::warn!(%error, "looking at the database again");
                std::thread::sleep(RETRY_DELAY);
                nth += 1;
            }
            Err(error @ StoreError::Corrupt { .. }) => return Err(confirm_readable(path, error)),
            Err(error) => return Err(error),
        }
    }
}

fn look_once(path: &Path, busy: Duration, mark: Option<&Mark>, depth: Depth) -> Result<Examined, StoreError> {
    let says = |doing: &'static str| move |error: rusqlite::Error| StoreError::of(error.into(), path, doing);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(says("opening the database"))?;
    keep_log(&db, true).map_err(says("opening the database"))?;
    db.busy_timeout(busy).map_err(says("setting the busy timeout"))?;
    let version = version_of(&db, path)?;
    let link = Link::new(db, path.to_owned());
    if version == 0 {
        let seen = Examined { link, version, unclean: false, database: None, newest: Seq(0), is_copy: false };
        return Ok(seen);
    }
    let value = |key: &str| {
        meta::value(&link, key)
            .map_err(|error| StoreError::of(error, path, "reading what the database says of itself"))
    };
    let clean = value(meta::CLEAN)?;
    let is_copy = value(meta::COPIED_AT)?.is_some();
    let database = value(meta::DATABASE)?;
    let unclean = clean.as_deref() != Some("yes") || mark.is_some_and(|mark| !mark.closed);
    match depth {
        Depth::Whole => quick_check(&link.db, path)?,
        Depth::AtStart if is_large(path) && (unclean || is_copy) => {
            tracing::info!("the database is large; it is not checked whole after an unclean end");
        }
        Depth::AtStart if unclean || is_copy => quick_check(&link.db, path)?,
        Depth::AtStart => {}
    }
    let newest =
        reader::newest_seq(&link).map_err(|error| StoreError::of(error, path, "reading the newest event"))?;
    Ok(Examined { link, version, unclean, database, newest, is_copy })
}

/// Sets whether closing the connection leaves the log as it is (`SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE`).
pub(super) fn keep_log(db: &Connection, keep: bool) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(|_| ())
}

/// Returns the version of the tables. A version that contradicts the tables is damage.
pub(super) fn version_of(db: &Connection, path: &Path) -> Result<i64, StoreError> {
    let version: rusqlite::Result<i64> = db.query_row("PRAGMA user_version", [], |row| row.get(0));
    let version =
        version.map_err(|error| StoreError::of(error.into(), path, "reading the database's version"))?;
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known });
    }
    let tables =
        tables(db).map_err(|error| StoreError::of(error.into(), path, "reading the database's schema"))?;
    let corrupt = |what: String| Err(StoreError::Corrupt { path: path.to_owned(), what });
    let lacks = BASE_TABLES.iter().find(|wanted| !tables.iter().any(|table| table == *wanted));
    match (version, lacks) {
        (0, _) if tables.is_empty() => Ok(0),
        (..=0, _) => corrupt(format!("its version (`user_version`) is {version}, and it has tables")),
        (_, Some(table)) => {
            corrupt(format!("its version is {version}, and it has no table `{table}`: is it one of bgagent?"))
        }
        (_, None) => Ok(version),
    }
}

fn is_large(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() > MAX_CHECKED_BYTES)
}

/// Runs `PRAGMA quick_check`. A failed read is not damage.
pub(super) fn quick_check(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let doing = "checking the database";
    let first: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| StoreError::of(error.into(), path, doing))?;
    match first.as_str() {
        "ok" => Ok(()),
        failed if is_failed_read(failed) => {
            Err(StoreError::Other { doing: format!("{doing} ({})", path.display()), what: first })
        }
        _ => Err(StoreError::Corrupt { path: path.to_owned(), what: first }),
    }
}

/// Returns whether the check reports a failed read, by the code of an I/O error
/// (sqlite.org/rescode.html: the lowest byte of an extended code is 10).
fn is_failed_read(found: &str) -> bool {
    let code = found.split("error code").nth(1).map(|rest| rest.trim_start_matches(['=', ' ', ':']));
    let digits = code.map(|code| code.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.and_then(|digits| digits.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 10)
}

/// Distinguishes corruption from unreadable sectors, by reading both files completely.
fn confirm_readable(path: &Path, found: StoreError) -> StoreError {
    for file in [path.to_owned(), beside(path, "-wal")] {
        match read_completely(&file) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return StoreError::of_io(&error, &file, "reading"),
        }
    }
    found
}

fn read_completely(file: &Path) -> io::Result<()> {
    let file = File::open(file)?;
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(()),
            read => at += read as u64,
        }
    }
}

/// Verifies the damage of an open database, over a separate connection and by reading the files
/// completely. `None`: the database is intact.
pub(super) fn confirm(path: &Path, found: StoreError) -> Option<StoreError> {
    let StoreError::Corrupt { .. } = found else { return Some(found) };
    match look_at(path, Duration::from_secs(1), None, Depth::Whole).map(drop) {
        Ok(()) => None,
        Err(error @ StoreError::Corrupt { .. }) => Some(error),
        Err(other) => Some(StoreError::Other {
            doing: "looking again at the database, of which a page seemed damaged".into(),
            what: other.to_string(),
        }),
    }
}

/// Returns whether the file was changed or put here after `mark` was noted. The time of a file's
/// last status change (stat(2), `st_ctim`) can't be set, and the daemon notes its mark after its
/// own last write.
pub(in crate::store) fn changed_since(path: &Path, mark: &Mark) -> bool {
    fs::metadata(path).is_ok_and(|found| {
        let changed = i128::from(found.ctime()) * 1_000_000 + i128::from(found.ctime_nsec()) / 1000;
        changed > i128::from(mark.at.as_microsecond())
    })
}

#[cfg(test)]
mod tests {
    //! Tests of words.
    use super::*;

    #[test]
    fn a_failed_read_is_told_from_damage() {
        for (text, failed) in [
            ("Tree 5 page 7: unable to get the page. error code=266", true),
            ("Tree 9 page 9: btreeInitPage() returns error code 10", true),
            ("Tree 5 page 7: btreeInitPage() returns error code 11", false),
            ("row 1 missing from index x", false),
            ("error code", false),
        ] {
            assert_eq!(is_failed_read(text), failed, "{text}");
        }
    }
}
