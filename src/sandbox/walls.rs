//! The walls of a program, and the words that they are sent as.
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What may be done with a path and all beneath it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Files are read, folders are listed.
    Read,
    /// And files are executed.
    Execute,
    /// Read, written, made and removed; nothing is executed.
    Write,
    /// A device is read and written, and neither made nor removed.
    Device,
    /// A socket that has this path is connected to.
    Connect,
}

impl Access {
    const ALL: [(Self, &str); 5] = [
        (Self::Read, "read"),
        (Self::Execute, "execute"),
        (Self::Write, "write"),
        (Self::Device, "device"),
        (Self::Connect, "connect"),
    ];
}

/// A limit that the process itself holds (setrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Files that are open at a time.
    OpenFiles,
    /// Bytes of one file.
    FileSize,
    /// Seconds on a processor.
    Cpu,
}

impl Limit {
    const ALL: [(Self, &str); 3] =
        [(Self::OpenFiles, "open-files"), (Self::FileSize, "file-size"), (Self::Cpu, "cpu")];
}

/// All the walls of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walls {
    /// What is there for it. Everything else is not to be opened.
    pub paths: Vec<(Access, PathBuf)>,
    pub limits: Vec<(Limit, u64)>,
    /// It has a network of its own, out of which leads what answers on this port of 127.0.0.1. `None`: no network.
    pub network: Option<u16>,
}

/// The word for a port.
const NETWORK: &str = "network";

/// The word before a path or number, and what follows the last pair.
const END: &str = "--";

impl Walls {
    /// As words of a command line: pairs of a word and its value.
    pub fn to_words(&self) -> Vec<OsString> {
        let mut words = Vec::with_capacity(2 * (self.paths.len() + self.limits.len()));
        for (access, path) in &self.paths {
            let word = Access::ALL.iter().find(|(one, _)| one == access).map_or("", |(_, word)| word);
            words.extend([OsString::from(word), path.clone().into_os_string()]);
        }
        for (limit, value) in &self.limits {
            let word = Limit::ALL.iter().find(|(one, _)| one == limit).map_or("", |(_, word)| word);
            words.extend([OsString::from(word), value.to_string().into()]);
        }
        if let Some(port) = self.network {
            words.extend([OsString::from(NETWORK), port.to_string().into()]);
        }
        words
    }

    /// Reads the pairs up to `--`, and returns how many words those were. No pair: no walls.
    /// `None`: a word is not known, or there is no `--`.
    pub fn from_words(words: &[OsString]) -> Option<(Option<Self>, usize)> {
        let mut walls = Self::default();
        let mut at = 0;
        while words.get(at)?.as_os_str() != OsStr::new(END) {
            let (word, value) = (words[at].to_str()?, words.get(at + 1)?);
            if let Some((access, _)) = Access::ALL.iter().find(|(_, known)| *known == word) {
                walls.paths.push((*access, value.into()));
            } else if word == NETWORK {
                walls.network = Some(value.to_str()?.parse().ok()?);
            } else {
                let (limit, _) = Limit::ALL.iter().find(|(_, known)| *known == word)?;
                walls.limits.push((*limit, value.to_str()?.parse().ok()?));
            }
            at += 2;
        }
        Some(((at > 0).then_some(walls), at))
    }

    /// May it connect to a socket that has a path?
    pub fn connects(&self) -> bool {
        self.paths.iter().any(|(access, _)| *access == Access::Connect)
    }
}

/// Why a program was not started: a wall could not be put up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotConfined(pub String);
