//! The lock of the state folder, which admits one daemon, and the file that tells where it listens.
use super::folder_safety::{self, UnsafeFolder};
use crate::config::Paths;
use crate::store::LOCK_HOLDER_BYTES;
use serde::{Deserialize, Serialize};
use std::fs::{File, FileType, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The content of `daemon.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonFile {
    /// The socket it listens on.
    pub socket: PathBuf,
    pub pid: u32,
    pub version: String,
    /// Newest supported version of the protocol.
    pub protocol: u32,
    /// The leader, while this daemon is a standby and listens nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby_of: Option<String>,
}

/// An error from locking the state folder.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    /// Another daemon holds it.
    #[error("another daemon ({}) holds {}", .pid.map_or("process unknown".to_owned(), |pid| format!("process {pid}")), .path.display())]
    Held { path: PathBuf, pid: Option<u32> },
    /// It belongs to another user, or others may write to it.
    #[error("{}: {what}", .path.display())]
    Unsafe { path: PathBuf, what: String },
    /// Something else is in the place of one of our files.
    #[error("{} is {found}, where the daemon has {wanted}: move it away, or name another --state-dir", .path.display())]
    InTheWay { path: PathBuf, found: &'static str, wanted: &'static str },
    /// It can't be created.
    #[error("can't create {}: {cause}", .path.display())]
    Create { path: PathBuf, cause: io::Error },
    /// It can't be locked, or not be created for now.
    #[error("can't lock {}: {cause}", .path.display())]
    Io { path: PathBuf, cause: io::Error },
}

impl From<UnsafeFolder> for LockError {
    fn from(UnsafeFolder { path, what }: UnsafeFolder) -> Self {
        Self::Unsafe { path, what }
    }
}

/// The lock, held as long as this lives. Its file is never removed: two files of one name would be two locks.
#[derive(Debug)]
pub(super) struct StateLock {
    _file: File,
}

/// How long to wait for a lock inherited by a child: a daemon killed while starting a process
/// leaves one that holds the lock until it calls exec.
const INHERITED_LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for a lock whose holder seems to live: a daemon killed a moment ago still has
/// its pid and its lock.
const HELD_LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Returns whether a process exists; without `/proc`, assumes so.
fn is_alive(pid: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new(&format!("/proc/{pid}")).exists()
}

/// Returns whether an error is transient, such as a full or failing disk or a lack of file
/// descriptors; callers may retry.
pub(super) fn passes(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || [
            rustix::io::Errno::IO,
            rustix::io::Errno::MFILE,
            rustix::io::Errno::NFILE,
            rustix::io::Errno::NOMEM,
        ]
        .iter()
        .any(|errno| cause.raw_os_error() == Some(errno.raw_os_error()))
}

/// Creates the state folder if necessary, and locks it.
pub(super) fn acquire(paths: &Paths) -> Result<StateLock, LockError> {
    private_folder(&paths.state_dir)?;
    check_file_types(&paths.state_dir)?;
    let path = paths.lock();
    let io = |cause| LockError::Io { path: path.clone(), cause };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|cause| match cause.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                LockError::Create { path: path.clone(), cause }
            }
            _ => io(cause),
        })?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(cause)) => return Err(io(cause)),
            Err(TryLockError::WouldBlock) => {}
        }
        let mut text = String::new();
        let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
        let timeout = if pid.is_none_or(is_alive) { HELD_LOCK_TIMEOUT } else { INHERITED_LOCK_TIMEOUT };
        if began.elapsed() >= timeout {
            return Err(LockError::Held { path, pid });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // the holder's pid, for the error message of the next daemon; a full disk must not prevent
    // locking. The store notes the state of the database behind this line, so the file is
    // overwritten and never truncated
    let width = usize::try_from(LOCK_HOLDER_BYTES).unwrap_or_default() - 1;
    let _ = file.write_all_at(format!("{:<width$}\n", std::process::id()).as_bytes(), 0);
    Ok(StateLock { _file: file })
}

/// Refuses a state folder in which one of our files is not a regular file, or one of our folders
/// not a folder. Opening a FIFO would block, and a device may do anything.
fn check_file_types(state: &Path) -> Result<(), LockError> {
    const FOLDERS: [&str; 2] = ["tmp", "tmp.old"];
    const FILES: [&str; 7] =
        ["lock", "daemon.json", "daemon.json.new", "node.id", "node.id.new", "trusted.json", "reserve"];
    let cannot = |cause| LockError::Io { path: state.to_owned(), cause };
    for entry in std::fs::read_dir(state).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_file = FILES.contains(&name) || is_of_the_database(name);
        if !is_file && !FOLDERS.contains(&name) {
            continue;
        }
        // a dangling link is reported by the code that opens it
        let Ok(found) = std::fs::metadata(&path) else { continue };
        let is_right = if is_file { found.is_file() } else { found.is_dir() };
        if !is_right {
            let wanted = if is_file { "a file" } else { "a folder" };
            return Err(LockError::InTheWay { path, found: kind_of(found.file_type()), wanted });
        }
    }
    Ok(())
}

/// Returns whether a file belongs to the database: itself, its log, SQLite's side files, or copies
/// made by an upgrade.
fn is_of_the_database(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("bgagent.db") else { return false };
    let of_upgrade = rest.strip_suffix(".new").unwrap_or(rest).strip_suffix(".bak");
    let number = of_upgrade.and_then(|rest| rest.strip_prefix(".v"));
    ["", "-wal", "-shm", "-journal"].contains(&rest)
        || number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Names the type of a file.
pub(super) fn kind_of(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        kind if kind.is_dir() => "a folder",
        kind if kind.is_symlink() => "a link",
        _ => "a file",
    }
}

/// Creates a folder that only we can enter, or checks that an existing one is ours.
pub(super) fn private_folder(path: &Path) -> Result<(), LockError> {
    if let Some(parent) = path.parent() {
        folder_safety::judge(parent)?;
    }
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|cause| match passes(
                &cause,
            ) {
                true => LockError::Io { path: path.to_owned(), cause },
                false => LockError::Create { path: path.to_owned(), cause },
            })
        }
        Err(cause) => Err(LockError::Create { path: path.to_owned(), cause }),
        Ok(found) if !found.is_dir() => {
            Err(LockError::Unsafe { path: path.to_owned(), what: "is not a folder".into() })
        }
        Ok(found) => {
            let me = rustix::process::geteuid().as_raw();
            if found.uid() != me {
                let what = format!("belongs to user {}, not to user {me} who runs this daemon", found.uid());
                return Err(LockError::Unsafe { path: path.to_owned(), what });
            }
            if found.mode() & 0o022 != 0 {
                let what = format!("others may write to it (mode {:o}): chmod 700 it", found.mode() & 0o777);
                return Err(LockError::Unsafe { path: path.to_owned(), what });
            }
            if found.mode() & 0o077 != 0 {
                // output and rights of agents are private
                match std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)) {
                    Ok(()) => tracing::info!("{} was open to others; its mode is 700 now", path.display()),
                    Err(error) => tracing::warn!("{} is open to others: {error}", path.display()),
                }
            }
            Ok(())
        }
    }
}

/// Writes `daemon.json` atomically.
pub(super) fn write_daemon_file(paths: &Paths, socket: &Path) -> io::Result<()> {
    write(paths, socket, None)
}

/// Writes `daemon.json` of a standby while `leader` leads.
pub(super) fn write_standby_file(paths: &Paths, leader: &str) -> io::Result<()> {
    write(paths, &paths.socket, Some(leader.to_owned()))
}

fn write(paths: &Paths, socket: &Path, standby_of: Option<String>) -> io::Result<()> {
    let file = DaemonFile {
        standby_of,
        socket: socket.to_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        protocol: *crate::protocol::PROTOCOLS.last().expect("there is one"),
    };
    paths.note_config()?;
    let path = paths.daemon_json();
    let fresh = path.with_extension("json.new");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    out.write_all(&serde_json::to_vec(&file)?)?;
    out.sync_all()?;
    std::fs::rename(&fresh, &path)
}

/// Removes `daemon.json` at a clean exit.
pub(super) fn remove_daemon_file(paths: &Paths) {
    let _ = std::fs::remove_file(paths.daemon_json());
}

#[cfg(test)]
mod tests {
    //! Tests of the lock.
    use super::*;
    use std::sync::mpsc::{RecvTimeoutError, channel};

    #[test]
    fn a_daemon_that_dies_right_now_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let paths = Paths::resolve(Some("/none".into()), Some(state), None).unwrap();
        let held = acquire(&paths).unwrap();
        assert!(
            matches!(acquire(&paths), Err(LockError::Held { pid: Some(pid), .. }) if pid == std::process::id())
        );
        let (told, hears) = channel();
        std::thread::spawn(move || told.send(acquire(&paths)));
        assert!(matches!(hears.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout)));
        drop(held);
        hears.recv().unwrap().expect("it gets the lock");
    }
}
