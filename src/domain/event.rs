//! Events (section 8 of the contract): their kinds and payloads, their form in the engine and in the log, and the
//! events that report a fact.
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

/// Examples of logged events, one per line: each kind, in each of its forms.
pub const EVENT_EXAMPLES: &str = include_str!("event/examples.jsonl");
