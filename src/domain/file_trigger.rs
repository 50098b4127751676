//! File triggers (`on = { file = … }`): which files an agent waits for, and the properties of a file that has
//! settled.
use super::event::FileArrived;
use super::glob::{glob, is_glob};
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;

/// Name suffixes of files that programs are still writing.
const UNFINISHED_SUFFIXES: &[&str] =
    &[".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", "~"];

/// The files that start an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTrigger {
    /// The pattern as configured, for people.
    pub pattern: Box<str>,
    /// Folder of the files.
    pub folder: PathBuf,
    /// File name: a pattern with `*` and `?`, or a literal name.
    pub name: Box<str>,
    /// Minimum time without a change of size or modification time before a file counts.
    pub settle: SignedDuration,
}

impl FileTrigger {
    /// Default of `settle`.
    pub const SETTLE: SignedDuration = SignedDuration::from_secs(5);
    /// Maximum of `settle`.
    pub const MAX_SETTLE: SignedDuration = SignedDuration::from_hours(1);

    /// Returns a text such as `file inbox/*.csv`.
    pub fn describe(&self) -> String {
        format!("file {}", self.pattern)
    }

    /// Returns whether a file name matches. Hidden files, and those with a suffix of unfinished files, match only
    /// if the pattern has the same form.
    pub fn takes(&self, name: &str) -> bool {
        let pattern = &*self.name;
        let is_hidden = name.starts_with('.') && !pattern.starts_with('.');
        let is_unfinished = |end: &&&str| name.ends_with(**end) && !pattern.ends_with(**end);
        !is_hidden && UNFINISHED_SUFFIXES.iter().find(is_unfinished).is_none() && glob(pattern, name)
    }

    /// Returns whether several files can match.
    pub fn is_pattern(&self) -> bool {
        is_glob(&self.name)
    }
}

/// A file found in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Its name in the folder.
    pub name: String,
    /// Its path: the folder with links resolved, and the name.
    pub path: String,
    pub size: u64,
    /// Time of the last modification.
    pub modified: Timestamp,
    /// Its inode number.
    pub inode: u64,
}

impl FoundFile {
    /// Returns a mark that distinguishes it from other files at the same path. It excludes the device number, which
    /// many file systems assign anew at each mount: all files would count as new after a reboot.
    pub fn mark(&self) -> String {
        format!("{} {} {}", self.inode, self.size, self.modified.as_nanosecond())
    }

    /// Returns the payload of its event.
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
