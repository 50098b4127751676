//! The folders of runs in the state folder: where agent programs live while their run is not over, and where work stays that
//! could not be brought back; how much room they take, and which of them may go.
use super::confined::{removed, state_folder};
use crate::domain::{AgentId, RunId};
use serde::Serialize;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Folder of the folders of runs, in the state folder.
const OF_RUNS: &str = "runs";
/// Folder of what could not be brought back of runs, in the state folder.
const KEPT: &str = "kept";
/// Folder of sessions that go on from run to run, in the state folder.
const SESSIONS: &str = "sessions";
/// Entries that are counted of one folder: programs may leave millions.
const ENTRIES: usize = 500_000;
/// How long all folders are looked at.
const PATIENCE: Duration = Duration::from_secs(60);

/// Moves a folder of a run out of it, to where it stays when the run has ended. Returns the place, which is the attempt's.
///
/// # Errors
/// What the system says.
pub fn keep_of_run(run: RunId, attempt: u32, name: &str) -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let kept = run_folders().with_file_name(KEPT);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&kept)?;
    let place = kept.join(format!("{run}-{attempt}"));
    std::fs::rename(run_folder(run).join(name), &place)?;
    Ok(place)
}

/// Where the folders of runs are.
fn run_folders() -> PathBuf {
    match state_folder() {
        Some(state) => state.join(OF_RUNS),
        None => std::env::temp_dir().join("bgagent-runs"),
    }
}

/// The folder of a run, which all its attempts share. It is made by who needs it.
pub fn run_folder(run: RunId) -> PathBuf {
    run_folders().join(run.to_string())
}

/// Where the session of an agent's program is kept from run to run.
pub fn session_folder(agent: &AgentId) -> PathBuf {
    run_folders().with_file_name(SESSIONS).join(format!("of-{agent}"))
}

/// Makes folders in the folder of a run, which nobody else may look into.
///
/// # Errors
/// What the system says.
pub fn make_run_folders(run: RunId, names: &[&str]) -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let folder = run_folder(run);
    for name in names {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join(name))?;
    }
    Ok(folder)
}

/// Removes the folder of a run that has ended, if it had one.
pub fn remove_run_folder(run: RunId) {
    let folder = run_folder(run);
    if folder.exists() {
        removed(&folder);
    }
}

/// Removes the folders of all runs but these. At the start of a daemon: what an earlier one has left.
pub fn remove_run_folders_but(live: &HashSet<RunId>) {
    let Ok(folders) = std::fs::read_dir(run_folders()) else { return };
    let is_live = |name: &OsStr| {
        name.to_str().and_then(|name| name.parse().ok()).is_some_and(|run| live.contains(&run))
    };
    for folder in folders.flatten().filter(|entry| !is_live(&entry.file_name())) {
        removed(&folder.path());
    }
}

/// Work of a run that could not be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptWork {
    /// Where it is.
    pub folder: PathBuf,
    /// Of which run.
    pub run: RunId,
    /// Of which attempt.
    pub attempt: u32,
    /// What it takes on disk.
    pub bytes: u64,
}

impl KeptWork {
    /// Removes it; what can't be removed is logged and stays.
    pub fn remove(&self) {
        removed(&self.folder);
    }
}

/// What the folders of runs take on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkspaceUse {
    /// Those of runs that are not over, in bytes.
    pub of_runs: u64,
    /// How many of these there are.
    pub runs: u64,
    /// Sessions that go on from run to run, in bytes.
    pub sessions: u64,
    /// What stays of runs that are over, the oldest first.
    pub kept: Vec<KeptWork>,
    /// There was more than is counted.
    pub is_cut: bool,
}

/// The sums of a [`WorkspaceUse`], for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkspaceSums {
    /// Of runs that are not over, in bytes.
    pub of_runs: u64,
    /// How many runs.
    pub runs: u64,
    /// Of work that could not be brought back, in bytes.
    pub kept: u64,
    /// In how many folders.
    pub kept_folders: u64,
    /// Of sessions that go on from run to run, in bytes.
    pub sessions: u64,
    /// There is more than was counted.
    pub is_cut: bool,
}

impl WorkspaceUse {
    /// All of it.
    pub fn sums(&self) -> WorkspaceSums {
        WorkspaceSums {
            of_runs: self.of_runs,
            runs: self.runs,
            kept: self.kept.iter().map(|one| one.bytes).sum(),
            kept_folders: self.kept.len() as u64,
            sessions: self.sessions,
            is_cut: self.is_cut,
        }
    }

    /// What is to go so that no more than this is taken: the oldest of what is kept. Folders of runs that are not over stay.
    pub fn beyond(&self, bound: u64) -> &[KeptWork] {
        let sums = self.sums();
        let mut total = sums.total();
        let stay = |one: &KeptWork| {
            let fits = total <= bound;
            total = total.saturating_sub(one.bytes);
            fits
        };
        let first = self.kept.iter().position(stay).unwrap_or(self.kept.len());
        &self.kept[..first]
    }
}

