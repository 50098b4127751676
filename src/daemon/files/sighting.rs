//! Tracks the files that one agent waits for, and derives what follows from a scan of their folder.
//! Pure: scans and times are passed in.
use crate::domain::FoundFile;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// How long a removed file is remembered, as in the database.
const FORGET_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// The known files of one agent.
#[derive(Debug, Default)]
pub(super) struct Sighting {
    /// Files with a recorded outcome, by path.
    arrived: HashMap<String, Arrived>,
    /// Files without an outcome, by path.
    fresh: BTreeMap<String, Fresh>,
}

#[derive(Debug)]
struct Arrived {
    mark: String,
    /// When it was removed, relative to the start of this life.
    gone: Option<Duration>,
}

#[derive(Debug)]
struct Fresh {
    file: FoundFile,
    /// Since when it has been unchanged, as far as observed.
    since: Duration,
}

/// The result of a scan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Files that have settled and have no outcome, in processing order: by modification time.
    pub(super) settled: Vec<FoundFile>,
    /// When the next file may have settled.
    pub(super) wake: Option<Duration>,
    /// Files removed since the previous scan, by path.
    pub(super) gone: Vec<String>,
    /// Files that are back unchanged, by path.
    pub(super) back: Vec<String>,
}

impl Sighting {
    /// Adds a file whose outcome was recorded in an earlier life. Times are relative to the start
    /// of this one.
    pub(super) fn remember(&mut self, path: String, mark: String, is_gone: bool) {
        self.arrived.insert(path, Arrived { mark, gone: is_gone.then_some(Duration::ZERO) });
    }

    /// Processes a scan of the folder. `settle`: how long a file must be unchanged.
    pub(super) fn look(&mut self, found: Vec<FoundFile>, now: Duration, settle: Duration) -> Looked {
        let mut looked = Looked::default();
        let there: HashSet<String> = found.iter().map(|file| file.path.clone()).collect();
        self.fresh.retain(|path, _| there.contains(path));
        self.arrived
            .retain(|_, known| known.gone.is_none_or(|since| now.saturating_sub(since) < FORGET_AFTER));
        for (path, known) in &self.arrived {
            if known.gone.is_none() && !there.contains(path) {
                looked.gone.push(path.clone());
            }
        }
        looked.gone.sort();
        for file in found {
            if let Some(known) = self.arrived.get(&file.path).filter(|known| known.mark == file.mark()) {
                self.fresh.remove(&file.path);
                if known.gone.is_some() {
                    looked.back.push(file.path);
                }
                continue;
            }
            let fresh = self
                .fresh
                .entry(file.path.clone())
                .or_insert_with(|| Fresh { file: file.clone(), since: now });
            if fresh.file != file {
                *fresh = Fresh { file: file.clone(), since: now };
            }
            let settles = fresh.since + settle;
            if settles <= now {
                looked.settled.push(file);
            } else {
                looked.wake = Some(looked.wake.map_or(settles, |wake| wake.min(settles)));
            }
        }
        looked.settled.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        looked
    }

    /// Marks files as gone or back, once that is recorded.
    pub(super) fn left(&mut self, gone: &[String], back: &[String], now: Duration) {
        for (paths, since) in [(gone, Some(now)), (back, None)] {
            for path in paths {
                if let Some(known) = self.arrived.get_mut(path) {
                    known.gone = since;
                }
            }
        }
    }

    /// Returns the mark that identifies a file with an outcome.
    pub(super) fn mark_of(&self, path: &str) -> Option<String> {
        self.arrived.get(path).map(|known| known.mark.clone())
    }

    /// Marks files whose outcome is recorded.
    pub(super) fn taken(&mut self, files: &[FoundFile]) {
        for file in files {
            self.fresh.remove(&file.path);
            self.arrived.insert(file.path.clone(), Arrived { mark: file.mark(), gone: None });
        }
    }

    /// Returns the paths of files that are not gone.
    pub(super) fn there(&self) -> Vec<String> {
        let there = self.arrived.iter().filter(|(_, known)| known.gone.is_none());
        there.map(|(path, _)| path.clone()).collect()
    }

    /// Starts to observe files without an outcome from the beginning.
    pub(super) fn begin_anew(&mut self) {
        self.fresh.clear();
    }
}

