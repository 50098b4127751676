//! The interface between the meter and the tools that are handed to a program.
use futures_util::future::BoxFuture;
use std::sync::Arc;

pub const MCP_PATH: &str = "/mcp";
/// Answers the messages of a program to its tools.
pub trait ToolServer: Send + Sync {
    /// Answers one message, in JSON. `None`: it needs no answer. The future is dropped when the program disconnects.
    fn answer(self: Arc<Self>, message: Vec<u8>) -> BoxFuture<'static, Option<String>>;
}
