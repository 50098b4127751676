//! How a PostgreSQL server is reached: its address as libpq reads it, encryption, the connection, and what errors say.
//! Used by the tools `sql` and `archive_rows`, and by the store.
mod address;
mod link;
mod trouble;

pub use address::Address;
pub use link::{Heard, Link};
pub use trouble::{ConnectError, ConnectErrorKind, explain};
