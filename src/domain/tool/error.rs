//! Why a call of a tool failed.
use crate::domain::ErrorKind;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// No tool of that name; the text suggests the nearest.
    #[error("{0}")]
    Unknown(String),
    /// The arguments do not fit; the text says which and how.
    #[error("{0}")]
    Arguments(String),
    /// It took too long.
    #[error("tool `{tool}` did not answer within {secs} s")]
    Timeout { tool: String, secs: u64 },
    #[error("{0}")]
    Failed(String),
    /// It is a tool of an MCP server that nobody has trusted yet.
    #[error("{0}")]
    Untrusted(String),
    /// It was asked for, and whether it was done is not known.
    #[error("{0}")]
    Unsure(String),
}

impl ToolError {
    /// What kind of failure it is of a run that can't do without the call.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Untrusted(_) => ErrorKind::Untrusted,
            _ => ErrorKind::Tool,
        }
    }

    /// May the call have done what it was to do? Then one that is not harmless to repeat must not be
    /// repeated.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Unsure(_) => true,
            Self::Unknown(_) | Self::Arguments(_) | Self::Failed(_) | Self::Untrusted(_) => false,
        }
    }
}
