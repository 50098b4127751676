//! Operations on the state folder while no daemon runs, under its lock.
use super::failure::Failure;
use super::lock::{self, LockError};
use crate::config::Paths;
use crate::store::{self, Copied, MovedRecords, Where};
use std::path::{Path, PathBuf};

/// Why an operation was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit code, the same as the daemon's (section 9 of the contract).
    pub code: u8,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let hint = match &failure {
            Failure::Lock(LockError::Held { .. }) => {
                Some("stop it first (`bgagent shutdown`, or `systemctl --user stop bgagent`)".into())
            }
            other => other.hint(),
        };
        Self { what: failure.to_string(), hint, code: failure.code() }
    }
}

/// Replaces the database with a copy.
///
/// # Errors
/// A daemon runs; the copy is damaged or newer; an I/O error.
pub fn restore(paths: &Paths, copy: &Path) -> Result<Copied, Refusal> {
    let _lock = lock::acquire(paths).map_err(Failure::from)?;
    store::restore(&paths.database(), copy, crate::clock::wall()).map_err(|error| Failure::from(error).into())
}

/// Moves all records to another database.
///
/// # Errors
/// A daemon runs; an error of either database; the target already has records.
pub fn move_records(paths: &Paths, from: &Where, to: &Where) -> Result<MovedRecords, Refusal> {
    let _lock = lock::acquire(paths).map_err(Failure::from)?;
    store::transfer(from, to, crate::clock::wall()).map_err(|error| Failure::from(error).into())
}

/// Sets the database aside, so that the next daemon starts with an empty one. Returns its new path,
/// if there was one.
///
/// # Errors
/// A daemon runs; an I/O error.
pub fn reset(paths: &Paths) -> Result<Option<PathBuf>, Refusal> {
    let _lock = lock::acquire(paths).map_err(Failure::from)?;
    store::reset(&paths.database(), crate::clock::wall()).map_err(|error| Failure::from(error).into())
}
