//! Agent programs that carry out a query: how each is invoked, what it prints, and how its end is judged. Pure: texts in,
//! values out.
//!
//! Each of them prints lines of JSON in its own format. A [`Decoder`] converts them to [`ProgramEvent`]s, which are accumulated
//! by [`HeardSoFar`]. Reports of success are not trusted: [`judge()`] first considers what the meter has seen of the requests.
//!
//! [`mcp`] parses requests to the tools that are handed to programs; [`permission`] decides about uses of their own tools.
//!
//! Left to others: starting programs (`runner`), their requests (`proxy`), what presets know (`domain`).
mod claude;
mod codex;
mod decoder;
mod event;
mod gemini;
mod heard;
mod judge;
mod launch;
mod lines;
pub mod mcp;
mod opencode;
pub mod permission;
mod reading;
mod shell_command;

pub use decoder::Decoder;
pub use event::{ProgramEvent, ProgramResult, is_session_id};
pub use heard::HeardSoFar;
pub use judge::{Metered, ProgramEnd, judge};
pub use launch::{Launch, LaunchPlaces, launch};

#[cfg(test)]
mod tests;
