//! Git repositories in a folder that a program may change: their settings make git run programs as whoever uses it there, which
//! would let a sandboxed program run code outside its sandbox.
use crate::domain::{ErrorKind, RunError, holds_repository};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Maximum number of entries that are checked below a folder.
const MAX_ENTRIES: usize = 200_000;
const SEARCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The result of a search for repositories in a folder, above it and below.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LookedThrough {
    None,
    Found(PathBuf),
    /// None in the part that was searched in time.
    Cut,
}

/// Searches for a repository in a folder, above it, and below it, the nearest first.
pub(super) async fn look(folder: &Path) -> LookedThrough {
    let folder = folder.to_owned();
    let looking =
        tokio::task::spawn_blocking(move || looked(&folder, MAX_ENTRIES, Instant::now() + SEARCH_TIMEOUT));
    // after a panic, the search is incomplete
    looking.await.unwrap_or(LookedThrough::Cut)
}

fn looked(folder: &Path, entries: usize, until: Instant) -> LookedThrough {
    let is_one = |folder: &&Path| holds_repository(|name| folder.join(name).symlink_metadata().is_ok());
    if let Some(found) = folder.ancestors().find(is_one) {
        return LookedThrough::Found(found.to_owned());
    }
    let mut left = entries;
    let mut folders = VecDeque::from([folder.to_owned()]);
    while let Some(folder) = folders.pop_front() {
        // what the folder's owner can't read, git can't read either
        let Ok(found) = std::fs::read_dir(&folder) else { continue };
        for entry in found.flatten() {
            if left == 0 || Instant::now() > until {
                return LookedThrough::Cut;
            }
            left -= 1;
            // links are not followed: the program can't change their targets
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let below = entry.path();
            if is_one(&below.as_path()) {
                return LookedThrough::Found(below);
            }
            folders.push_back(below);
        }
    }
    LookedThrough::None
}

/// Returns the error for a folder with a repository: no program runs there, and a run that has left one there has failed.
pub(super) fn refusal(folder: &Path, found: &Path) -> RunError {
    let why = format!(
        "in its folder `{}`, or above it, there is a git repository now: `{}`. What the program writes there could make git run \
         programs as you. Look at its settings and hooks before you use git there, and remove it, or write `repo` instead of \
         `dir`",
        folder.display(),
        found.display()
    );
    RunError::new(ErrorKind::Config, why)
}

/// Returns the warning about a folder that is too large to be searched.
pub(super) fn too_large(folder: &Path) -> String {
    format!(
        "its folder `{}` has so many files that not all of it was looked through for git repositories, whose settings git \
         would run as you; use a smaller one",
        folder.display()
    )
}

#[cfg(test)]
mod tests {
    //! Tests of what is found, and how far it is looked.
    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    fn bare(folder: &Path) {
        std::fs::create_dir_all(folder.join("objects")).unwrap();
        std::fs::create_dir_all(folder.join("refs")).unwrap();
        std::fs::write(folder.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        std::fs::write(folder.join("config"), "[core]\nfsmonitor = evil\n").unwrap();
    }

    #[test]
    fn a_repository_is_found_in_each_layout_and_wherever_it_stands() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("notes");
        std::fs::create_dir_all(folder.join("a/b")).unwrap();
        std::fs::write(folder.join("a/HEAD"), "x").unwrap();
        assert_eq!(looked(&folder, MAX_ENTRIES, later()), LookedThrough::None);
        for place in [folder.clone(), base.path().to_owned(), folder.join("a/b"), folder.join("x/y/z")] {
            let planted: [&dyn Fn(); 3] =
                [&|| bare(&place), &|| std::fs::write(place.join(".git"), "gitdir: /x").unwrap(), &|| {
                    std::os::unix::fs::symlink("/nowhere", place.join(".git")).unwrap()
                }];
            for plant in planted {
                std::fs::create_dir_all(&place).unwrap();
                plant();
                assert_eq!(looked(&folder, MAX_ENTRIES, later()), LookedThrough::Found(place.clone()));
                for name in [".git", "HEAD", "config"] {
                    let _ = std::fs::remove_file(place.join(name));
                }
                for name in ["objects", "refs"] {
                    let _ = std::fs::remove_dir_all(place.join(name));
                }
            }
        }
        assert_eq!(looked(&folder, MAX_ENTRIES, later()), LookedThrough::None);
    }

    #[test]
    fn what_is_not_looked_at_is_not_taken_for_empty() {
        let folder = tempfile::tempdir().unwrap();
        for at in 0..20 {
            std::fs::write(folder.path().join(format!("{at}")), "x").unwrap();
        }
        assert_eq!(looked(folder.path(), 20, later()), LookedThrough::None);
        assert_eq!(looked(folder.path(), 19, later()), LookedThrough::Cut);
        assert_eq!(
            looked(folder.path(), MAX_ENTRIES, Instant::now() - Duration::from_millis(1)),
            LookedThrough::Cut
        );
        // a link leads elsewhere
        let other = tempfile::tempdir().unwrap();
        bare(&other.path().join("r"));
        std::os::unix::fs::symlink(other.path(), folder.path().join("link")).unwrap();
        assert_eq!(looked(folder.path(), MAX_ENTRIES, later()), LookedThrough::None);
    }
}
