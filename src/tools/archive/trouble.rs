//! How an archive says that something can not be done.
use crate::tools::contract::ToolError;

pub(super) fn failed(text: &str) -> ToolError {
    ToolError::Failed(text.to_owned())
}
