//! Settings and arguments of the `files` tool.
use super::arguments::{CallSchema, arguments};
use super::words::ToolMode;
use crate::domain::words::words;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

/// Which files are accessible, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct FilesSettings {
    /// Absolute paths of folders; nothing outside them is accessible.
    pub roots: Vec<PathBuf>,
    /// Allowed operations below them.
    pub mode: ToolMode,
    /// Maximum number of bytes that one call reads or writes.
    pub max_bytes: u64,
    /// The configuration file, which no agent may write.
    pub config: PathBuf,
    /// Paths that are protected even below a root.
    pub guarded: Arc<Guarded>,
}

/// Protected files of the daemon and its agents. Each path stands for what exists there when a tool is called, by
/// device and inode, and for everything below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guarded {
    /// Neither readable nor writable: the state folder, the configuration, files with secrets.
    pub hidden: Vec<PathBuf>,
    /// Not writable: the folder of the configuration, and programs, scripts and working folders that it names.
    pub fixed: Vec<PathBuf>,
}

impl FilesSettings {
    /// Default of `max_bytes`.
    pub const MAX_BYTES: u64 = 100 << 10;
    /// Maximum of `max_bytes`: larger values are reduced to this.
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
    /// Returns whether it changes anything.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Append)
    }

    /// Returns the operations that only read.
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
    /// Returns the arguments of a call of an instance; without settings: of the most permissive one.
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

/// Formats folders for people and models.
pub fn shown_roots(roots: &[PathBuf], between: &str) -> String {
    roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(between)
}
