//! Lists the files of a folder that an agent waits for.
use crate::domain::{FileTrigger, FoundFile};
use jiff::Timestamp;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files found in a folder.
#[derive(Debug, Default)]
pub(super) struct FolderFiles {
    /// Files that match.
    pub(super) files: Vec<FoundFile>,
    /// Number of matching entries that have a path that is not UTF-8, or can't be examined.
    pub(super) unreadable: usize,
}

/// Lists the matching files of a folder. Links, folders, devices and other entries that are not
/// regular files are left out.
///
/// # Errors
/// Returns the error of reading the folder.
pub(super) fn files(trigger: &FileTrigger) -> io::Result<FolderFiles> {
    let folder = std::fs::canonicalize(&trigger.folder)?;
    if !trigger.is_pattern() {
        // a folder may be large, and unreadable to those who only know a name in it
        let mut found = FolderFiles::default();
        add(&mut found, &folder, &trigger.name)?;
        return Ok(found);
    }
    let mut found = FolderFiles::default();
    for entry in std::fs::read_dir(&folder)? {
        let name = entry?.file_name();
        match name.to_str() {
            Some(name) if trigger.takes(name) => add(&mut found, &folder, name)?,
            Some(_) => {}
            None => found.unreadable += usize::from(trigger.takes(&name.to_string_lossy())),
        }
    }
    Ok(found)
}

fn add(found: &mut FolderFiles, folder: &Path, name: &str) -> io::Result<()> {
    let path = folder.join(name);
    let about = match std::fs::symlink_metadata(&path) {
        Ok(about) if about.is_file() => about,
        Ok(_) => return Ok(()),
        // removed since the folder was read
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // one inaccessible entry does not make the folder fail
        Err(_) => {
            found.unreadable += 1;
            return Ok(());
        }
    };
    let nanos = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
    let Some(path) = path.to_str() else {
        found.unreadable += 1;
        return Ok(());
    };
    found.files.push(FoundFile {
        name: name.to_owned(),
        path: path.to_owned(),
        size: about.len(),
        modified: Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::UNIX_EPOCH),
        inode: about.ino(),
    });
    Ok(())
}

/// Returns the folder, or its nearest existing ancestor.
pub(super) fn nearest(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    //! In a real folder.
    use super::*;
    use jiff::SignedDuration;

    #[test]
    fn files_only_and_of_those_that_fit() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a.csv", "b.csv.part", ".c.csv", "d.txt"] {
            std::fs::write(at(name), name).unwrap();
        }
        std::fs::create_dir(at("folder.csv")).unwrap();
        std::os::unix::fs::symlink(at("a.csv"), at("link.csv")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe.csv"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let trigger = |name: &str| FileTrigger {
            pattern: name.into(),
            folder: folder.path().to_owned(),
            name: name.into(),
            settle: SignedDuration::ZERO,
        };
        let found = |name: &str| {
            let files = files(&trigger(name)).unwrap().files;
            files.into_iter().map(|file| (file.name, file.size)).collect::<Vec<_>>()
        };
        assert_eq!(found("*.csv"), [("a.csv".to_owned(), 5)]);
        assert_eq!(found("*.part"), [("b.csv.part".to_owned(), 10)]);
        assert_eq!(found("d.txt"), [("d.txt".to_owned(), 5)]);
        assert_eq!(found("link.csv"), []);
        let gone = FileTrigger { folder: at("no/such"), ..trigger("*") };
        assert_eq!(files(&gone).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(nearest(&gone.folder).as_deref(), Some(folder.path()));
    }
}
