//! How an archive reports that something can't be done.
use crate::domain::ToolError;

pub(super) fn failed(text: &str) -> ToolError {
    ToolError::Failed(text.to_owned())
}
