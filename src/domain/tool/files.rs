//! Settings and arguments of the `files` tool.
use super::arguments::{CallSchema, arguments};
use super::words::ToolMode;
use crate::domain::words::words;
use serde::Deserialize;
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

words! {
    /// What is done with a file or a folder.
    FilesOp {
        /// The entries of a folder are listed.
        List = "list",
        /// A file is read.
        Read = "read",
        /// A file gets this content and no other.
        Write = "write",
        /// A file gets this content behind what it has.
        Append = "append",
    }
}

impl FilesOp {
    /// Whether it changes anything.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Append)
    }

    /// Those that only look.
    pub fn reads() -> Vec<String> {
        Self::ALL.iter().filter(|op| !op.writes()).map(|op| op.as_str().to_owned()).collect()
    }
}

arguments! {
    /// One operation.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct FilesArgs {
        /// What is done.
        #[schema(undescribed())]
        pub op: FilesOp,
        /// A path under one of the roots, or relative to the first.
        pub path: String,
        /// For write and append: the content. Missing folders are made.
        pub text: Option<String>,
    }
}

impl FilesArgs {
    /// What a call of an instance takes; without settings: what it might take at the most.
    pub fn schema(settings: Option<&FilesSettings>) -> CallSchema {
        let roots = shown_roots(settings.map_or(&[][..], |settings| &settings.roots), ", ");
        let schema = CallSchema::of::<Self>()
            .describe("path", format!("A path under one of: {roots}; or relative to the first."));
        match settings.is_none_or(|settings| settings.mode.writes()) {
            true => schema,
            false => schema.only("op", FilesOp::reads()).without("text"),
        }
    }
}

/// Folders, for people and models.
pub fn shown_roots(roots: &[PathBuf], between: &str) -> String {
    roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(between)
}
