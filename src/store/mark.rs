//! A record of the database's state outside of it: its identity, and its newest event.
//!
//! A database that lost its log, or was replaced by an older copy, looks intact. So each commit is
//! noted in the lock file of the state folder, behind the line with the lock holder: overwritten in
//! place and not synced, so that it costs next to nothing. The mark is never ahead of what is
//! durable, and after a power failure at most behind it.
use super::sqlite::is_no_file;
use crate::domain::Seq;
use jiff::Timestamp;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Number of bytes at the start of the lock file that belong to the lock: the pid of its holder,
/// and a newline.
pub const LOCK_HOLDER_BYTES: u64 = 21;

/// How far a database had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Mark {
    pub(in crate::store) database: String,
    /// Its newest event.
    pub(in crate::store) newest: Seq,
    /// When this was noted.
    pub(in crate::store) at: Timestamp,
    /// Whether it was closed cleanly.
    pub(in crate::store) closed: bool,
}

impl Mark {
    /// Formats a line of fixed length, so that it can be overwritten.
    fn line(&self) -> String {
        let Self { database, newest, at, closed } = self;
        let state = if *closed { "shut" } else { "open" };
        format!(
            "database {database:<36} event {:020} at {:020} {state}\n",
            newest.0,
            at.as_microsecond().max(0)
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["database", database, "event", newest, "at", at, state] = words[..] else { return None };
        Some(Self {
            database: database.to_owned(),
            newest: Seq(newest.parse().ok()?),
            at: Timestamp::from_microsecond(at.parse().ok()?).ok()?,
            closed: state == "shut",
        })
    }
}

/// Returns the file that holds the mark: the lock beside the database.
pub(super) fn place(database: &Path) -> PathBuf {
    database.with_file_name("lock")
}

/// Reads the mark beside a database, if there is one.
pub(in crate::store) fn read_mark(database: &Path) -> Option<Mark> {
    let place = place(database);
    if is_no_file(&place) {
        return None;
    }
    let bytes = std::fs::read(place).ok()?;
    let ours = bytes.get(usize::try_from(LOCK_HOLDER_BYTES).ok()?..)?;
    Mark::parse(std::str::from_utf8(ours).ok()?.lines().next()?)
}

/// Deletes the mark.
pub(super) fn forget(database: &Path) -> io::Result<()> {
    if is_no_file(&place(database)) {
        return Err(io::Error::other(format!("{} is not a file: move it away", place(database).display())));
    }
    match OpenOptions::new().write(true).open(place(database)) {
        Ok(file) => file.set_len(LOCK_HOLDER_BYTES).and_then(|()| file.sync_all()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The file in which the writer notes its progress.
#[derive(Debug)]
pub(in crate::store) struct MarkFile {
    file: Option<File>,
    database: String,
}

impl MarkFile {
    /// Opens the mark of a database. If the file can't be opened, a warning is logged and nothing is noted.
    pub(in crate::store) fn open(path: &Path, database: String) -> Self {
        let place = place(path);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&place);
        if let Err(error) = &opened {
            tracing::warn!("{} can't be written ({error}): a lost log would not be noticed", place.display());
        }
        Self { file: opened.ok(), database }
    }

    /// Notes the newest event.
    pub(in crate::store) fn note(&self, newest: Seq, closed: bool) {
        let Some(file) = &self.file else { return };
        let mark = Mark { database: self.database.clone(), newest, at: Timestamp::now(), closed };
        // a failed write leaves an older mark, which is weaker but not wrong
        let _ = file.write_all_at(mark.line().as_bytes(), LOCK_HOLDER_BYTES);
    }

    /// Notes the newest event and syncs the file.
    pub(super) fn note_durably(&self, newest: Seq, closed: bool) {
        self.note(newest, closed);
        if let Some(file) = &self.file {
            let _ = file.sync_data();
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the line.
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bgagent.db");
        assert_eq!(read_mark(&path), None);
        std::fs::write(folder.path().join("lock"), "4711").unwrap();
        assert_eq!(read_mark(&path), None, "a lock of an older release");
        let file = MarkFile::open(&path, "0199-a".into());
        for (newest, closed) in [(7, false), (123_456_789, true), (3, false)] {
            file.note(Seq(newest), closed);
            let mark = read_mark(&path).unwrap();
            assert_eq!((&*mark.database, mark.newest.0, mark.closed), ("0199-a", newest, closed));
        }
        forget(&path).unwrap();
        assert_eq!(read_mark(&path), None);
        for line in ["", "database a event x at 1 open", "database a event 1 at 1"] {
            assert_eq!(Mark::parse(line), None, "{line}");
        }
    }
}
