//! The client of the daemon: finds it, negotiates the protocol, makes calls, follows events.
//!
//! Everything here blocks on a plain socket: a command with a single call needs neither a runtime nor a thread. The
//! meaning and presentation of answers are left to `cli`.
mod address;
mod connection;
mod error;
mod follow;
mod lines;
mod listener;

pub use address::{Address, holder, is_alive, read_listener};
pub use connection::{Connection, Timeouts};
pub use error::ClientError;
pub use follow::{Backoff, Follow, FollowItem, Note, Resume, StoredEvent};
pub use listener::{Holder, Listener};

#[cfg(test)]
mod tests;
