//! Positions of the keys of an agent, and whether they are known.
use crate::config::document::File;
use crate::config::keys;
use crate::domain::{AgentId, AgentSpec, nearest};
use std::ops::Range;
use toml::de::DeTable;

/// The keys of which an agent has one.
pub(super) const SCHEDULE: &[&str] = &["interval", "after", "cron", "at", "on", "when"];

pub(super) struct Place<'a> {
    pub(super) file: &'a File<'a>,
    pub(super) table: &'a DeTable<'a>,
    pub(super) defaults: Option<&'a DeTable<'a>>,
    pub(super) agent: &'a AgentSpec,
}

impl<'a> Place<'a> {
    /// Returns the range of a key of the agent, or of the agent itself.
    pub(super) fn of(&self, key: &str) -> Range<usize> {
        place(self.table, &self.agent.id, key)
    }

    /// Returns whether the agent itself has the key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.own().is_some_and(|own| own.get(key).is_some())
    }

    pub(super) fn own(&self) -> Option<&'a DeTable<'a>> {
        self.table.get(self.agent.id.as_str()).and_then(|value| value.get_ref().as_table())
    }

    /// Returns whether the values of these keys are known. They are not if one of them has an error or is
    /// misspelled: then a default is used, from which nothing can be concluded.
    pub(super) fn knows(&self, keys: &[&str]) -> bool {
        if self.file.errors() == 0 {
            return true;
        }
        let tables = [self.own(), self.defaults];
        keys.iter().all(|wanted| {
            let given = tables.iter().flatten().find_map(|table| table.get_key_value(*wanted));
            given.is_none_or(|(key, value)| !self.file.has_error_in(key.span(), value))
                && !tables.iter().flatten().any(|table| is_misspelled_in(table, wanted))
        })
    }
}

/// Returns whether the key is there under a misspelled name.
fn is_misspelled_in(table: &DeTable<'_>, wanted: &str) -> bool {
    let is_known = |name: &str| keys::AGENT.iter().any(|key| key.name == name);
    let unknown = table.keys().map(|name| name.get_ref().as_ref()).filter(|name| !is_known(name));
    let near = |name| nearest(name, keys::AGENT.iter().map(|key| key.name));
    unknown.filter_map(near).any(|near| near == wanted)
}

pub(super) fn place(table: &DeTable<'_>, agent: &AgentId, key: &str) -> Range<usize> {
    let Some((name, value)) = table.get_key_value(agent.as_str()) else { return 0..0 };
    let key = value.get_ref().as_table().and_then(|own| own.get(key));
    key.map_or_else(|| name.span(), toml::Spanned::span)
}
