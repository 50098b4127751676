//! The fleet for assistants that people talk to: an MCP server on standard input and output (`bgagent mcp serve`).
//!
//! **Theory of operation.** One thread reads lines (`lines`), and answers what needs no fleet at once (`session`). Each call of a
//! tool is a thread of its own, of which there is a bounded number: it asks whoever answers now, so a session outlives daemons. A call
//! that was cancelled is not answered. What a tool says is a text for a model and the same as data (`said`): both bounded, both
//! without anything that acts on a terminal, and what came from agents and the world is marked as that.
//!
//! What is absent: rights of its own. The daemon judges each caller; nothing here can accept what is proposed.
mod change;
mod lines;
mod look;
mod propose;
mod reach;
mod said;
mod session;
mod toolbox;

#[cfg(test)]
mod tests;

pub use reach::{CallDesk, CallTrouble, FleetPlace, Reach};
pub use session::serve;
