//! Objects as files. A file is written under a temporary name, synced, renamed, and its folder synced: writes
//! are atomic, even across a power failure.
use super::failed;
use crate::archive::object::MAX_STORED_BYTES;
use crate::blocking::panic_text;
use crate::domain::ToolError;
use rustix::fs::OFlags;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Prefix of files that are not yet complete.
const PARTIAL_PREFIX: &str = ".part-";

/// A folder.
pub(in crate::archive) struct Folder {
    path: PathBuf,
}

/// Reads a regular file that is no larger than an object may be: others may have put a pipe there, or an
/// endless device.
fn whole_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_STORED_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_STORED_BYTES {
        return Err(io::Error::other(format!("it has more than {} MiB", MAX_STORED_BYTES >> 20)));
    }
    Ok(bytes)
}

impl Folder {
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.into() }
    }

    pub(super) fn place(&self) -> String {
        self.path.display().to_string()
    }

    async fn work<T: Send + 'static>(
        &self,
        doing: String,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ToolError> {
        let path = self.path.clone();
        let result = tokio::task::spawn_blocking(move || work(&path)).await;
        let result = result.map_err(|error| ToolError::Failed(panic_text(error)))?;
        result.map_err(|error| {
            let advice = match error.kind() {
                ErrorKind::StorageFull => "; make room there: nothing was deleted from the database",
                ErrorKind::PermissionDenied => "; check the owner and the mode of the folder",
                _ => "",
            };
            let doing = match error.kind() {
                ErrorKind::NotADirectory => "the folder can't be used".to_owned(),
                _ => doing,
            };
            failed(&format!("{}: {doing}: {error}{advice}", self.path.display()))
        })
    }

    pub(super) async fn prepare(&self, ours: bool) -> Result<(), ToolError> {
        self.work("the folder can't be used".into(), move |path| {
            let made: Vec<_> =
                path.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
            for folder in [path.to_owned(), path.join("pending")] {
                fs::create_dir_all(&folder)?;
                for entry in fs::read_dir(&folder)? {
                    let entry = entry?;
                    if ours && entry.file_name().to_string_lossy().starts_with(PARTIAL_PREFIX) {
                        fs::remove_file(entry.path())?;
                    }
                }
            }
            sync(path)?;
            made.iter().filter_map(|folder| folder.parent()).try_for_each(sync)?;
            // Folders above may have been created by a run that was killed. Not every file system can sync a
            // folder, and we may lack permission for it.
            path.ancestors().skip(1).for_each(|folder| drop(sync(folder)));
            Ok(())
        })
        .await
    }

    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), ToolError> {
        let name = name.to_owned();
        self.work(format!("{name} can't be written"), move |path| {
            let target = path.join(&name);
            let folder = target.parent().unwrap_or(path);
            if !folder.exists() {
                fs::create_dir_all(folder)?;
                sync(path)?;
            }
            let file_name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let part = folder.join(format!("{PARTIAL_PREFIX}{file_name}"));
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o640).open(&part)?;
            let written = file.write_all(&bytes).and_then(|()| file.sync_all());
            drop(file);
            if let Err(error) = written.and_then(|()| fs::rename(&part, &target)) {
                let _ = fs::remove_file(&part);
                return Err(error);
            }
            sync(folder)
        })
        .await
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ToolError> {
        let name = name.to_owned();
        self.work(format!("{name} can't be read"), move |path| match whole_file(&path.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    pub(super) async fn list(&self, below: &str) -> Result<Vec<String>, ToolError> {
        let below = below.to_owned();
        self.work("the folder can't be listed".into(), move |path| {
            let entries = match fs::read_dir(path.join(below)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            let mut names = Vec::new();
            for entry in entries {
                let entry = entry?;
                // A link to a file counts as the file; a dangling one is reported as missing when it is read.
                let kind = entry.file_type()?;
                if kind.is_file() || (kind.is_symlink() && !entry.path().is_dir()) {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            names.retain(|name| !name.starts_with(PARTIAL_PREFIX));
            names.sort();
            Ok(names)
        })
        .await
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), ToolError> {
        let name = name.to_owned();
        self.work(format!("{name} can't be removed"), move |path| {
            let target = path.join(name);
            match fs::remove_file(&target) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            sync(target.parent().unwrap_or(path))
        })
        .await
    }
}

/// Syncs a folder: without that, a created or deleted file in it might not survive a power failure.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()
}

#[cfg(test)]
mod tests {
    //! Tests of which files are read.
    use super::*;

    #[test]
    fn only_files_of_the_size_of_objects_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "x").unwrap();
        assert_eq!(whole_file(&path("a")).unwrap(), b"x");
        let sparse = File::create(path("sparse")).unwrap();
        sparse.set_len(MAX_STORED_BYTES as u64 + 1).unwrap();
        assert!(whole_file(&path("sparse")).unwrap_err().to_string().contains("more than"));
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), rustix::fs::Mode::RUSR).unwrap();
        assert!(whole_file(&path("pipe")).unwrap_err().to_string().contains("not a file"));
        std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
        assert!(whole_file(&path("zero")).unwrap_err().to_string().contains("not a file"));
        assert_eq!(whole_file(&path("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
