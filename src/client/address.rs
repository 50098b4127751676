//! Locates the daemon.
use super::ClientError;
use crate::client::listener::{Holder, Listener};
use std::path::{Path, PathBuf};

/// Where to look for the daemon, in the order of section 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The socket that was given, or the default.
    pub socket: PathBuf,
    /// The socket was given explicitly, so `listener_file` is ignored.
    pub given: bool,
    /// `<state>/daemon.json`, where a daemon records its socket.
    pub listener_file: PathBuf,
}

impl Address {
    /// Returns the socket to connect to, and the record of the last daemon of this state folder.
    pub fn resolve(&self) -> (PathBuf, Option<Listener>) {
        let listener = read_listener(&self.listener_file);
        let socket = match &listener {
            Some(listener) if !self.given => listener.socket.clone(),
            _ => self.socket.clone(),
        };
        (socket, listener)
    }

    /// Returns the socket to connect to. The file that the daemon writes must belong to us or root, since another user
    /// could redirect clients by it.
    ///
    /// # Errors
    /// [`ClientError::Foreign`].
    pub(super) fn socket(&self) -> Result<PathBuf, ClientError> {
        use std::os::unix::fs::MetadataExt;
        let (socket, listener) = self.resolve();
        if listener.is_some()
            && !self.given
            && let Ok(about) = std::fs::metadata(&self.listener_file)
        {
            is_ours(&self.listener_file, about.uid())?;
        }
        Ok(socket)
    }

    /// Returns the error for a socket that does not respond.
    pub(super) fn unreachable(&self, cause: impl ToString) -> ClientError {
        let (socket, listener) = self.resolve();
        let holder = self.listener_file.parent().and_then(holder);
        ClientError::Unreachable {
            socket,
            cause: cause.to_string(),
            listener: listener.map(Box::new),
            holder,
        }
    }
}

/// Checks that a file or socket belongs to us or root.
///
/// # Errors
/// [`ClientError::Foreign`].
pub(super) fn is_ours(place: &Path, user: u32) -> Result<(), ClientError> {
    let me = rustix::process::geteuid().as_raw();
    match user == me || user == 0 {
        true => Ok(()),
        false => Err(ClientError::Foreign { place: place.to_owned(), user, me }),
    }
}

/// Returns the live daemon of this state folder, wherever it listens. It holds the lock as long as it lives.
pub fn holder(state_dir: &Path) -> Option<Holder> {
    let mut lock = open_file(&state_dir.join("lock")).ok()?;
    match lock.try_lock_shared() {
        Err(std::fs::TryLockError::WouldBlock) => {}
        // released at once, when the file is closed
        Ok(()) | Err(std::fs::TryLockError::Error(_)) => return None,
    }
    let mut text = String::new();
    let _ = std::io::Read::read_to_string(&mut lock, &mut text);
    Some(Holder { pid: text.split_whitespace().next().and_then(|pid| pid.parse().ok()) })
}

/// Reads `<state>/daemon.json`. A missing or incomplete file is treated as absent.
pub fn read_listener(file: &Path) -> Option<Listener> {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut open_file(file).ok()?, &mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Opens a regular file only: opening a FIFO would block until the other end is opened.
fn open_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let at_once = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(at_once).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::other("it is not a file")),
    }
}

/// Returns whether there is a process of this pid, including those of other users; a zombie, which its parent has not
/// reaped yet (proc_pid_stat(5)), does not count.
pub fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_pid()));
    let stat = stat.map(|stat| String::from_utf8_lossy(&stat).into_owned());
    // the state follows the name, which may contain anything
    if stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']))) {
        return false;
    }
    match rustix::process::test_kill_process(pid) {
        Ok(()) => true,
        Err(error) => error == rustix::io::Errno::PERM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_socket_wins_over_what_the_daemon_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("daemon.json");
        let mut address =
            Address { socket: "/default.sock".into(), given: false, listener_file: file.clone() };
        assert_eq!(address.resolve(), ("/default.sock".into(), None));
        std::fs::write(&file, r#"{"socket":"/run/x.sock","pid":7,"version":"0.1.0","more":1}"#).unwrap();
        assert_eq!(address.resolve().0, PathBuf::from("/run/x.sock"));
        address.given = true;
        let (socket, listener) = address.resolve();
        assert_eq!((socket, listener.unwrap().pid), ("/default.sock".into(), 7));
        std::fs::write(&file, r#"{"socket":"/run/x."#).unwrap();
        assert_eq!(address.resolve(), ("/default.sock".into(), None));
    }

    #[test]
    fn what_another_user_wrote_leads_nowhere() {
        use std::os::unix::fs::chown;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("daemon.json");
        std::fs::write(&file, r#"{"socket":"/run/x.sock","pid":7}"#).unwrap();
        let mut address =
            Address { socket: "/default.sock".into(), given: false, listener_file: file.clone() };
        assert_eq!(address.socket().unwrap(), PathBuf::from("/run/x.sock"));
        let me = rustix::process::geteuid().as_raw();
        assert!(is_ours(&file, me).is_ok() && is_ours(&file, 0).is_ok());
        let error = is_ours(&file, 65533).unwrap_err();
        assert!(error.to_string().contains("belongs to user 65533") && !error.is_passing(), "{error}");
        if me == 0 {
            chown(&file, Some(65533), None).unwrap();
            assert!(matches!(address.socket(), Err(ClientError::Foreign { user: 65533, .. })));
            address.given = true;
            assert_eq!(address.socket().unwrap(), PathBuf::from("/default.sock"));
        }
    }

    #[test]
    fn this_process_lives() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0));
        assert!(!is_alive(u32::MAX));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_has_ended_is_not_alive() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(is_alive(child.id()));
        child.kill().unwrap();
        // ended, but not reaped
        while is_alive(child.id()) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
