//! Which file is meant: one has many paths, and on two hosts one path means two files. So the file of the lock,
//! which stays beside the database, holds an id that is made once.
use super::Sqlite;
use crate::tools::ToolError;
use crate::tools::archive::failed;
use crate::tools::archive::object::fresh_id;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most bytes of an id that are read.
const MOST_BYTES: u64 = 200;

impl Sqlite {
    /// What tells this database from each other one; `None` if it was never locked. Who only looks does not lock it.
    pub(in super::super) fn identity(&self) -> Option<String> {
        let read = || fs::read_to_string(self.lock_path().ok()?).ok();
        let known = self.identity.clone().or_else(read)?;
        Some(known.trim().to_owned()).filter(|known| !known.is_empty())
    }

    /// Is it one file, under whatever paths?
    pub(in super::super) fn is_same_file(&self, other: &Self) -> Result<bool, ToolError> {
        let of = |path: &Path| match fs::metadata(path) {
            Ok(found) => Ok((found.dev(), found.ino())),
            Err(error) => Err(failed(&format!("{}: {error}", path.display()))),
        };
        Ok(of(&self.path)? == of(&other.path)?)
    }

    /// The file of the lock stands beside the database itself, whatever links lead to it.
    pub(super) fn lock_path(&self) -> Result<PathBuf, ToolError> {
        let path = fs::canonicalize(&self.path);
        let path = path.map_err(|error| failed(&format!("{}: {error}", self.path.display())))?;
        let mut name = path.into_os_string();
        name.push("-archive-lock");
        Ok(name.into())
    }
}

/// The id in the file of a lock that is held; made where there is none.
pub(super) fn of_lock(file: &mut File, path: &Path) -> io::Result<String> {
    let mut text = String::new();
    Read::by_ref(file).take(MOST_BYTES).read_to_string(&mut text)?;
    if text.trim().is_empty() {
        text = fresh_id();
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
    }
    Ok(text.trim().to_owned())
}
