//! Settings of the `files` tool.
use super::words::ToolMode;
use std::path::PathBuf;

/// Which files, and what may be done with them.
#[derive(Clone, Debug, PartialEq)]
pub struct FilesSettings {
    /// Folders, absolute; nothing outside them is reached.
    pub roots: Vec<PathBuf>,
    /// What may be done beneath them.
    pub mode: ToolMode,
    /// Bytes that one call reads or writes.
    pub max_bytes: u64,
    /// The configuration, which no agent writes.
    pub config: PathBuf,
}

impl FilesSettings {
    /// `max_bytes` where nothing is said.
    pub const MAX_BYTES: u64 = 100 << 10;
    /// Largest `max_bytes`: what is more is taken as this.
    pub const LARGEST_MAX_BYTES: u64 = 200 << 10;
}
