//! The memory of agents in Redis: sessions and notes that are shared by several fleets.
//!
//! Theory of operation. A run that ends, and a note that is kept, are committed to the database as usual, each with a numbered
//! row that describes the change in Redis ([`crate::domain::MemoryPlaceChange`]). [`MemorySender`] applies these changes there, in
//! order, and Redis stores the position of each fleet, updated by the same script. Readers combine the content of Redis with
//! the rows that are not there yet ([`RedisMemory`]). So a crash of either side, a lost answer, and a Redis that has lost its
//! newest data are the same case: the position is lower, and more rows are added and sent again. Changes are idempotent and
//! commutative.
mod progress;
mod reading;
mod sender;
mod server;

pub use progress::{MemoryProgress, MemoryStanding};
pub use reading::{MemoryUnavailable, RedisMemory};
pub use sender::MemorySender;
