//! The identity that distinguishes the programs of this daemon from those of others.
use crate::config::Paths;
use crate::domain::RunId;
use sha2::{Digest, Sha256};

/// Returns the id under which helpers of this daemon are marked in their environment, stable across
/// restarts: derived from the state folder, which the daemon has locked. The same path on another
/// machine or in another container gives another id.
pub(super) fn identity(paths: &Paths) -> RunId {
    use std::os::unix::fs::MetadataExt;
    let place = std::fs::metadata(&paths.state_dir).map_or((0, 0), |about| (about.dev(), about.ino()));
    let digest = Sha256::digest(format!("{place:?} {}", paths.state_dir.display()));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    RunId::from_bytes(bytes)
}
