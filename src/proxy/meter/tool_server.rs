//! The words between the meter and the tools that a program is handed.
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Path of the tools.
pub const MCP_PATH: &str = "/mcp";
/// Answers the messages of a program to its tools.
pub trait ToolServer: Send + Sync {
    /// One message, in JSON. `None`: it wants no answer. The future is dropped when the program goes away.
    fn answer(self: Arc<Self>, message: Vec<u8>) -> BoxFuture<'static, Option<String>>;
}
