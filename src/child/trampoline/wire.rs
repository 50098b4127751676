//! What a keeper and the one that started it say to each other, over a socket (unix(7)).
//!
//! To the keeper: single bytes ([`GO`], [`TERMINATE`], [`KILL`]). With the first of them comes, where the program
//! reads something, the descriptor of its standard input. The end of the connection is an order as well: kill.
//! From it: lines ([`Said`]).
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Start the program.
pub const GO: u8 = b'g';
/// Ask all that lives to end (SIGTERM).
pub const TERMINATE: u8 = b't';
/// Kill all that lives, then end.
pub const KILL: u8 = b'k';

/// What a keeper says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The program could not be executed, or a wall around it not be put up; why.
    NotStarted(String),
    /// The program exited.
    Exited {
        /// With this code.
        code: i32,
        /// Something of it still lives.
        left: bool,
    },
    /// The program was ended.
    Signalled {
        /// By this signal.
        signal: i32,
        /// Something of it still lives.
        left: bool,
    },
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(why) => writeln!(f, "not-started {}", why.replace(['\n', '\r'], " ")),
            Self::Exited { code, left } => writeln!(f, "exited {code} {}", u8::from(*left)),
            Self::Signalled { signal, left } => writeln!(f, "signalled {signal} {}", u8::from(*left)),
        }
    }
}

impl Said {
    /// Reads a line, without its end.
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

/// Sends an order, with a descriptor if there is one.
///
/// # Errors
/// What the system says.
pub fn send(to: impl AsFd, order: u8, descriptor: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let byte = [order];
    loop {
        match sendmsg(to.as_fd(), &[IoSlice::new(&byte)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Waits for an order. `None`: nobody is there any more.
///
/// # Errors
/// What the system says.
pub fn receive(from: impl AsFd) -> Result<Option<(u8, Option<OwnedFd>)>, Errno> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let mut byte = [0u8; 1];
    let got = loop {
        let flags = RecvFlags::CMSG_CLOEXEC;
        match recvmsg(from.as_fd(), &mut [IoSliceMut::new(&mut byte)], &mut control, flags) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut all) = message {
            descriptor = all.next();
        }
    }
    Ok((got.bytes == 1).then_some((byte[0], descriptor)))
}

#[cfg(test)]
mod tests {
    //! Tests of what is said.
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for said in [
            Said::NotStarted("no such file".into()),
            Said::Exited { code: 3, left: false },
            Said::Signalled { signal: 9, left: true },
        ] {
            let line = said.to_string();
            assert_eq!(Said::read(line.strip_suffix('\n').unwrap()), Some(said));
        }
        let broken = Said::NotStarted("a\nexited 0 0".into()).to_string();
        assert_eq!(broken.matches('\n').count(), 1, "one line, whatever the system says");
        for odd in ["", "exited", "exited x 0", "other 1 0"] {
            assert_eq!(Said::read(odd), None, "{odd}");
        }
    }
}
