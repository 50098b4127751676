//! Access to PostgreSQL servers: connection strings as in libpq, encryption, the connection, and error messages. Used by the
//! tools `sql` and `archive_rows`, and by the store.
mod address;
mod link;
mod trouble;

pub use address::Address;
pub use link::{Heard, Link};
pub use trouble::{ConnectError, ConnectErrorKind, explain};
