//! How an archive reports that something can't be done.
use crate::domain::ToolError;
use crate::postgres;

pub(super) fn failed(text: &str) -> ToolError {
    ToolError::Failed(text.to_owned())
}

/// What a PostgreSQL server says went wrong, with what to do about it. The text of the statement shows where.
pub(super) fn explain(error: &tokio_postgres::Error, text: &str) -> ToolError {
    failed(&postgres::explain(error, text))
}
