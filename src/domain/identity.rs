//! The identity of a configuration: what decides whether an agent has changed, and whether a conversation that was
//! begun may go on.
//!
//! It is a hash of a canonical form over values, never over how a type happens to print itself, so that renaming a
//! field or updating a library changes nothing. The form begins with its kind and its version; after it:
//!
//! - a text is `LENGTH:BYTES`, a number, a word and a truth value end with `;`;
//! - a list is `[…]`, a table is `{NAME=…}` with its fields in the order that is written here, or sorted by name
//!   where the names are the user's;
//! - a duration is a number of nanoseconds, an instant one of nanoseconds since 1970, a floating-point number the
//!   hexadecimal form of its bits (IEEE 754);
//! - what is absent, empty or false is left out.
//!
//! So a key that comes later changes nothing for whoever does not use it. What is written must not change for the
//! same meaning: the tests pin the hashes.
mod before;
mod fields;

use super::agent::AgentSpec;
use super::fleet::Fleet;
use super::ids::ConfigHash;
use sha2::{Digest, Sha256};

/// Version of the form. Another one is another identity for everything: conversations that wait would be broken off.
const VERSION: &str = "1";

/// The identity of an agent: all that is configured for it, but not where in the file it stands.
pub fn of_agent(spec: &AgentSpec) -> ConfigHash {
    hash("agent", spec)
}

/// The identity of a whole configuration. Its agents count by their own identities.
pub fn of_fleet(fleet: &Fleet) -> ConfigHash {
    hash("fleet", fleet)
}

impl AgentSpec {
    /// Whether a hash that was stored is that of this configuration. The hashes of the releases before the canonical
    /// form are known as well, so that an upgrade breaks nothing off.
    pub fn is_identified_by(&self, stored: ConfigHash) -> bool {
        stored == self.config_hash || before::hashes(self).contains(&stored)
    }
}

fn hash(kind: &str, value: &impl Canonical) -> ConfigHash {
    let mut form = Form::default();
    form.text(kind);
    form.text(VERSION);
    value.write(&mut form);
    first_bytes(&form.0)
}

/// The first 8 bytes of SHA-256.
fn first_bytes(bytes: &[u8]) -> ConfigHash {
    let digest = Sha256::digest(bytes);
    ConfigHash(digest[..8].iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte)))
}

/// What has a canonical form.
trait Canonical {
    /// Absent, empty or false: its field is left out.
    fn is_nothing(&self) -> bool {
        false
    }

    fn write(&self, form: &mut Form);
}

/// A canonical form while it is written.
#[derive(Default)]
struct Form(Vec<u8>);

impl Form {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.raw(&format!("{}:", bytes.len()));
        self.0.extend_from_slice(bytes);
    }

    /// A word of a closed set, a number, a truth value.
    fn token(&mut self, token: impl std::fmt::Display) {
        self.raw(&format!("{token};"));
    }

    /// A table: its fields are written within.
    fn table(&mut self, fields: impl FnOnce(&mut Self)) {
        self.raw("{");
        fields(self);
        self.raw("}");
    }

    /// A word that says which of several tables follows.
    fn tagged(&mut self, tag: &str, fields: impl FnOnce(&mut Self)) {
        self.raw(tag);
        self.table(fields);
    }

    fn field(&mut self, name: &str, value: &(impl Canonical + ?Sized)) {
        if !value.is_nothing() {
            self.raw(name);
            self.raw("=");
            value.write(self);
        }
    }
}

#[cfg(test)]
mod tests;
