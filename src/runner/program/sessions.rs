//! The session of a program that goes on from run to run (`resume = "always"`). Each run has a home of its own; of the home
//! before it gets the files of the session alone, as the preset names them: what else a program leaves in its home would be taken
//! for its user's settings.
use super::world::World;
use crate::child::run_folders::session_folder;
use crate::domain::{AgentId, ErrorKind, Preset};
use crate::runner::broken::Break;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Most files of a session.
const MOST_FILES: usize = 20_000;
/// Most bytes of them.
const MOST_BYTES: u64 = 512 << 20;
/// What is known of a session, beside its files; and of the one that a run began with, in the folder of the run.
const ABOUT: &str = "session.json";
/// Where its files are.
const FILES: &str = "files";

/// A session that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptSession {
    /// Its id, in the program's words.
    pub(super) id: String,
    /// Which program.
    pub(super) program: String,
    /// Where that worked: the session is about the files there.
    pub(super) folder: PathBuf,
}

/// Puts the session of the run before into the home of this one. Returns what this run goes on with; `None`: there is nothing, or
/// it is of another program or folder.
///
/// # Errors
/// A sentence: why it begins anew.
pub(super) async fn take_up(
    world: &World,
    preset: &'static Preset,
    agent: &AgentId,
    folder: PathBuf,
) -> Result<Option<KeptSession>, String> {
    let (world, kept) = (world.clone(), session_folder(agent));
    let program = preset.name.to_string();
    let taking = tokio::task::spawn_blocking(move || -> io::Result<_> {
        // a further attempt goes on with what its home has by now
        let begun = world.folder.join(ABOUT);
        if !world.fresh {
            return read(&begun);
        }
        let Some(session) = read(&kept.join(ABOUT))? else { return Ok(None) };
        if session.program != program || session.folder != folder {
            return Ok(None);
        }
        copied(&kept.join(FILES), &world.home(), preset.sessions)?;
        std::fs::write(begun, serde_json::to_vec(&session)?)?;
        Ok(Some(session))
    });
    let taken = taking.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    taken.map_err(|error| format!("the session of the run before can't be read, so it starts over: {error}"))
}

/// Keeps a session for the next run, in the place of the one before.
///
/// # Errors
/// A sentence: it can't be kept.
pub(super) async fn keep(
    world: &World,
    preset: &'static Preset,
    agent: &AgentId,
    session: KeptSession,
) -> Result<(), String> {
    let (home, kept) = (world.home(), session_folder(agent));
    let keeping = tokio::task::spawn_blocking(move || -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        // names of agents may have any ending, but those of sessions begin alike
        let name = kept.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let fresh = kept.with_file_name(format!("new-{name}"));
        let old = kept.with_file_name(format!("old-{name}"));
        remove(&fresh)?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(fresh.join(FILES))?;
        copied(&home, &fresh.join(FILES), preset.sessions)?;
        std::fs::write(fresh.join(ABOUT), serde_json::to_vec(&session)?)?;
        // killed between these two, it has none: the next run starts over
        remove(&old)?;
        match std::fs::rename(&kept, &old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::rename(&fresh, &kept)?,
        }
        remove(&old)
    });
    let kept = keeping.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    kept.map_err(|error| format!("the session can't be kept for the next run: {error}"))
}

/// The next run starts over.
pub(super) async fn forget(agent: &AgentId) {
    let kept = session_folder(agent);
    // one that stays is tried once more
    let _ = tokio::task::spawn_blocking(move || remove(&kept)).await;
}

/// What becomes of a session after an attempt that ended so. `None`: it is not over.
pub(super) fn stays(came: &Result<String, Break>, waits: bool) -> Option<bool> {
    match came {
        Ok(_) => Some(true),
        Err(Break::Stopped) => (!waits).then_some(true),
        // where the session itself may be what is wrong, each run would fail for the same reason
        Err(Break::Failed(error, _)) => Some(matches!(
            error.kind,
            ErrorKind::Timeout
                | ErrorKind::RateLimit
                | ErrorKind::Network
                | ErrorKind::Auth
                | ErrorKind::RequestLimit
                | ErrorKind::TokenLimit
                | ErrorKind::CostLimit
                | ErrorKind::Budget
                | ErrorKind::PermissionDenied
                | ErrorKind::Spawn
                | ErrorKind::Config
                | ErrorKind::Interrupted
        )),
    }
}

fn read(path: &Path) -> io::Result<Option<KeptSession>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies these files and folders, as far as they are there. Links are left out: a program may have made them.
fn copied(from: &Path, to: &Path, paths: &[&str]) -> io::Result<()> {
    let mut left = (MOST_FILES, MOST_BYTES);
    let mut all: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    while let Some(path) = all.pop() {
        let (source, target) = (from.join(&path), to.join(&path));
        // a link in place of a folder on the way would lead elsewhere
        let is_plain =
            |part: &Path| from.join(part).symlink_metadata().is_ok_and(|found| !found.is_symlink());
        if !path.ancestors().filter(|part| !part.as_os_str().is_empty()).all(is_plain) {
            continue;
        }
        let about = source.symlink_metadata()?;
        if about.is_dir() {
            std::fs::create_dir_all(&target)?;
            for entry in std::fs::read_dir(&source)? {
                all.push(path.join(entry?.file_name()));
            }
        } else if about.is_file() {
            let fits = left.0.checked_sub(1).zip(left.1.checked_sub(about.len()));
            left = fits.ok_or_else(|| io::Error::other("it has become too large"))?;
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Tests of what is copied, and of when a session goes on.
    use super::*;
    use crate::domain::RunError;

    #[test]
    fn the_files_of_a_session_are_copied_and_nothing_else() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |path: &str| {
            let path = from.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        write(".claude/projects/-work/s.jsonl");
        write(".claude/settings.json");
        write("elsewhere/secret");
        std::os::unix::fs::symlink(from.path().join("elsewhere"), from.path().join(".claude/projects/link"))
            .unwrap();
        std::os::unix::fs::symlink(from.path().join("elsewhere"), from.path().join("todos")).unwrap();
        copied(from.path(), to.path(), &[".claude/projects", "todos/secret", "none"]).unwrap();
        assert!(to.path().join(".claude/projects/-work/s.jsonl").exists());
        for other in [".claude/settings.json", ".claude/projects/link", "todos"] {
            assert!(to.path().join(other).symlink_metadata().is_err(), "{other}");
        }
    }

    #[test]
    fn a_session_goes_on_unless_it_may_be_what_is_wrong() {
        let failed = |kind| Err(Break::Failed(RunError::new(kind, "x"), None));
        assert_eq!(stays(&Ok(String::new()), false), Some(true));
        assert_eq!(stays(&Err(Break::Stopped), false), Some(true));
        assert_eq!(stays(&Err(Break::Stopped), true), None, "a call waits for a person");
        assert_eq!(stays(&failed(ErrorKind::RateLimit), false), Some(true));
        assert_eq!(stays(&failed(ErrorKind::Provider), false), Some(false));
        assert_eq!(stays(&failed(ErrorKind::ExitStatus), false), Some(false));
    }
}
