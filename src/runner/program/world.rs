//! The folders of a run: a home, one for temporary files, and one to work in. Its attempts share them, so that the program's
//! session is there when it goes on; they are removed when the run has ended.
use crate::child::run_folders::{make_run_folders, run_folder};
use crate::domain::RunId;
use crate::skill_folder::SkillFile;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the working directory in the folder of a run.
pub(in crate::runner) const WORK_FOLDER: &str = "work";
const FOLDERS: [&str; 3] = ["home", "tmp", WORK_FOLDER];

/// The folders that a program works in.
#[derive(Clone, Debug)]
pub(in crate::runner) struct World {
    pub(in crate::runner) folder: PathBuf,
    /// Nothing of an earlier attempt is there.
    pub(in crate::runner) fresh: bool,
}

impl World {
    /// Opens the folders of a run.
    ///
    /// # Errors
    /// A sentence: the folders can't be created.
    pub(in crate::runner) async fn open(run: RunId) -> Result<Self, String> {
        let made = move || -> io::Result<Self> {
            let fresh = !run_folder(run).join("home").exists();
            Ok(Self { folder: make_run_folders(run, &FOLDERS)?, fresh })
        };
        let made = tokio::task::spawn_blocking(made).await.map_err(|error| error.to_string())?;
        made.map_err(|error| format!("no folder for the run in the state folder: {error}"))
    }

    /// Returns the folders that the program may write to. The run's other files belong to the daemon.
    pub(in crate::runner) fn writable(&self) -> Vec<PathBuf> {
        writable(&self.folder)
    }

    /// Returns the environment variables for its folders.
    pub(in crate::runner) fn environment(&self) -> [(String, String); 2] {
        [("HOME", self.home()), ("TMPDIR", self.temporary())]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
    }

    pub(in crate::runner) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    pub(in crate::runner) fn temporary(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// Returns its working directory.
    pub(in crate::runner) fn work(&self) -> PathBuf {
        self.folder.join(WORK_FOLDER)
    }

    /// Writes files into its home, replacing existing ones.
    ///
    /// # Errors
    /// A sentence: which file, and why.
    pub(in crate::runner) async fn write(&self, files: Vec<(String, String)>) -> Result<(), String> {
        let files =
            files.into_iter().map(|(path, text)| (path, SkillFile { bytes: text.into_bytes(), runs: false }));
        self.copy(files.collect()).await
    }

    /// The same for files of any kind.
    ///
    /// # Errors
    /// A sentence: which, and why.
    pub(in crate::runner) async fn copy(&self, files: Vec<(String, SkillFile)>) -> Result<(), String> {
        let home = self.home();
        let written = move || -> Result<(), String> {
            for (path, file) in files {
                replaced(&home, Path::new(&path), &file)
                    .map_err(|error| format!("`{path}` of its home can't be written: {error}"))?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(written).await.map_err(|error| error.to_string())?
    }
}

/// Returns the subfolders of a run's folder that its program may write to.
pub(in crate::runner) fn writable(folder: &Path) -> Vec<PathBuf> {
    FOLDERS.iter().map(|name| folder.join(name)).collect()
}

/// Puts a file in the place of whatever is there: a program may have put links to somewhere else, in each part of the path.
fn replaced(home: &Path, path: &Path, file: &SkillFile) -> io::Result<()> {
    let mut folder = home.to_path_buf();
    for part in path.parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        match folder.symlink_metadata() {
            Ok(found) if found.is_dir() => continue,
            Ok(_) => std::fs::remove_file(&folder)?,
            Err(_) => {}
        }
        std::fs::create_dir(&folder)?;
    }
    let mut fresh = tempfile::NamedTempFile::new_in(&folder)?;
    io::Write::write_all(&mut fresh, &file.bytes)?;
    if file.runs {
        let runs = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fresh.as_file().set_permissions(runs)?;
    }
    fresh.persist(home.join(path)).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Tests of files in a home.
    use super::*;

    #[test]
    fn a_planted_link_is_not_followed_wherever_it_stands() {
        let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = Path::new(".config/opencode/opencode.json");
        for planted in [".config", ".config/opencode", ".config/opencode/opencode.json"] {
            let link = home.path().join(planted);
            let _ = std::fs::remove_dir_all(home.path().join(".config"));
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            let target =
                if planted.ends_with("json") { outside.path().join("x") } else { outside.path().into() };
            std::os::unix::fs::symlink(target, &link).unwrap();
            let file = SkillFile { bytes: b"{}".to_vec(), runs: false };
            replaced(home.path(), path, &file).unwrap();
            assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "{planted}");
            assert!(home.path().join(path).symlink_metadata().unwrap().is_file(), "{planted}");
        }
    }
}
