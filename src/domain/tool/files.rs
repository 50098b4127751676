//! Settings of the `files` tool.
use super::words::ToolMode;
use std::path::PathBuf;
use std::sync::Arc;

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
    /// What is out of reach whatever the roots say.
    pub guarded: Arc<Guarded>,
}

/// What the daemon and its agents are made of. Each path stands for what is there when a tool is called, by device
/// and inode, and for everything beneath it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guarded {
    /// Neither read nor written: the state folder, the configuration, files that hold secrets.
    pub hidden: Vec<PathBuf>,
    /// Not written: the configuration's folder, and programs, scripts and working folders that it names.
    pub fixed: Vec<PathBuf>,
}

impl FilesSettings {
    /// `max_bytes` where nothing is said.
    pub const MAX_BYTES: u64 = 100 << 10;
    /// Largest `max_bytes`: what is more is taken as this.
    pub const LARGEST_MAX_BYTES: u64 = 200 << 10;
}
