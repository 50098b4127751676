//! Disk space: the reserve, the size of the log, and the size of the database on small file systems.
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Size of the reserve, in bytes, which lets events in flight be recorded on a full disk.
const RESERVE_BYTES: u64 = 1 << 20;
/// The database may use one part in this many of its file system, so that there is space for its
/// log and for copies made by SQLite.
const DATABASE_DISK_DIVISOR: u64 = 3;
/// The log may use one part in this many, as long as no reader holds it.
const LOG_DISK_DIVISOR: u64 = 16;
/// Size of a page, in bytes.
const PAGE_BYTES: u64 = 4096;

/// Limits of the log's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogRoom {
    /// Number of pages at which it is checkpointed.
    pub(super) checkpoint_pages: i64,
    /// Number of bytes to which the file is truncated.
    pub(super) kept_bytes: i64,
}

/// Returns the bytes of the file system of `path`: in total, and available to us.
fn disk(path: &Path) -> Option<(u64, u64)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let stat = rustix::fs::statvfs(folder.unwrap_or(Path::new("."))).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    // some file systems report no blocks
    Some((bytes(stat.f_blocks), bytes(stat.f_bavail))).filter(|(all, _)| *all > 0)
}

/// Returns the limits for the log of this database.
pub(super) fn of_log(path: &Path) -> LogRoom {
    log_room(disk(path).map_or(u64::MAX, |(all, _)| all))
}

fn log_room(disk: u64) -> LogRoom {
    let part = disk / LOG_DISK_DIVISOR;
    // both are far below the bounds of their type
    LogRoom {
        checkpoint_pages: (part / PAGE_BYTES).clamp(64, 2000) as i64,
        kept_bytes: part.clamp(64 * PAGE_BYTES, 64 << 20) as i64,
    }
}

/// Returns the maximum size of the database: as configured, or less on a small file system. It is
/// relative to the whole file system and not to the free space, so that history is not removed for
/// space that others use.
pub(super) fn bound(path: &Path, allowed: u64) -> u64 {
    disk(path).map_or(allowed, |(all, _)| allowed.min(all / DATABASE_DISK_DIVISOR))
}

fn reserve(path: &Path) -> PathBuf {
    path.with_file_name("reserve")
}

/// Creates the reserve, if it does not exist and twice as much space is free.
pub(super) fn set_aside(path: &Path) {
    let file = reserve(path);
    if file.exists() || disk(path).is_some_and(|(_, free)| free < 2 * RESERVE_BYTES) {
        return;
    }
    let made =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file).and_then(
            |out| {
                use std::io::Write;
                (&out).write_all(&vec![0; RESERVE_BYTES as usize])
            },
        );
    if made.is_err() {
        let _ = fs::remove_file(&file);
    }
}

/// Deletes the reserve to free its space; returns false if there is none.
pub(super) fn release(path: &Path) -> bool {
    fs::remove_file(reserve(path)).is_ok()
}

#[cfg(test)]
mod tests {
    //! Tests of sizes.
    use super::*;

    #[test]
    fn the_log_is_small_on_a_small_disk() {
        assert_eq!(log_room(u64::MAX), LogRoom { checkpoint_pages: 2000, kept_bytes: 64 << 20 });
        assert_eq!(log_room(8 << 20), LogRoom { checkpoint_pages: 128, kept_bytes: 512 << 10 });
        assert_eq!(log_room(1 << 20), LogRoom { checkpoint_pages: 64, kept_bytes: 256 << 10 });
    }
}
