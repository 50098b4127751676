//! The protocol between a keeper and the process that started it, over a socket (unix(7)).
//!
//! To the keeper: single bytes ([`PREPARE`], [`GO`], [`TERMINATE`], [`KILL`]). [`GO`] is sent with descriptors: a file with the
//! [`Order`], and the program's standard input if it has one. Closing the connection is an order to kill as well. From the
//! keeper: lines ([`KeeperMessage`]).
//!
//! The order is not passed in the keeper's arguments: those are visible to everyone, and a search for a program by its
//! arguments would find two.
use crate::sandbox::Walls;
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Before the program, after its sandbox.
const DASHES: &str = "--";

/// Exit code of a keeper that never got permission.
pub const NOT_ALLOWED: i32 = 113;

/// The program will have a sandbox: the process that becomes it can be prepared. It runs nothing of the program before [`GO`].
pub const PREPARE: u8 = b'p';
/// Start the program. Sent with the order, then the program's input if it has one, then a socket if the program has its own
/// network namespace: the listener there is returned over that socket ([`LISTENER`]).
pub const GO: u8 = b'g';
/// Send SIGTERM to everything that is left.
pub const TERMINATE: u8 = b't';
/// Kill everything that is left, then exit.
pub const KILL: u8 = b'k';

/// From the confined program, over the socket that was sent with [`GO`]: the listener of its network namespace.
pub const LISTENER: u8 = b'l';

/// A message of a keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeeperMessage {
    /// The program could not be executed, or its sandbox not be set up; why.
    NotStarted(String),
    /// The program exited.
    Exited {
        code: i32,
        /// Whether any of its processes is still alive.
        left: bool,
    },
    /// The program was killed by a signal.
    Signalled {
        signal: i32,
        /// Whether any of its processes is still alive.
        left: bool,
    },
}

impl fmt::Display for KeeperMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(why) => writeln!(f, "not-started {}", why.replace(['\n', '\r'], " ")),
            Self::Exited { code, left } => writeln!(f, "exited {code} {}", u8::from(*left)),
            Self::Signalled { signal, left } => writeln!(f, "signalled {signal} {}", u8::from(*left)),
        }
    }
}

impl KeeperMessage {
    /// Parses a line, without its newline.
    pub fn read(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        if word == "not-started" {
            return Some(Self::NotStarted(rest.to_owned()));
        }
        let (number, left) = rest.split_once(' ')?;
        let (number, left) = (number.parse().ok()?, left == "1");
        match word {
            "exited" => Some(Self::Exited { code: number, left }),
            "signalled" => Some(Self::Signalled { signal: number, left }),
            _ => None,
        }
    }
}

/// Maximum descriptors sent with an order.
const MAX_DESCRIPTORS: usize = 3;

/// Sends an order, with at most three descriptors.
///
/// # Errors
/// The error of the system.
pub fn send(to: impl AsFd, order: u8, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let byte = [order];
    loop {
        match sendmsg(to.as_fd(), &[IoSlice::new(&byte)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Waits for an order. `None`: the connection was closed.
///
/// # Errors
/// The error of the system.
pub fn receive(from: impl AsFd) -> Result<Option<(u8, Vec<OwnedFd>)>, Errno> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let mut byte = [0u8; 1];
    let got = loop {
        let flags = RecvFlags::CMSG_CLOEXEC;
        match recvmsg(from.as_fd(), &mut [IoSliceMut::new(&mut byte)], &mut control, flags) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(all) = message {
            descriptors.extend(all);
        }
    }
    Ok((got.bytes == 1).then_some((byte[0], descriptors)))
}

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its sandbox; `None`: none.
    pub walls: Option<Walls>,
    pub program: PathBuf,
    /// Its arguments, with its own name first.
    pub argv: Vec<OsString>,
}

impl Order {
    /// Returns whether the program has its own network namespace.
    pub fn has_network(&self) -> bool {
        self.walls.as_ref().is_some_and(|walls| walls.network.is_some())
    }

    /// Writes it to a file: words, each terminated by NUL, which no argument can contain (execve(2)).
    ///
    /// # Errors
    /// The error of the system, or that something contains a NUL.
    pub fn to_file(&self) -> io::Result<OwnedFd> {
        let mut words = self.walls.as_ref().map(Walls::to_words).unwrap_or_default();
        words.extend([DASHES.into(), self.program.clone().into_os_string()]);
        words.extend_from_slice(&self.argv);
        let mut bytes = Vec::new();
        for word in &words {
            if word.as_bytes().contains(&0) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "an argument has a NUL byte"));
            }
            bytes.extend_from_slice(word.as_bytes());
            bytes.push(0);
        }
        #[cfg(target_os = "linux")]
        let mut file = File::from(rustix::fs::memfd_create("order", rustix::fs::MemfdFlags::CLOEXEC)?);
        #[cfg(not(target_os = "linux"))]
        let mut file = tempfile::tempfile()?;
        file.write_all(&bytes)?;
        Ok(file.into())
    }

    /// Reads it from such a file.
    ///
    /// # Errors
    /// The error of the system, or that this is not an order.
    pub fn from_file(file: BorrowedFd<'_>) -> io::Result<Self> {
        let mut file = File::from(file.try_clone_to_owned()?);
        // the file offset is shared with the other process
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let words: Vec<OsString> = bytes
            .strip_suffix(&[0])
            .unwrap_or_default()
            .split(|byte| *byte == 0)
            .map(|word| OsStr::from_bytes(word).to_owned())
            .collect();
        let read = || {
            let (walls, count) = Walls::from_words(&words)?;
            let [_, program, argv @ ..] = &words[count..] else { return None };
            (!argv.is_empty()).then(|| Self { walls, program: program.into(), argv: argv.to_vec() })
        };
        read().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the order to start a program is incomplete")
        })
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what is said.
    use super::*;
    use crate::sandbox::Access;

    #[test]
    fn an_order_is_read_as_it_was_written_and_more_than_once() {
        let walls =
            Walls { paths: vec![(Access::Write, "/a b\n".into())], limits: Vec::new(), network: Some(3128) };
        for walls in [None, Some(walls)] {
            let argv = ["x", "", "--", "read"].map(OsString::from).to_vec();
            let order = Order { walls, program: "/bin/x".into(), argv };
            let file = order.to_file().unwrap();
            for _ in 0..2 {
                assert_eq!(Order::from_file(file.as_fd()).unwrap(), order);
            }
        }
        let odd = Order { walls: None, program: "/x".into(), argv: vec!["a\0b".into()] };
        assert!(odd.to_file().is_err());
        assert!(Order::from_file(File::open("/dev/null").unwrap().as_fd()).is_err());
    }

    #[test]
    fn what_is_said_is_understood() {
        for said in [
            KeeperMessage::NotStarted("no such file".into()),
            KeeperMessage::Exited { code: 3, left: false },
            KeeperMessage::Signalled { signal: 9, left: true },
        ] {
            let line = said.to_string();
            assert_eq!(KeeperMessage::read(line.strip_suffix('\n').unwrap()), Some(said));
        }
        let broken = KeeperMessage::NotStarted("a\nexited 0 0".into()).to_string();
        assert_eq!(broken.matches('\n').count(), 1, "one line, whatever the system says");
        for odd in ["", "exited", "exited x 0", "other 1 0"] {
            assert_eq!(KeeperMessage::read(odd), None, "{odd}");
        }
    }
}
