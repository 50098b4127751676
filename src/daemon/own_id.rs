//! What tells the programs of this daemon from those of another one.
use crate::config::Paths;
use crate::domain::RunId;
use sha2::{Digest, Sha256};

/// What this daemon is called in the environment of its helpers, the same in each of its lives: by its
/// state folder, which it has locked. Another machine's or container's of the same path is another.
pub(super) fn identity(paths: &Paths) -> RunId {
    use std::os::unix::fs::MetadataExt;
    let place = std::fs::metadata(&paths.state_dir).map_or((0, 0), |about| (about.dev(), about.ino()));
    let digest = Sha256::digest(format!("{place:?} {}", paths.state_dir.display()));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    RunId::from_bytes(bytes)
}
