//! Agent programs that carry out a query: how each is called, what it prints, and what is to be thought of its end. Pure:
//! texts in, values out.
//!
//! Each of them prints lines of JSON, in a form of its own. A [`Decoder`] makes [`ProgramEvent`]s of them; [`HeardSoFar`] adds those
//! up. What they say of success is not believed: [`judge()`] asks first what the meter has seen of the requests.
//!
//! [`mcp`] reads what they ask of the tools that they are handed, [`permission`] says what they may of what their own can do.
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