impl WorkspaceSums {
    /// In bytes.
    pub fn total(&self) -> u64 {
        self.of_runs.saturating_add(self.kept).saturating_add(self.sessions)
    }
}

/// What the folders of runs in a state folder take. It reads folders: not for the loop.
pub fn workspaces_in(state: &Path) -> WorkspaceUse {
    let until = Instant::now() + PATIENCE;
    let mut found = WorkspaceUse::default();
    for folder in folders_in(&state.join(OF_RUNS)) {
        found.runs += 1;
        found.of_runs += size(&folder, until, &mut found.is_cut);
    }
    for folder in folders_in(&state.join(KEPT)) {
        // what has another name is somebody else's: nobody removes it
        let Some((run, attempt)) = of_name(&folder) else { continue };
        let bytes = size(&folder, until, &mut found.is_cut);
        found.kept.push(KeptWork { folder, run, attempt, bytes });
    }
    for folder in folders_in(&state.join(SESSIONS)) {
        found.sessions += size(&folder, until, &mut found.is_cut);
    }
    // the ids of runs are in the order of their time, whatever the clock says now
    found.kept.sort_by_key(|one| (one.run, one.attempt));
    found
}

fn of_name(folder: &Path) -> Option<(RunId, u32)> {
    let (run, attempt) = folder.file_name()?.to_str()?.rsplit_once('-')?;
    Some((run.parse().ok()?, attempt.parse().ok()?))
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    found
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// What a folder takes on disk. No link is followed, and a file with several names counts once.
fn size(folder: &Path, until: Instant, is_cut: &mut bool) -> u64 {
    let (mut bytes, mut left, mut linked) = (0, ENTRIES, HashSet::new());
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // what can't be read, or lies deeper than a path can be long, is not counted
        let Ok(entries) = std::fs::read_dir(&folder) else {
            *is_cut = true;
            continue;
        };
        for entry in entries.flatten() {
            if left == 0 || Instant::now() > until {
                *is_cut = true;
                return bytes;
            }
            left -= 1;
            let Ok(found) = entry.metadata() else { continue };
            if found.nlink() > 1 && !found.is_dir() && !linked.insert((found.dev(), found.ino())) {
                continue;
            }
            bytes += found.blocks() * 512;
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    //! Tests of what is counted, and what goes.
    use super::*;

    fn work(bytes: u64) -> KeptWork {
        KeptWork { folder: PathBuf::new(), run: RunId::make(0, 7, bytes), attempt: 1, bytes }
    }

    #[test]
    fn the_oldest_goes_first_and_no_more_than_is_needed() {
        let kept = vec![work(10), work(20), work(30)];
        let found = WorkspaceUse { of_runs: 40, runs: 1, sessions: 10, kept, is_cut: false };
        let goes = |bound| found.beyond(bound).iter().map(|one| one.bytes).collect::<Vec<_>>();
        assert_eq!(goes(200), [0_u64; 0]);
        assert_eq!(goes(110), [0_u64; 0]);
        assert_eq!(goes(109), [10]);
        assert_eq!(goes(100), [10]);
        assert_eq!(goes(99), [10, 20]);
        assert_eq!(goes(0), [10, 20, 30], "what runs in flight take is not theirs");
        assert_eq!(found.sums().total(), 110);
    }

    #[test]
    fn folders_of_runs_are_counted_and_others_are_nobodys() {
        let state = tempfile::tempdir().unwrap();
        let (old, new) = ("0199f3c2-8a00-7000-8000-5d1c1f2e3d4c", "0199f3c2-8a01-7000-8000-5d1c1f2e3d4c");
        let write = |path: &str, bytes: usize| {
            let path = state.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![1_u8; bytes]).unwrap();
        };
        write(&format!("runs/{new}/home/deep/er/file"), 100_000);
        write(&format!("kept/{new}-1/file"), 50_000);
        write(&format!("kept/{old}-2/file"), 50_000);
        write(&format!("kept/{old}-10/file"), 50_000);
        write("kept/mine/file", 50_000);
        let one = state.path().join(format!("kept/{new}-1"));
        std::fs::hard_link(one.join("file"), one.join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", one.join("link")).unwrap();
        let found = workspaces_in(state.path());
        let names: Vec<(String, u32)> =
            found.kept.iter().map(|one| (one.run.to_string(), one.attempt)).collect();
        assert_eq!(names, [(old.to_owned(), 2), (old.to_owned(), 10), (new.to_owned(), 1)]);
        assert_eq!((found.runs, found.is_cut), (1, false));
        assert!((100_000..200_000).contains(&found.of_runs), "{found:?}");
        assert!(found.kept.iter().all(|one| (50_000..90_000).contains(&one.bytes)), "{found:?}");
        found.kept[0].remove();
        assert_eq!(workspaces_in(state.path()).sums().kept_folders, 2);
        assert_eq!(workspaces_in(&state.path().join("none")), WorkspaceUse::default());
    }
}
