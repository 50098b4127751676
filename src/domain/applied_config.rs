//! A configuration that was applied to a fleet: it is kept with the fleet's records, and is in force whichever node leads.
use super::ids::ConfigHash;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A revision of a fleet's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedConfig {
    /// Its number: the first one is 1.
    pub revision: u64,
    /// When it was applied.
    pub at: Timestamp,
    /// Who applied it: `ada at gpu-7`.
    pub by: String,
    /// Where its text came from: a path on the machine where it was applied, or `revision 3`.
    pub origin: String,
    /// Of its text.
    pub hash: ConfigHash,
    /// `None`: it was withdrawn, and the leader's own file is in force again.
    pub text: Option<Arc<str>>,
}

impl AppliedConfig {
    /// Longest text, in bytes: it has to fit into a call.
    pub const LONGEST: usize = 512 << 10;
    /// So many are kept; older ones are removed.
    pub const KEPT: u64 = 100;

    /// One that has no number yet.
    pub fn new(text: Option<Arc<str>>, origin: String, by: String, at: Timestamp) -> Self {
        let digest = Sha256::digest(text.as_deref().unwrap_or_default().as_bytes());
        let hash = ConfigHash(digest[..8].iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte)));
        Self { revision: 0, at, by, origin, hash, text }
    }

    /// In words: `revision 3 of the fleet's configuration`.
    pub fn name(&self) -> String {
        format!("revision {} of the fleet's configuration", self.revision)
    }
}
