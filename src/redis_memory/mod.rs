//! What agents remember in Redis: sessions and notes that several fleets share.
//!
//! Theory of operation. A run that ends, and a note that is kept, are committed to the database as ever, each with a numbered row that
//! says what changes in Redis ([`crate::domain::MemoryPlaceChange`]). [`MemorySender`] makes these changes there, in their order, and Redis
//! keeps how far it has got for each fleet, in the same script. Who reads takes what is there and adds the rows that are not there yet
//! ([`RedisMemory`]). So a crash of either side, a lost answer, and a Redis that has lost its newest data are one case: the position
//! is lower, and more rows are added and sent again. Changes lead to the same memory in whatever order and however often they are made.
mod progress;
mod reading;
mod sender;
mod server;

pub use progress::{MemoryProgress, MemoryStanding};
pub use reading::{MemoryUnavailable, RedisMemory};
pub use sender::MemorySender;
