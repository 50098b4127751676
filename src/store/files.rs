//! Whether what stands where a file should be is one. To open a FIFO waits for whoever is at its other end.
use super::error::StoreError;
use std::path::{Path, PathBuf};

/// Is there something, and no file?
pub(super) fn is_no_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file())
}

/// Refuses what is no file where a database, its log or what is beside it should be.
pub(super) fn are_files(database: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        if is_no_file(&path) {
            return Err(StoreError::Missing { path, what: "is not a file: move it away".into() });
        }
    }
    Ok(())
}
