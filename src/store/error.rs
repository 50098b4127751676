//! Errors of the store.
use super::sql::{SqlError, SqlErrorKind};
use crate::domain::counted;
use std::path::{Path, PathBuf};

/// Why something did not become durable, or could not be read.
#[derive(Debug, Clone, thiserror::Error)]
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
    /// It is damaged; a second check has confirmed it.
    #[error("the database {} is corrupt: {what}", .path.display())]
    Corrupt { path: PathBuf, what: String },
    /// There was a database, and it is missing or empty.
    #[error("the database {} {what}", .path.display())]
    Missing {
        path: PathBuf,
        /// How it is missing, and how that is known: `is missing, although …`.
        what: String,
    },
    /// The file named as a copy of the database is not one.
    #[error("{} {what}", .path.display())]
    NoCopy {
        path: PathBuf,
        /// What it is instead: `is no SQLite database`.
        what: String,
    },
    /// A copy can't be written at the requested path.
    #[error("can't write {}: {what}", .path.display())]
    NoPlace {
        path: PathBuf,
        /// Why not: `it is a folder; name a file in it`.
        what: String,
    },
    /// The named file does not exist.
    #[error("there is no file {}", .0.display())]
    NoFile(PathBuf),
    /// It is an older state than before, and no person has put it there.
    #[error(
        "the database {} is older than it was: its newest event is {newest}, and the lock beside it says that it had come to event {known}",
        .path.display()
    )]
    Behind {
        path: PathBuf,
        /// Its newest event.
        newest: u64,
        /// The newest event that was recorded before.
        known: u64,
    },
    /// Its file was removed or replaced while it was open.
    #[error("the database {} {what}: what happens can't be recorded there", .path.display())]
    Gone {
        path: PathBuf,
        /// What happened to it: `was removed`.
        what: &'static str,
    },
    /// It was written by a newer release.
    #[error("the database {} has version {found}, this program knows {known}", .path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// SQLite has a bug that loses data.
    #[error("SQLite {0} has the WAL-reset bug; 3.51.3 or newer is needed")]
    OldSqlite(String),
    /// A statement violates a constraint: an error of this program, which retrying does not fix.
    #[error("{doing}: refused: {what}")]
    Refused {
        doing: String,
        /// The error of SQLite.
        what: String,
    },
    /// The server of the database does not answer, or the connection was lost.
    #[error("the database {place} can't be reached: {what}")]
    Unreachable { place: String, what: String },
    /// The server refuses the connection, or does not meet the configuration.
    #[error("the database {place} can't be used: {what}")]
    Rejected { place: String, what: String },
    /// The server may lose committed data.
    #[error("the database {place} is not durable enough: {what}")]
    NotDurable {
        place: String,
        /// What is missing.
        what: String,
    },
    /// Another daemon leads.
    #[error("the database {place} is written by another daemon: {by}")]
    Taken {
        place: String,
        /// Its machine and its state folder.
        by: String,
        /// Seconds until its lease expires, unless it renews it.
        left_secs: u64,
    },
    /// Another daemon has taken the lead from this one.
    #[error("the database {place} is led by another daemon now: {by}")]
    Fenced {
        place: String,
        /// Its machine and its state folder.
        by: String,
    },
    /// Moving all records to it was interrupted: they may be in use at either place.
    #[error("the records of {from} were being moved to the database {place}, and that was not finished")]
    HalfMoved {
        place: String,
        /// Where they came from.
        from: String,
    },
    /// Its records were moved elsewhere.
    #[error("the database {place} was moved to {to}")]
    Moved {
        place: String,
        /// Where they are now.
        to: String,
    },
    /// Any other error of SQLite or the disk.
    #[error("{doing}: {what}")]
    Other { doing: String, what: String },
    /// The writer has stopped: the process is shutting down.
    #[error("the writer has stopped")]
    Closed,
}

impl StoreError {
    /// Damage that SQLite reported and a check of the file did not find: a failed disk read.
    pub(super) fn read_failed(doing: &str) -> Self {
        Self::Other {
            doing: doing.to_owned(),
            what: "a read failed; a second look found the file whole".into(),
        }
    }

