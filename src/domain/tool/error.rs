//! Errors of tool calls.
use crate::domain::ErrorKind;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// There is no tool of that name; the text suggests the nearest.
    #[error("{0}")]
    Unknown(String),
    /// The arguments are invalid; the text says which and why.
    #[error("{0}")]
    Arguments(String),
    /// The timeout expired.
    #[error("tool `{tool}` did not answer within {secs} s")]
    Timeout { tool: String, secs: u64 },
    #[error("{0}")]
    Failed(String),
    /// The tool belongs to an MCP server that nobody has trusted yet.
    #[error("{0}")]
    Untrusted(String),
    /// The call was sent, but its outcome is unknown.
    #[error("{0}")]
    Unsure(String),
}

impl ToolError {
    /// Returns the kind of failure of a run that depends on the call.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Untrusted(_) => ErrorKind::Untrusted,
            _ => ErrorKind::Tool,
        }
    }

    /// Returns whether the call may have had its effect. Then it must not be repeated unless it is idempotent.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Unsure(_) => true,
            Self::Unknown(_) | Self::Arguments(_) | Self::Failed(_) | Self::Untrusted(_) => false,
        }
    }
}
