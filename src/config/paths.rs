//! Default locations of all files (section 1).
use std::path::{Path, PathBuf};

/// Maximum length of a socket's path, in bytes: what every supported system allows.
const MAX_SOCKET_PATH_BYTES: usize = 100;

/// Locations of all files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub config: PathBuf,
    pub state_dir: PathBuf,
    /// The socket to listen on, or to connect to if the state folder does not name one.
    pub socket: PathBuf,
    /// Whether a flag or variable named the socket: then clients do not look into `daemon.json`.
    pub socket_given: bool,
}

impl Paths {
    /// Resolves the locations from flags (which the CLI fills from variables too), else from defaults.
    pub fn resolve(
        config: Option<PathBuf>,
        state_dir: Option<PathBuf>,
        socket: Option<PathBuf>,
    ) -> Result<Self, String> {
        let folders = directories::ProjectDirs::from("", "", "bgagent");
        let home = || "there is no home folder: set HOME, or name --config and --state-dir".to_owned();
        let config = match config {
            Some(path) => absolute(&path)?,
            None => folders.as_ref().ok_or_else(home)?.config_dir().join("agents.toml"),
        };
        let given_state = state_dir.is_some();
        let state_dir = match state_dir {
            Some(path) => absolute(&path)?,
            None => {
                let folders = folders.as_ref().ok_or_else(home)?;
                folders.state_dir().unwrap_or_else(|| folders.data_local_dir()).to_owned()
            }
        };
        let socket_given = socket.is_some();
        let socket = match socket {
            Some(path) => absolute(&path)?,
            // Another state folder means another daemon, with its own socket.
            None if given_state => state_dir.join("bgagent.sock"),
            None => runtime_socket().unwrap_or_else(|| state_dir.join("bgagent.sock")),
        };
        let length = socket.as_os_str().len();
        if length > MAX_SOCKET_PATH_BYTES {
            return Err(format!(
                "the socket path has {length} bytes, the system allows about {MAX_SOCKET_PATH_BYTES}: {}; name a shorter one with --socket",
                socket.display()
            ));
        }
        Ok(Self { config, state_dir, socket, socket_given })
    }

    /// Returns whether this file is in the user's configuration folder, or below it. Files there are trusted
    /// as the user's own.
    pub fn is_home(config: &Path) -> bool {
        let Some(folders) = directories::ProjectDirs::from("", "", "bgagent") else { return false };
        let Some(folder) = config.parent() else { return false };
        // Compared without links, so that `..` can't lead out; a link in the folder was put there by its
        // owner.
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        real(folder).zip(real(folders.config_dir())).is_some_and(|(folder, home)| folder.starts_with(home))
    }

    /// Returns `<state>/trusted.json`.
    pub fn trust_book(&self) -> PathBuf {
        self.state_dir.join("trusted.json")
    }

    /// Returns `<state>/bgagent.db`.
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("bgagent.db")
    }

    /// Returns `<state>/lock`.
    pub fn lock(&self) -> PathBuf {
        self.state_dir.join("lock")
    }

    /// Returns `<state>/config-path`.
    pub fn config_note(&self) -> PathBuf {
        self.state_dir.join("config-path")
    }

    /// Returns the configuration that the last daemon of this state folder ran with, if there was one.
    pub fn last_config(&self) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStringExt;
        let note = self.config_note();
        let bytes = note
            .symlink_metadata()
            .ok()
            .filter(|found| found.is_file())
            .and_then(|_| std::fs::read(&note).ok())?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
        path.is_absolute().then_some(path)
    }

    /// Records which configuration a daemon of this state folder runs with.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn note_config(&self) -> std::io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        if self.last_config().as_deref() == Some(self.config.as_path()) {
            return Ok(());
        }
        let fresh = self.config_note().with_extension("new");
        std::fs::write(&fresh, self.config.as_os_str().as_bytes())?;
        std::fs::rename(&fresh, self.config_note())
    }

    /// Returns `<state>/daemon.json`.
    pub fn daemon_json(&self) -> PathBuf {
        self.state_dir.join("daemon.json")
    }
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Computes the default socket from the user id, not from an environment that differs between a login shell,
/// cron, ssh and tmux.
fn runtime_socket() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::getuid().as_raw();
    let folder = PathBuf::from(format!("/run/user/{user}"));
    let found = std::fs::metadata(&folder).ok()?;
    (found.is_dir() && found.uid() == user).then(|| folder.join("bgagent/bgagent.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_the_last_daemon_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let paths = |config: &str| {
            Paths::resolve(Some(config.into()), Some(folder.path().to_owned()), Some("/s".into())).unwrap()
        };
        assert_eq!(paths("/a/x.toml").last_config(), None);
        for config in ["/a/x.toml", "/a/ y\n.toml", "/a/x.toml"] {
            paths(config).note_config().unwrap();
            assert_eq!(paths("/other").last_config().as_deref(), Some(Path::new(config)));
        }
        std::fs::write(paths("/a").config_note(), "").unwrap();
        assert_eq!(paths("/a").last_config(), None);
    }

    #[test]
    fn flags_win_and_long_sockets_are_refused() {
        let paths = Paths::resolve(Some("/c/a.toml".into()), Some("/s".into()), None).unwrap();
        assert_eq!(paths.socket, Path::new("/s/bgagent.sock"));
        assert!(!paths.socket_given);
        let error = Paths::resolve(None, Some("/s".into()), Some(PathBuf::from("/").join("x".repeat(120))))
            .unwrap_err();
        assert!(error.contains("121 bytes") && error.contains("--socket"), "{error}");
    }
}
