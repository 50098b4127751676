//! Errors with which the daemon ends.
use super::listen::ListenError;
use super::lock::{self, LockError};
use crate::store::StoreError;

/// An error with which the daemon ends. Each has an exit code (section 9 of the contract).
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Config(String),
    /// Others can write the configuration, or nobody has trusted it.
    #[error("{what}")]
    NotOurs { what: String, hint: Option<String> },
    /// Another node has the name of this one.
    #[error("another daemon is the node {name} already: {by}")]
    SameName { name: String, by: String },
    #[error("{0}")]
    Internal(String),
    #[error("{doing}: {cause}")]
    Io { doing: String, cause: std::io::Error },
}

impl Failure {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Store(error) if error.is_damage() => 65,
            Self::Store(
                StoreError::NotDurable { .. } | StoreError::Moved { .. } | StoreError::HalfMoved { .. },
            ) => 78,
            Self::Store(StoreError::Rejected { .. }) => 77,
            Self::Store(StoreError::NoCopy { .. } | StoreError::NoFile(_)) => 65,
            Self::Store(StoreError::OldSqlite(_) | StoreError::Refused { .. }) | Self::Internal(_) => 70,
            Self::Listen(ListenError::Folder(LockError::Unsafe { .. }))
            | Self::Lock(LockError::Unsafe { .. }) => 77,
            Self::Listen(ListenError::Bind { cause, .. }) if lock::passes(cause) => 74,
            Self::Listen(ListenError::Folder(LockError::Io { .. })) => 74,
            Self::Listen(_) | Self::Lock(LockError::Create { .. } | LockError::InTheWay { .. }) => 73,
            Self::Lock(LockError::Held { .. }) | Self::SameName { .. } => 75,
            Self::Store(_) | Self::Lock(LockError::Io { .. }) | Self::Io { .. } => 74,
            Self::NotOurs { .. } => 77,
            Self::Config(_) => 78,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::NotOurs { hint, .. } => hint.clone(),
            Self::SameName { .. } => Some(
                "give each its own name, with `node` of [daemon]; one that was killed gives its name free after 25 seconds"
                    .into(),
            ),
            Self::Lock(LockError::Held { .. }) => Some(
                "one daemon per state folder: use that one (if its socket was removed, it makes a new one within seconds), \
                 or name another --state-dir"
                    .into(),
            ),
            Self::Lock(LockError::Create { .. }) => {
                Some("name a folder that you can write to with --state-dir".into())
            }
            _ => None,
        }
    }
}
