//! Files that start an agent (`on = { file = … }`): which ones it waits for, and what is known of one that has settled.
use super::event::FileArrived;
use super::glob::{glob, is_glob};
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;

/// Ends of names that programs give to files which they are still writing.
const UNFINISHED: &[&str] =
    &[".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", "~"];

/// The files that start an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTrigger {
    /// As it stands in the configuration, for people.
    pub pattern: Box<str>,
    /// The folder that they lie in.
    pub folder: PathBuf,
    /// Their name in it: a pattern with `*` and `?`, or the name itself.
    pub name: Box<str>,
    /// For so long neither size nor time of change of a file may have changed before it counts.
    pub settle: SignedDuration,
}

impl FileTrigger {
    /// `settle` where nothing is said of it.
    pub const SETTLE: SignedDuration = SignedDuration::from_secs(5);
    /// The longest `settle`.
    pub const LONGEST_SETTLE: SignedDuration = SignedDuration::from_hours(1);

    /// `file inbox/*.csv`
    pub fn describe(&self) -> String {
        format!("file {}", self.pattern)
    }

    /// Does it wait for a file of this name? Hidden files and those of a name that says that they are still being written
    /// only where the pattern names them.
    pub fn takes(&self, name: &str) -> bool {
        let pattern = &*self.name;
        let is_hidden = name.starts_with('.') && !pattern.starts_with('.');
        let is_unfinished = |end: &&&str| name.ends_with(**end) && !pattern.ends_with(**end);
        !is_hidden && UNFINISHED.iter().find(is_unfinished).is_none() && glob(pattern, name)
    }

    /// Can more than one file fit?
    pub fn is_pattern(&self) -> bool {
        is_glob(&self.name)
    }
}

/// A file as it lay in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Its name in the folder.
    pub name: String,
    /// Where it lies: the folder without links, and the name.
    pub path: String,
    pub size: u64,
    /// When it was last changed.
    pub modified: Timestamp,
    /// Its number in its file system.
    pub inode: u64,
}

impl FoundFile {
    /// Tells it apart from any other that lies at the same path before or after it. Without the number of its device, which
    /// many file systems get anew each time that they are mounted: files of before would all be new after a restart of the
    /// machine.
    pub fn mark(&self) -> String {
        format!("{} {} {}", self.inode, self.size, self.modified.as_nanosecond())
    }

    /// What the event says of it.
    pub fn told(&self) -> FileArrived {
        FileArrived {
            path: self.path.clone(),
            name: self.name.clone(),
            size: self.size,
            modified: self.modified,
        }
    }
}

#[cfg(test)]
mod tests {
    //! Which names are taken.
    use super::*;

    fn trigger(name: &str) -> FileTrigger {
        FileTrigger {
            pattern: format!("inbox/{name}").into(),
            folder: "/inbox".into(),
            name: name.into(),
            settle: FileTrigger::SETTLE,
        }
    }

    #[test]
    fn what_is_hidden_or_being_written_is_taken_only_where_it_is_named() {
        for (pattern, name, takes) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "a.CSV", false),
            ("*.csv", ".a.csv", false),
            (".*.csv", ".a.csv", true),
            ("*", "a", true),
            ("*", "a.part", false),
            ("*", "a.csv~", false),
            ("*", "a.crdownload", false),
            ("*", ".hidden", false),
            ("*.part", "a.part", true),
            ("*.tmp", "a.part", false),
            ("a.tmp", "a.tmp", true),
            ("a?.csv", "a1.csv", true),
        ] {
            assert_eq!(trigger(pattern).takes(name), takes, "{pattern} {name}");
        }
    }
}
