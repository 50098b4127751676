//! Notes in the state folder the runs that this node has in flight, so that leftovers of a killed
//! daemon are ended before the node joins again, whatever the database says by then.
use crate::config::Paths;
use crate::domain::{Process, RunId};
use crate::runner;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Subfolder of the state folder with one file per run.
const FOLDER: &str = "placed";

/// How long leftovers have to end after TERM.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// The notes of one state folder.
#[derive(Debug, Clone)]
pub(in crate::daemon) struct RunNotes {
    folder: PathBuf,
}

impl RunNotes {
    pub(in crate::daemon) fn of(paths: &Paths) -> Self {
        Self { folder: paths.state_dir.join(FOLDER) }
    }

    /// Notes a run before it starts programs here.
    ///
    /// # Errors
    /// It can't be noted, so the run must not be started.
    pub(super) fn note(&self, run: RunId) -> io::Result<()> {
        let path = self.path(run);
        match std::fs::write(&path, "") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&self.folder)?;
                std::fs::write(path, "")
            }
            written => written,
        }
    }

    /// Removes the note of a run of which no process is left.
    pub(super) fn forget(&self, run: RunId) {
        if let Err(error) = std::fs::remove_file(self.path(run))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%run, %error, "the note of a run could not be removed");
        }
    }

    fn path(&self, run: RunId) -> PathBuf {
        self.folder.join(run.to_string())
    }

    /// Ends the processes of runs placed here in an earlier life of this daemon, and its helpers.
    pub(in crate::daemon) async fn end_leftovers(&self, me: RunId) {
        let left = noted(&self.folder);
        if left.is_empty() {
            return;
        }
        let mut started: Vec<(RunId, Vec<Process>)> = left.iter().map(|run| (*run, Vec::new())).collect();
        started.push((me, Vec::new()));
        let processes = runner::reap_leftovers(&started, KILL_GRACE).await;
        if processes > 0 {
            let runs = left.len();
            tracing::warn!(runs, processes, "ended what the last daemon had left in flight for another one");
        }
        left.into_iter().for_each(|run| self.forget(run));
    }
}

fn noted(folder: &Path) -> Vec<RunId> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    files.flatten().filter_map(|file| file.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_in_hand_are_noted() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join(FOLDER);
        let notes = RunNotes { folder: folder.clone() };
        let [one, other] = [[1; 16], [2; 16]].map(RunId::from_bytes);
        assert!(noted(&folder).is_empty());
        notes.note(one).unwrap();
        notes.note(other).unwrap();
        notes.note(one).unwrap();
        std::fs::write(folder.join("something else"), "").unwrap();
        notes.forget(other);
        notes.forget(other);
        assert_eq!(noted(&folder), [one]);
    }
}
