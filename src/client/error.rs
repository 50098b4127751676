//! Why a question got no answer.
use crate::client::listener::{Holder, Listener};
use crate::protocol::RpcError;
use std::path::PathBuf;
use std::time::Duration;

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or whoever listens does not talk.
    #[error("can't reach the daemon at {}: {cause}", .socket.display())]
    Unreachable {
        /// Where it was expected.
        socket: PathBuf,
        /// What went wrong.
        cause: String,
        /// What the last daemon of the state folder wrote about itself.
        listener: Option<Box<Listener>>,
        /// The daemon that has the state folder, if one lives.
        holder: Option<Holder>,
    },
    /// Whoever listens, or wrote down where, is another user.
    #[error("{} belongs to user {user}, and you are user {me}: nothing was sent to it", .place.display())]
    Foreign {
        /// The socket, or the file that names one.
        place: PathBuf,
        /// Whose it is.
        user: u32,
        me: u32,
    },
    /// The connection ended while an answer was due. What was asked may have happened or not.
    #[error("the daemon went away before it answered `{method}`")]
    Vanished {
        /// What was asked.
        method: &'static str,
    },
    /// No answer in time.
    #[error("the daemon did not answer `{method}` within {} s", .after.as_secs())]
    TimedOut {
        /// What was asked.
        method: &'static str,
        /// How long the answer was waited for.
        after: Duration,
    },
    /// Both sides speak, but nothing that the other one knows.
    #[error("no common protocol: this bgagent speaks {ours}, {theirs}")]
    Protocol {
        /// Versions of this side.
        ours: String,
        /// What the other side said.
        theirs: String,
    },
    /// Something came that is no message of the protocol.
    #[error("what answers at {} is not a bgagent daemon: {what}", .socket.display())]
    Garbled {
        /// Who sent it.
        socket: PathBuf,
        what: String,
    },
    /// The daemon said no.
    #[error(transparent)]
    Refused(#[from] RpcError),
}

impl ClientError {
    /// True if the same question may get an answer later, from a daemon that was started again.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Vanished { .. } | Self::TimedOut { .. } => true,
            Self::Refused(error) => error.kind() == Some(crate::protocol::Code::ShuttingDown),
            Self::Foreign { .. } | Self::Protocol { .. } | Self::Garbled { .. } => false,
        }
    }
}
