//! A Redis client: protocol, authenticated connection, and error handling. Which commands are sent, and what an answer means,
//! is left to the callers.
mod hitch;
mod link;
mod resp;
mod script;

pub use hitch::Hitch;
pub use link::RedisLink;
pub use resp::{RedisCommand, RedisReply, ReplyBounds};
pub use script::Script;
