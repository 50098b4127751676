//! The identity of a configuration: what decides whether an agent has changed, and whether a conversation that was
//! begun may go on.
//!
//! It is a hash of a canonical form over values, never over how a type happens to print itself, so that renaming a
//! field or updating a library changes nothing. The form begins with its kind and its version; after it:
//!
//! - a text, and a word of the configuration, is `LENGTH:BYTES`; a number, a truth value and the name of a variant end
//!   with `;`;
//! - a list is `[…]`, a table is `{NAME=…}` with its fields in the order that is written here, or sorted by name
//!   where the names are the user's;
//! - a duration is a number of nanoseconds, an instant one of nanoseconds since 1970, a floating-point number is
//!   `x` and the hexadecimal form of its bits (IEEE 754);
//! - what is absent, empty or false is left out.
//!
//! So a key that comes later changes nothing for whoever does not use it. What is written must not change for the
//! same meaning: the tests pin the hashes.
mod before;
mod fields;
mod form;
mod values;

use super::agent::AgentSpec;
use super::fleet::Fleet;
use super::ids::ConfigHash;
use form::{Canonical, Form, first_bytes};

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

#[cfg(test)]
mod tests;
