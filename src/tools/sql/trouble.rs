//! What PostgreSQL says went wrong, as a tool answers it.
use crate::domain::ToolError;
use crate::postgres::{self, ConnectError};

/// What went wrong, with what to do about it. The text of the statement shows where.
pub(in crate::tools) fn explain(error: &tokio_postgres::Error, text: &str) -> ToolError {
    failed(&postgres::explain(error, text))
}

impl From<ConnectError> for ToolError {
    fn from(error: ConnectError) -> Self {
        Self::Failed(error.what)
    }
}

pub(super) fn failed(text: &str) -> ToolError {
    ToolError::Failed(text.to_owned())
}
