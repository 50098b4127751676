//! What PostgreSQL says went wrong, as a tool answers it.
use crate::domain::ToolError;
use crate::postgres;

/// What went wrong, with what to do about it. The text of the statement shows where.
pub(super) fn explain(error: &tokio_postgres::Error, text: &str) -> ToolError {
    failed(&postgres::explain(error, text))
}

pub(super) fn failed(text: &str) -> ToolError {
    ToolError::Failed(text.to_owned())
}
