//! How an archive reports that something can't be done.
use crate::tools::contract::ToolError;

pub(super) fn failed(text: &str) -> ToolError {
    ToolError::Failed(text.to_owned())
}
