//! Events (section 8 of the contract): their kinds, what each of them says, one as it is decided and as it is logged,
//! and what is told of a fact.
mod kind;
mod logged;
mod payload;
mod talk;
mod telling;
#[cfg(test)]
mod tests;

pub use kind::EventType;
pub use logged::{Event, LoggedEvent};
pub use payload::*;

/// Events as they are logged, one a line: each kind, in each of its forms.
pub const EVENT_EXAMPLES: &str = include_str!("event/examples.jsonl");
