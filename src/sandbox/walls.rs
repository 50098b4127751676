//! The restrictions of a program, and their encoding as words.
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The access to a path and everything beneath it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read files, list folders.
    Read,
    /// Also execute files.
    Execute,
    /// Read, write, create and remove; not execute.
    Write,
    /// Read and write a device, but not create or remove it.
    Device,
    /// Connect to the Unix socket with this path.
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

/// A limit that applies to the process itself (setrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    OpenFiles,
    /// Bytes of one file.
    FileSize,
    /// Seconds of CPU time.
    Cpu,
}

impl Limit {
    const ALL: [(Self, &str); 3] =
        [(Self::OpenFiles, "open-files"), (Self::FileSize, "file-size"), (Self::Cpu, "cpu")];
}

/// All restrictions of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walls {
    /// The accessible paths. Everything else is inaccessible.
    pub paths: Vec<(Access, PathBuf)>,
    pub limits: Vec<(Limit, u64)>,
    /// It has its own network namespace, with a proxy on this port of 127.0.0.1. `None`: no network.
    pub network: Option<u16>,
}

/// The word for a port.
const NETWORK: &str = "network";

/// The word that ends the list.
const END: &str = "--";

impl Walls {
    /// Encodes it as words of a command line: pairs of a word and its value.
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

    /// Parses the pairs up to `--`, and returns how many words those were. No pair: no sandbox. `None`: a word is unknown, or
    /// there is no `--`.
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

    /// Returns whether it may connect to any Unix socket.
    pub fn connects(&self) -> bool {
        self.paths.iter().any(|(access, _)| *access == Access::Connect)
    }
}

/// Why a program was not started: a restriction could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotConfined(pub String);
