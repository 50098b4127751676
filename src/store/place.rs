//! Where the records of a fleet are kept: a file, or a server.
use crate::domain::StoreSpec;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the records of a fleet are kept.
#[derive(Debug, Clone)]
pub struct Where {
    /// The file of a SQLite database. Beside it lies the lock, which notes how far any database had come.
    pub file: PathBuf,
    /// The server, where records are kept there.
    pub server: Option<Arc<StoreSpec>>,
}

impl Where {
    /// Where that is, for people.
    pub fn place(&self) -> String {
        self.server.as_ref().map_or_else(|| self.file.display().to_string(), |spec| spec.place())
    }

    pub(super) fn state_dir(&self) -> &Path {
        self.file.parent().unwrap_or(&self.file)
    }
}
