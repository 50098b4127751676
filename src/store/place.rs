//! The location of a fleet's records: a file, or a server.
use crate::domain::StoreSpec;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The location of a fleet's records.
#[derive(Debug, Clone)]
pub struct Where {
    /// The file of a SQLite database. The lock beside it holds the mark, also of a database on a server.
    pub file: PathBuf,
    /// The server, if the records are on one.
    pub server: Option<Arc<StoreSpec>>,
}

impl Where {
    /// Returns the location for people.
    pub fn place(&self) -> String {
        self.server.as_ref().map_or_else(|| self.file.display().to_string(), |spec| spec.place())
    }

    pub(super) fn state_dir(&self) -> &Path {
        self.file.parent().unwrap_or(&self.file)
    }
}
