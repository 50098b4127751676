//! Why something did not become durable, or could not be read.
use std::path::{Path, PathBuf};

/// Why something did not become durable, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error("no space left for the database {}", .0.display())]
    Full(PathBuf),
    /// The folder or the disk can't be written.
    #[error("the database {} can't be written: it is read-only", .0.display())]
    ReadOnly(PathBuf),
    /// Another program holds a lock on it.
    #[error("the database {} is locked by another program", .0.display())]
    Busy(PathBuf),
    /// It is damaged.
    #[error("the database {} is corrupt: {what}", .path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        what: String,
    },
    /// It is of a newer release.
    #[error("the database {} has version {found}, this program knows {known}", .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// SQLite has a bug that loses data.
    #[error("SQLite {0} has the WAL-reset bug; 3.51.3 or newer is needed")]
    OldSqlite(String),
    /// It breaks a rule of the database: an error of this program, which no further try mends.
    #[error("{doing}: refused: {what}")]
    Refused {
        /// What was tried.
        doing: String,
        /// What SQLite says.
        what: String,
    },
    /// Anything else that SQLite or the disk says.
    #[error("{doing}: {what}")]
    Other {
        /// What was tried.
        doing: String,
        /// What came of it.
        what: String,
    },
    /// The writer is gone: the process is going down.
    #[error("the writer has stopped")]
    Closed,
}

impl StoreError {
    /// May pass by itself: full, read-only, busy, an I/O error.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Full(_) | Self::ReadOnly(_) | Self::Busy(_) | Self::Other { .. })
    }
}

impl StoreError {
    /// What SQLite says, in our words. `doing` is what was tried.
    pub(super) fn of(error: rusqlite::Error, path: &Path, doing: &str) -> Self {
        use rusqlite::ErrorCode;
        let path = path.to_owned();
        let what = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(path),
            Some(ErrorCode::ReadOnly) => Self::ReadOnly(path),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(path),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { path, what },
            Some(
                ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::ApiMisuse,
            ) => Self::Refused { doing: format!("{doing} ({})", path.display()), what },
            _ => Self::Other { doing: format!("{doing} ({})", path.display()), what },
        }
    }
}
