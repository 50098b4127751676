//! The errors of calls.
use crate::client::listener::{Holder, Listener};
use crate::protocol::RpcError;
use std::path::PathBuf;
use std::time::Duration;

/// The error of a call.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket is not there or does not respond.
    #[error("can't reach the daemon at {}: {cause}", .socket.display())]
    Unreachable {
        /// Its expected socket.
        socket: PathBuf,
        /// What went wrong.
        cause: String,
        /// The record of the last daemon of the state folder.
        listener: Option<Box<Listener>>,
        /// The daemon that holds the state folder, if it is alive.
        holder: Option<Holder>,
    },
    /// The socket, or the file that names it, belongs to another user.
    #[error("{} belongs to user {user}, and you are user {me}: nothing was sent to it", .place.display())]
    Foreign {
        /// The socket, or the file that names it.
        place: PathBuf,
        /// The user that owns it.
        user: u32,
        me: u32,
    },
    /// The connection ended before the answer. The request may or may not have been carried out.
    #[error("the daemon went away before it answered `{method}`")]
    Vanished { method: &'static str },
    /// The answer timed out.
    #[error("the daemon did not answer `{method}` within {} s", .after.as_secs())]
    TimedOut { method: &'static str, after: Duration },
    /// There is no common protocol version.
    #[error("no common protocol: this bgagent speaks {ours}, {theirs}")]
    Protocol {
        ours: String,
        /// The other side's answer.
        theirs: String,
    },
    /// A line that is not a message of the protocol.
    #[error("what answers at {} is not a bgagent daemon: {what}", .socket.display())]
    Garbled { socket: PathBuf, what: String },
    /// The daemon refused the request.
    #[error(transparent)]
    Refused(#[from] RpcError),
}

impl ClientError {
    /// Returns whether the same request may succeed later, after a restart of the daemon.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Vanished { .. } | Self::TimedOut { .. } => true,
            Self::Refused(error) => error.kind() == Some(crate::protocol::Code::ShuttingDown),
            Self::Foreign { .. } | Self::Protocol { .. } | Self::Garbled { .. } => false,
        }
    }
}
