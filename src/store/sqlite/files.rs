//! The files of a database: which they are, how large they are, and whether what stands where a file should be is one.
//! To open a FIFO waits for whoever is at its other end.
use crate::store::error::StoreError;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// Is there something, and no file?
pub(in crate::store) fn is_no_file(path: &Path) -> bool {
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

/// The log of a database, or its index.
pub(in crate::store) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Bytes of the database with its log.
pub(super) fn size(path: &Path) -> u64 {
    let of = |suffix: &str| std::fs::metadata(beside(path, suffix)).map_or(0, |found| found.len());
    of("") + of("-wal")
}

/// Device and number of a file.
pub(super) type FileId = (u64, u64);

/// Which file has this name.
pub(super) fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|found| id_of(&found))
}

/// Which file it is that was found.
pub(super) fn id_of(found: &std::fs::Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino())
}

/// Moves the database and its log out of the way, each whole.
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
    // an index is made anew from its log
    let _ = std::fs::remove_file(beside(path, "-shm"));
    Ok((log || database).then_some(before))
}
