//! Replaces a configuration file atomically, keeping its owner and mode, and only if it has not changed since it was
//! read.
use crate::config::Way;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Why a file was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// It has been written meanwhile.
    #[error("{} has changed meanwhile", .0.display())]
    Changed(PathBuf),
    /// It belongs to a user to whom this process can't give files.
    #[error("{} belongs to user {user}, group {group}, and can't be given to them", path.display())]
    Owner { path: PathBuf, user: u32, group: u32 },
    #[error("{} can't be written: {cause}", path.display())]
    Io { path: PathBuf, cause: io::Error },
}

/// Replaces the content `was` by `new`. A symbolic link is kept, and its target replaced.
///
/// # Errors
/// The file has changed; it can't be written, or not with its owner.
pub fn replace(path: &Path, was: &str, new: &str) -> Result<(), ReplaceError> {
    let path = Way::to(path).end;
    let io = |cause: io::Error| ReplaceError::Io { path: path.clone(), cause };
    let still_is = || fs::read(&path).is_ok_and(|found| found == was.as_bytes());
    if !still_is() {
        return Err(ReplaceError::Changed(path));
    }
    let folder = path.parent().ok_or_else(|| io(io::ErrorKind::NotFound.into()))?;
    let found = fs::metadata(&path).map_err(io)?;
    let mut fresh =
        tempfile::Builder::new().prefix(".agents.").suffix(".new").tempfile_in(folder).map_err(io)?;
    fresh.write_all(new.as_bytes()).map_err(io)?;
    let ours = fresh.as_file().metadata().map_err(io)?;
    let (user, group) = (found.uid(), found.gid());
    if (ours.uid(), ours.gid()) != (user, group) {
        fchown(fresh.as_file(), Some(user), Some(group)).map_err(|_| ReplaceError::Owner {
            path: path.clone(),
            user,
            group,
        })?;
    }
    // after the owner: chown(2) clears bits of the mode
    fresh.as_file().set_permissions(fs::Permissions::from_mode(found.mode() & 0o7777)).map_err(io)?;
    fresh.as_file().sync_all().map_err(io)?;
    if !still_is() {
        return Err(ReplaceError::Changed(path));
    }
    fresh.persist(&path).map_err(|error| io(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

#[cfg(test)]
mod tests {
    //! Tests in real folders.
    use super::*;

    #[test]
    fn a_file_keeps_its_mode_and_the_links_that_lead_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real.toml"), folder.path().join("agents.toml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, "old", "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        let error = replace(&link, "old", "newer").unwrap_err();
        assert!(matches!(error, ReplaceError::Changed(_)), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn a_folder_that_is_not_writable_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("none/agents.toml");
        assert!(matches!(replace(&file, "", "x"), Err(ReplaceError::Changed(_))));
    }
}
