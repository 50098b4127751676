//! The identity of a configuration: decides whether an agent has changed, and whether a conversation in progress
//! may continue.
//!
//! It is a hash of a canonical form over values, never over a debug format, so that renaming a field or updating a
//! library changes nothing. The form begins with its kind and its version, followed by:
//!
//! - a text, and a word of the configuration, is `LENGTH:BYTES`; a number, a boolean and the name of a variant end
//!   with `;`;
//! - a list is `[…]`, a table is `{NAME=…}` with its fields in the order given here, or sorted by name if the names
//!   are the user's;
//! - a duration is a number of nanoseconds, an instant one of nanoseconds since 1970, a floating-point number is
//!   `x` and the hexadecimal form of its bits (IEEE 754);
//! - absent, empty and false values are left out.
//!
//! So a new key changes nothing for configurations that do not use it. The form of an unchanged meaning must not
//! change: the tests pin the hashes.
mod before;
mod fields;
mod form;
mod values;

use super::agent::AgentSpec;
use super::fleet::Fleet;
use super::ids::ConfigHash;
use form::{Canonical, DefaultFolders, Form, first_bytes};

/// Version of the form. A new version changes every identity: waiting conversations would be broken off.
const VERSION: &str = "1";

/// Returns the identity of an agent: its complete configuration, without its position in the file.
pub fn of_agent(spec: &AgentSpec) -> ConfigHash {
    hash("agent", spec, DefaultFolders::LeftOut)
}

/// Returns the identity of a whole configuration. Its agents count by their own identities.
pub fn of_fleet(fleet: &Fleet) -> ConfigHash {
    hash("fleet", fleet, DefaultFolders::LeftOut)
}

impl AgentSpec {
    /// Returns whether a stored hash identifies this configuration. Hashes of releases before the canonical form
    /// are accepted as well, so that an upgrade breaks nothing off.
    pub fn is_identified_by(&self, stored: ConfigHash) -> bool {
        stored == self.config_hash
            || stored == hash("agent", self, DefaultFolders::Counted)
            || before::hashes(self).contains(&stored)
    }
}

fn hash(kind: &str, value: &impl Canonical, folders: DefaultFolders) -> ConfigHash {
    let mut form = Form(Vec::new(), folders);
    form.text(kind);
    form.text(VERSION);
    value.write(&mut form);
    first_bytes(&form.0)
}

#[cfg(test)]
mod tests;
