//! The location of a SQLite database: the open file must remain the one with its path.
use super::files::{self, FileId, file_id, id_of};
use super::link::Link;
use super::open::looked_again;
use crate::store::error::StoreError;
use crate::store::reader::Reader;
use crate::store::readers::ReaderSource;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A path, and the identity of the file there.
pub(in crate::store) struct Place {
    path: PathBuf,
    /// The file that the writer has open: a reader of another file would read another database.
    file: FileId,
}

impl Place {
    /// Identifies the file at a path.
    pub(in crate::store) fn of(path: &Path) -> Result<Self, StoreError> {
        let gone = || StoreError::Gone { path: path.to_owned(), what: "was removed while it was opened" };
        Ok(Self { path: path.to_owned(), file: file_id(path).ok_or_else(gone)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns an error if the path no longer refers to the open file.
    pub(super) fn still_there(&self) -> Result<(), StoreError> {
        let what = match std::fs::metadata(&self.path) {
            Ok(found) if id_of(&found) == self.file => return Ok(()),
            Ok(_) => "was replaced by another file while it was open",
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "was removed while it was open",
            Err(error) => return Err(StoreError::of_io(&error, &self.path, "looking at")),
        };
        Err(StoreError::Gone { path: self.path.clone(), what })
    }
}

impl ReaderSource for Arc<Place> {
    fn open(&self) -> Result<Reader, StoreError> {
        self.still_there()?;
        let reader = read_only(&self.path)?;
        self.still_there()?;
        Ok(reader)
    }

    fn confirm(&self, error: StoreError) -> StoreError {
        looked_again(&self.path, error)
    }
}

/// Opens a read-only view.
pub(in crate::store) fn read_only(path: &Path) -> Result<Reader, StoreError> {
    link_to_read(path).map(|link| Reader { db: Box::new(link), place: path.to_owned() })
}

/// Opens a read-only connection.
pub(super) fn link_to_read(path: &Path) -> Result<Link, StoreError> {
    files::are_files(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(Duration::from_secs(5))?;
        db.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; PRAGMA cache_size = -2048;")?;
        db.set_prepared_statement_cache_capacity(32);
        Ok(db)
    };
    // one failed read is retried before it is an error
    let again = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::SystemIoFailure) => open(),
        _ => Err(error),
    };
    let db = open()
        .or_else(again)
        .map_err(|error| StoreError::of(error.into(), path, "opening the database to read"))?;
    Ok(Link::new(db, path.to_owned()))
}
