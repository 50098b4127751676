//! Talks to the daemon: finds it, agrees on a protocol, asks, follows events.
//!
//! Everything here blocks on a plain socket: a command that asks one question needs neither a
//! runtime nor a thread. What answers mean, and how they look, is left to `cli`.
mod address;
mod connection;
mod error;
mod follow;
mod lines;
mod listener;

pub use address::{Address, holder, is_alive, read_listener};
pub use connection::{Connection, Timeouts};
pub use error::ClientError;
pub use follow::{Backoff, Follow, Followed, Note, Resume, StoredEvent};
pub use listener::{Holder, Listener};

#[cfg(test)]
mod tests;