#[cfg(test)]
mod tests {
    //! Looks at a folder, with times that a test says.
    use super::*;
    use jiff::Timestamp;

    fn file(name: &str, size: u64, modified: i64) -> FoundFile {
        FoundFile {
            name: name.into(),
            path: format!("/inbox/{name}"),
            size,
            modified: Timestamp::from_second(modified).unwrap(),
            inode: 7,
        }
    }

    const SETTLE: Duration = Duration::from_secs(5);

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn names(looked: &Looked) -> Vec<&str> {
        looked.settled.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn a_file_counts_when_it_has_not_changed_for_so_long_and_once() {
        let mut sighting = Sighting::default();
        let looked = sighting.look(vec![file("a", 1, 0)], at(0), SETTLE);
        assert_eq!((names(&looked), looked.wake), (vec![], Some(at(5))));
        // it grows
        let looked = sighting.look(vec![file("a", 2, 0)], at(4), SETTLE);
        assert_eq!((names(&looked), looked.wake), (vec![], Some(at(9))));
        // as large, written again
        let looked = sighting.look(vec![file("a", 2, 1)], at(8), SETTLE);
        assert_eq!((names(&looked), looked.wake), (vec![], Some(at(13))));
        let looked = sighting.look(vec![file("a", 2, 1)], at(13), SETTLE);
        assert_eq!((names(&looked), looked.wake), (vec!["a"], None));
        // nobody took it: it is still there to be taken
        assert_eq!(names(&sighting.look(vec![file("a", 2, 1)], at(14), SETTLE)), ["a"]);
        sighting.taken(&looked.settled);
        assert_eq!(sighting.look(vec![file("a", 2, 1)], at(100), SETTLE), Looked::default());
        // rewritten, it is another one
        let _ = sighting.look(vec![file("a", 2, 50)], at(101), SETTLE);
        assert_eq!(names(&sighting.look(vec![file("a", 2, 50)], at(106), SETTLE)), ["a"]);
    }

    #[test]
    fn without_settling_it_counts_at_once_in_the_order_of_change() {
        let mut sighting = Sighting::default();
        let found = vec![file("a", 1, 9), file("c", 1, 3), file("b", 1, 3)];
        assert_eq!(names(&sighting.look(found, at(0), Duration::ZERO)), ["b", "c", "a"]);
    }

    #[test]
    fn what_went_and_came_back_as_it_was_is_no_news() {
        let mut sighting = Sighting::default();
        sighting.remember("/inbox/a".into(), file("a", 1, 0).mark(), false);
        let looked = sighting.look(vec![], at(0), SETTLE);
        assert_eq!(looked.gone, ["/inbox/a"]);
        // it could not be recorded: it is told again
        assert_eq!(sighting.look(vec![], at(1), SETTLE).gone, ["/inbox/a"]);
        sighting.left(&looked.gone, &[], at(1));
        assert_eq!((sighting.look(vec![], at(2), SETTLE), sighting.there()), (Looked::default(), vec![]));
        let looked = sighting.look(vec![file("a", 1, 0)], at(3), SETTLE);
        assert_eq!((names(&looked), &looked.back[..]), (vec![], &["/inbox/a".to_owned()][..]));
        sighting.left(&[], &looked.back, at(3));
        assert_eq!(sighting.look(vec![file("a", 1, 0)], at(9), SETTLE), Looked::default());
        // gone for a week, it is forgotten
        sighting.left(&["/inbox/a".into()], &[], at(9));
        let week = at(9 + 7 * 24 * 3600);
        assert_eq!(names(&sighting.look(vec![file("a", 1, 0)], week, Duration::ZERO)), ["a"]);
        // the same content under another name is another file
        assert_eq!(names(&sighting.look(vec![file("b", 1, 0)], week, Duration::ZERO)), ["b"]);
    }

    #[test]
    fn a_file_that_goes_before_it_has_settled_never_was() {
        let mut sighting = Sighting::default();
        let _ = sighting.look(vec![file("a", 1, 0)], at(0), SETTLE);
        let _ = sighting.look(vec![], at(2), SETTLE);
        let looked = sighting.look(vec![file("a", 1, 0)], at(6), SETTLE);
        assert_eq!((names(&looked), looked.wake), (vec![], Some(at(11))));
    }
}
