//! The MCP server for assistants that people talk to, on standard input and output (`bgagent mcp serve`).
//!
//! **Theory of operation.** One thread reads lines (`lines`), and answers requests that need no fleet at once
//! (`session`). Each tool call runs on a thread of its own, in a bounded number: it connects to the current respondent,
//! so a session outlives daemons. A cancelled call is not answered. The result of a tool is a text for a model, and the
//! same as data (`said`): both are bounded and free of terminal control sequences, and what came from agents and the
//! world is marked as such.
//!
//! It has no rights of its own. The daemon judges each caller; nothing here can accept a proposal.
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

pub use reach::{CallDesk, CallTrouble, FleetPaths, Reach};
pub use session::serve;
