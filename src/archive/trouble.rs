//! Errors of archives.
use crate::domain::ToolError;
use crate::postgres;

pub(super) fn failed(text: &str) -> ToolError {
    ToolError::Failed(text.to_owned())
}

/// Formats an error of a PostgreSQL server, with advice. The text of the statement shows the position.
pub(super) fn explain(error: &tokio_postgres::Error, text: &str) -> ToolError {
    failed(&postgres::explain(error, text))
}
