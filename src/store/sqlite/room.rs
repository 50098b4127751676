//! Room on the disk: what is set aside, what the log may take, and what the database may grow to
//! where the file system is small.
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Space that is set aside, so that on a full disk what is in flight can still be recorded.
const RESERVE: u64 = 1 << 20;
/// The database may take this part of its file system at the most, so that its log and the copies
/// that SQLite makes find room, too.
const PART_OF_DISK: u64 = 3;
/// The log may take this part, as long as nobody reads it.
const LOG_PART_OF_DISK: u64 = 16;
/// Bytes of a page.
const PAGE: u64 = 4096;

/// How large the log may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogRoom {
    /// It is written into the database when it has so many pages.
    pub(super) checkpoint_pages: i64,
    /// The file is cut back to so many bytes.
    pub(super) kept_bytes: i64,
}

/// Bytes of the file system of `path`: all of them, and those that are free for us.
fn disk(path: &Path) -> Option<(u64, u64)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let stat = rustix::fs::statvfs(folder.unwrap_or(Path::new("."))).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    // some file systems have no number of blocks
    Some((bytes(stat.f_blocks), bytes(stat.f_bavail))).filter(|(all, _)| *all > 0)
}

/// What the log of this database may take.
pub(super) fn of_log(path: &Path) -> LogRoom {
    log_room(disk(path).map_or(u64::MAX, |(all, _)| all))
}

fn log_room(disk: u64) -> LogRoom {
    let part = disk / LOG_PART_OF_DISK;
    // both are far below the bounds of their type
    LogRoom {
        checkpoint_pages: (part / PAGE).clamp(64, 2000) as i64,
        kept_bytes: part.clamp(64 * PAGE, 64 << 20) as i64,
    }
}

/// What the database may grow to: what the configuration allows, or less on a small file system. It
/// is a part of the whole file system and not of what is free: what others take is not made up for
/// by history.
pub(super) fn bound(path: &Path, allowed: u64) -> u64 {
    disk(path).map_or(allowed, |(all, _)| allowed.min(all / PART_OF_DISK))
}

fn reserve(path: &Path) -> PathBuf {
    path.with_file_name("reserve")
}

/// Makes the reserve, if it is not there and there is room for twice as much.
pub(super) fn set_aside(path: &Path) {
    let file = reserve(path);
    if file.exists() || disk(path).is_some_and(|(_, free)| free < 2 * RESERVE) {
        return;
    }
    let made =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file).and_then(
            |out| {
                use std::io::Write;
                (&out).write_all(&vec![0; RESERVE as usize])
            },
        );
    if made.is_err() {
        let _ = fs::remove_file(&file);
    }
}

/// Gives the reserve back to the disk; false: there is none.
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
