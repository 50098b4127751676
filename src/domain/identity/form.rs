//! The canonical form while it is written, and its hash.
use crate::domain::ids::ConfigHash;
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// Returns the first 8 bytes of SHA-256.
pub(super) fn first_bytes(bytes: &[u8]) -> ConfigHash {
    let digest = Sha256::digest(bytes);
    ConfigHash(digest[..8].iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte)))
}

/// A value that has a canonical form.
pub(super) trait Canonical {
    /// Returns whether it is absent, empty or false: then its field is left out.
    fn is_nothing(&self) -> bool {
        false
    }

    fn write(&self, form: &mut Form);
}

/// A canonical form while it is written.
#[derive(Default)]
pub(super) struct Form(pub(super) Vec<u8>, pub(super) DefaultFolders);

/// Whether the folder of the configuration counts where nothing is said of another.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum DefaultFolders {
    /// No.
    #[default]
    LeftOut,
    /// As before nodes with other folders had to agree on what an agent is.
    Counted,
}

impl Form {
    pub(super) fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.raw(&format!("{}:", bytes.len()));
        self.0.extend_from_slice(bytes);
    }

    /// Writes a word of a closed set, a number, or a boolean.
    pub(super) fn token(&mut self, token: impl std::fmt::Display) {
        self.raw(&format!("{token};"));
    }

    /// Writes a table with the fields that `fields` writes.
    pub(super) fn table(&mut self, fields: impl FnOnce(&mut Self)) {
        self.raw("{");
        fields(self);
        self.raw("}");
    }

    /// Writes a tag that selects the variant, and its table.
    pub(super) fn tagged(&mut self, tag: &str, fields: impl FnOnce(&mut Self)) {
        self.raw(tag);
        self.table(fields);
    }

    /// A folder to work in.
    pub(super) fn folder(&mut self, name: &str, path: &PathBuf, is_default: bool) {
        if !is_default || self.1 == DefaultFolders::Counted {
            self.field(name, path);
        }
    }

    pub(super) fn field(&mut self, name: &str, value: &(impl Canonical + ?Sized)) {
        if !value.is_nothing() {
            self.raw(name);
            self.raw("=");
            value.write(self);
        }
    }
}
