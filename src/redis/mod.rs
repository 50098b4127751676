//! A client of Redis: its protocol, a connection that is logged in, and what an error of the server means. What is asked, and what
//! an answer means, is for the rooms above to say.
mod hitch;
mod link;
mod resp;
mod script;

pub use hitch::Hitch;
pub use link::RedisLink;
pub use resp::{RedisCommand, RedisReply, ReplyBounds};
pub use script::Script;