    /// Returns whether the error is transient: full, read-only, busy, removed, an I/O error.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Full(_)
                | Self::ReadOnly(_)
                | Self::Busy(_)
                | Self::Gone { .. }
                | Self::Unreachable { .. }
                | Self::Rejected { .. }
                | Self::Other { .. }
        )
    }

    /// Returns whether the state of the database is wrong and only a person can fix it: retrying
    /// does not help.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Missing { .. } | Self::Behind { .. } | Self::Newer { .. })
    }

    /// Returns advice for people.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Corrupt { path, .. } => Some(format!(
                "neither it nor its log was changed; `bgagent store restore COPY` puts a copy in its place (one that `bgagent store backup` made) and keeps it beside; without a copy, `sqlite3 {} .recover | sqlite3 NEW` saves what can be read, and NEW is restored in the same way",
                path.display()
            )),
            Self::Missing { path, .. } => Some(format!(
                "nothing was changed; {}`bgagent store restore COPY` puts a copy in its place (one that `bgagent store \
                 backup` made), `bgagent store reset` starts afresh",
                copies(path)
            )),
            Self::Behind { path, .. } => Some(format!(
                "its log {}-wal is lost, or not the one that belongs to it: put it back. `bgagent store restore {}` goes on with this older state: slots of the time since then may run a second time. Nothing was changed",
                path.display(),
                path.display()
            )),
            Self::NoCopy { .. } => Some(
                "nothing was changed; name a copy that `bgagent store backup FILE` made".into(),
            ),
            Self::NoFile(_) => Some(
                "is its name right, and the folder? Nothing was changed; a copy is what `bgagent store backup FILE` made"
                    .into(),
            ),
            Self::Newer { .. } => Some("install the newer release again; nothing was changed".into()),
            Self::Gone { path, .. } => Some(format!(
                "move the file back to {}; else stop the daemon, and `bgagent store restore COPY`",
                path.display()
            )),
            Self::Taken { left_secs, .. } => Some(format!(
                "stop that one first; one that has died gives way in {}. Two fleets need two schemas (`schema` of [store])",
                counted(*left_secs, "second")
            )),
            Self::Fenced { .. } => Some("nothing more was written here; end one of the two daemons".into()),
            Self::HalfMoved { .. } => Some(
                "run the same `bgagent store copy` again with the configuration that names the old place: it finishes the move"
                    .into(),
            ),
            Self::Moved { .. } => Some(
                "set [store] in the configuration to where it is; `bgagent store copy` moves it back".into(),
            ),
            _ => None,
        }
    }

    /// Converts an error of the database. `doing` names the operation.
    pub(super) fn of(error: SqlError, place: &Path, doing: &str) -> Self {
        let SqlError { kind, what } = error;
        let path = place.to_owned();
        match kind {
            SqlErrorKind::Full => Self::Full(path),
            SqlErrorKind::ReadOnly => Self::ReadOnly(path),
            SqlErrorKind::Busy => Self::Busy(path),
            SqlErrorKind::Corrupt => Self::Corrupt { path, what },
            SqlErrorKind::Lost => Self::Unreachable { place: path.display().to_string(), what },
            SqlErrorKind::Fenced => Self::Fenced { place: path.display().to_string(), by: what },
            SqlErrorKind::Refused | SqlErrorKind::OfRules => {
                Self::Refused { doing: format!("{doing} ({})", path.display()), what }
            }
            SqlErrorKind::Other => Self::Other { doing: format!("{doing} ({})", path.display()), what },
        }
    }

    /// Converts an I/O error of a file.
    pub(super) fn of_io(error: &std::io::Error, path: &Path, doing: &str) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Self::ReadOnly(path.to_owned()),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full(path.to_owned()),
            _ => Self::Other { doing: format!("{doing} {}", path.display()), what: error.to_string() },
        }
    }
}

/// Mentions the newest copy of the database beside it, as half a sentence.
fn copies(path: &Path) -> String {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return String::new();
    };
    let is_copy = |other: &str| {
        other.strip_prefix(name).is_some_and(|rest| {
            (rest.ends_with(".bak") || rest.starts_with(".before-")) && !rest.ends_with("-wal")
        })
    };
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_copy))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort();
    match found.pop() {
        Some((_, copy)) => format!("there is an older copy, {}; ", copy.display()),
        None => String::new(),
    }
}
