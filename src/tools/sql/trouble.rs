//! Errors of PostgreSQL, as a tool reports them.
use crate::domain::ToolError;
use crate::postgres;

/// Formats an error, with advice. The text of the statement shows the position.
pub(super) fn explain(error: &tokio_postgres::Error, text: &str) -> ToolError {
    failed(&postgres::explain(error, text))
}

pub(super) fn failed(text: &str) -> ToolError {
    ToolError::Failed(text.to_owned())
}
