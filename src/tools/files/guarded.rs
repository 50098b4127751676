//! Files that are out of reach whatever the roots are: identified by device and inode, so that no other name,
//! link or mount leads to them; and names that are executed, or grant access, in any folder.
use crate::domain::FilesSettings;
use rustix::fs::{Mode, OFlags};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Names that are never written, in lower case: they would be executed, or control what is, whatever the
/// roots are.
const NEVER_WRITTEN: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".git",
    ".gitconfig",
    ".gitmodules",
    ".hg",
    ".envrc",
    ".direnv",
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".cshrc",
    ".tcshrc",
    ".login",
    ".logout",
    ".inputrc",
    ".xprofile",
    ".xinitrc",
    ".xsession",
    ".xsessionrc",
    ".xresources",
    ".pam_environment",
    ".netrc",
    ".pypirc",
    ".npmrc",
    ".yarnrc",
    ".cargo",
    ".rustup",
    ".aws",
    ".kube",
    ".docker",
    ".vimrc",
    ".exrc",
    ".nvimrc",
    ".emacs",
    ".emacs.d",
    ".nanorc",
    ".tmux.conf",
    ".screenrc",
    ".gdbinit",
    ".lldbinit",
    ".pythonrc",
    ".vscode",
    ".idea",
    ".crontab",
    "authorized_keys",
    "autostart",
    "systemd",
    "environment.d",
    "dbus-1",
    "agents.toml",
    "bgagent.db",
    "bgagent.db-wal",
    "bgagent.db-shm",
];

/// Folders of a home directory that are never written unless a root is in them.
const HOME_FOLDERS: &[&str] = &[".config", ".local", ".mozilla", ".python_history"];

/// Returns whether this is never written, because of a name in the root or in the path beneath it.
pub(super) fn is_never_written(root: &Path, inside: &Path) -> bool {
    let has = |path: &Path, names: &[&str]| {
        path.iter().any(|name| names.contains(&name.to_string_lossy().to_lowercase().as_str()))
    };
    has(root, NEVER_WRITTEN) || has(inside, NEVER_WRITTEN) || has(inside, HOME_FOLDERS)
}

/// Device and inode.
type Id = (u64, u64);

/// What a call must not touch.
pub(super) struct Wall {
    writes: bool,
    ids: HashSet<Id>,
    /// Guarded paths that do not exist yet, by their deepest existing folder and the next component.
    missing: HashSet<(Id, OsString)>,
    /// Folders beneath which nothing is accessible, even if a root is there.
    around: HashSet<Id>,
}

impl Wall {
    /// Guards nothing.
    pub(super) fn none() -> Self {
        Self { writes: false, ids: HashSet::new(), missing: HashSet::new(), around: HashSet::new() }
    }

    /// Resolves what is guarded from reading, or from reading and writing, as it exists now.
    pub(super) fn of(settings: &FilesSettings, writes: bool) -> Self {
        let mut wall = Self { writes, ..Self::none() };
        for path in settings.guarded.hidden.iter().chain([&settings.config]) {
            let Some(about) = wall.add(path) else { continue };
            if about.is_dir() {
                wall.around.insert((about.dev(), about.ino()));
                // A hard link to a file in there leads to it, too.
                let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
                let entries = entries.filter_map(|entry| entry.metadata().ok());
                wall.ids.extend(entries.map(|about| (about.dev(), about.ino())));
            }
        }
        for path in settings.guarded.fixed.iter().filter(|_| writes) {
            wall.add(path);
        }
        wall
    }

    fn add(&mut self, path: &Path) -> Option<std::fs::Metadata> {
        if let Ok(about) = std::fs::metadata(path) {
            self.ids.insert((about.dev(), about.ino()));
            return Some(about);
        }
        // A dangling link and its target are both guarded by their names.
        let mut at: PathBuf = path.to_owned();
        while let (Some(parent), Some(name)) = (at.parent(), at.file_name()) {
            if let Ok(about) = std::fs::metadata(parent) {
                self.missing.insert(((about.dev(), about.ino()), name.to_owned()));
                break;
            }
            at = parent.to_owned();
        }
        None
    }

    pub(super) fn writes(&self) -> bool {
        self.writes
    }

    /// Returns whether this is guarded; also if that can't be determined.
    pub(super) fn has(&self, opened: &OwnedFd) -> bool {
        id(opened).is_none_or(|id| self.ids.contains(&id))
    }

    /// Returns whether something of this name in this folder would be guarded.
    pub(super) fn waits_for(&self, folder: &OwnedFd, name: &OsStr) -> bool {
        id(folder).is_none_or(|id| self.missing.contains(&(id, name.to_owned())))
    }

    /// Returns whether this folder is within one beneath which nothing is accessible.
    pub(super) fn encloses(&self, folder: &OwnedFd) -> bool {
        const MAX_DEPTH: usize = 128;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let Ok(mut at) = folder.try_clone() else { return true };
        let mut before = None;
        for _ in 0..MAX_DEPTH {
            let Some(id) = id(&at) else { return true };
            if self.around.contains(&id) {
                return true;
            }
            // The root of the file system is its own parent.
            if before == Some(id) {
                return false;
            }
            before = Some(id);
            // A parent that can't be opened is not one of ours.
            let Ok(parent) = rustix::fs::openat(&at, "..", flags, Mode::empty()) else { return false };
            at = parent;
        }
        true
    }
}

fn id(opened: &OwnedFd) -> Option<Id> {
    let about = File::from(opened.as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
    Some((about.dev(), about.ino()))
}
