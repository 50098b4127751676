//! The files of a database: their names and sizes, and whether they are regular files. Opening a
//! FIFO would block.
use crate::store::error::StoreError;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// Returns whether the path exists and is not a regular file.
pub(in crate::store) fn is_no_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file())
}

/// Refuses a database if it, its log or a file beside it is not a regular file.
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

/// Returns the path of a file beside the database, such as its log.
pub(in crate::store) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns the bytes of the database with its log.
pub(super) fn size(path: &Path) -> u64 {
    let of = |suffix: &str| std::fs::metadata(beside(path, suffix)).map_or(0, |found| found.len());
    of("") + of("-wal")
}

/// Device and inode of a file.
pub(super) type FileId = (u64, u64);

/// Returns the id of the file at a path.
pub(super) fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|found| id_of(&found))
}

/// Returns the id in the metadata of a file.
pub(super) fn id_of(found: &std::fs::Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino())
}

/// Renames the database and its log, so that the path becomes free.
pub(super) fn set_aside(path: &Path, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    let mut before = beside(path, &format!(".before-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    let mut nth = 1;
    while before.exists() {
        nth += 1;
        before = beside(path, &format!(".before-{}-{nth}", now.strftime("%Y%m%dT%H%M%SZ")));
    }
    let moved = |from: &Path, to: &Path| match std::fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::of_io(&error, from, "moving")),
    };
    let log = moved(&beside(path, "-wal"), &beside(&before, "-wal"))?;
    let database = moved(path, &before)?;
    // the index is rebuilt from the log
    let _ = std::fs::remove_file(beside(path, "-shm"));
    Ok((log || database).then_some(before))
}
