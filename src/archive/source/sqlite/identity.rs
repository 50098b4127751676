//! Identifies database files: one may have several paths, and on two hosts one path means two files. So the
//! lock file, which stays beside the database, contains an id that is created once.
use super::Sqlite;
use crate::archive::trouble::failed;
use crate::domain::ToolError;
use std::fs::{self};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

impl Sqlite {
    /// Returns what distinguishes this database from all others; `None` if it was never locked. Reading does
    /// not lock it.
    pub(in super::super) fn identity(&self) -> Option<String> {
        let read = || fs::read_to_string(self.lock_path().ok()?).ok();
        let known = self.identity.clone().or_else(read)?;
        Some(known.trim().to_owned()).filter(|known| !known.is_empty())
    }

    /// Returns whether both are one file, under whatever paths.
    pub(in super::super) fn is_same_file(&self, other: &Self) -> Result<bool, ToolError> {
        let of = |path: &Path| match fs::metadata(path) {
            Ok(found) => Ok((found.dev(), found.ino())),
            Err(error) => Err(failed(&format!("{}: {error}", path.display()))),
        };
        Ok(of(&self.path)? == of(&other.path)?)
    }

    /// Returns the path of the lock file, which is beside the database itself, whatever links lead to it.
    pub(super) fn lock_path(&self) -> Result<PathBuf, ToolError> {
        let path = fs::canonicalize(&self.path);
        let path = path.map_err(|error| failed(&format!("{}: {error}", self.path.display())))?;
        let mut name = path.into_os_string();
        name.push("-archive-lock");
        Ok(name.into())
    }
}
