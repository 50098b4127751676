//! Refuses calls because of what was read before, and says what would allow them.
//!
//! After untrusted data was read nothing may be changed, and after untrusted or private data nothing may be sent to
//! a destination that the model chose: its output may then be what an attacker wants. What the configuration names
//! stays allowed: tools and addresses in `sinks`, and full addresses in the agent's own texts, as long as nothing
//! else is sent with them.
use super::brief::CallRules;
use super::reply::short;
use crate::domain::{AddressPattern, Effect, OutgoingData, glob, host_pattern, is_address, is_named};
use serde_json::Value;

/// A call with valid arguments, and its properties.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Valid {
    pub(super) args: Value,
    pub(super) effect: Effect,
    /// Its result comes from outside.
    pub(super) untrusted: bool,
    /// Its result is private.
    pub(super) private: bool,
    /// What it sends out of the machine.
    pub(super) leaving: Option<OutgoingData>,
    /// MCP server of its tool.
    pub(super) server: Option<String>,
}

/// The kinds of data that a conversation has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DataRead {
    /// Data from outside, in this run or in one that it remembers.
    pub(super) untrusted: bool,
    /// Data that is private to the owner.
    pub(super) private: bool,
}

impl DataRead {
    /// Returns the description for the model.
    fn words(self) -> &'static str {
        if self.untrusted {
            "untrusted data was read in this run"
        } else {
            "private data was read in this run"
        }
    }
}

/// Returns why a call is refused, if it is, for the model and for readers of the transcript.
pub(super) fn refusal(rules: &CallRules, name: &str, valid: &Valid, read: DataRead) -> Option<String> {
    // A server's own descriptions don't restrict calls of that server.
    let other_servers = rules.tools.iter().filter_map(|tool| tool.server.as_deref());
    let described = other_servers.into_iter().any(|server| valid.server.as_deref() != Some(server));
    let read = DataRead { untrusted: read.untrusted || described, ..read };
    if is_sink(&rules.sinks, name, valid) {
        return None;
    }
    if read.untrusted && valid.changes() {
        return Some(format!(
            "refused: `{name}` changes something, and {}; after that only the tools in `sinks` of the agent may do \
             so. {}",
            read.words(),
            what_now(rules, name, valid)
        ));
    }
    if (read.untrusted || read.private) && sends(rules, valid) {
        return Some(format!(
            "refused: this call of `{name}` sends words of yours out of the machine, and {}; after that they go only \
             to addresses that the configuration names whole, and to what `sinks` of the agent names. {}",
            read.words(),
            what_now(rules, name, valid)
        ));
    }
    None
}

/// Returns whether the call sends something out that the configuration does not name.
fn sends(rules: &CallRules, valid: &Valid) -> bool {
    match &valid.leaving {
        None => false,
        Some(OutgoingData::Words) => true,
        Some(OutgoingData::Request { address, is_bare }) => !(*is_bare && is_named(&rules.named, address)),
    }
}

fn is_sink(sinks: &[String], name: &str, valid: &Valid) -> bool {
    sinks.iter().any(|sink| match &valid.leaving {
        Some(OutgoingData::Request { address, .. }) if is_address(sink) => {
            AddressPattern::parse(sink).is_ok_and(|pattern| pattern.fits(address))
        }
        _ => glob(sink, name),
    })
}

/// Returns advice for the model, and the line of configuration that would allow the call.
fn what_now(rules: &CallRules, name: &str, valid: &Valid) -> String {
    let host = match &valid.leaving {
        Some(OutgoingData::Request { address, .. }) => host_pattern(address),
        _ => None,
    };
    let missing = host.unwrap_or_else(|| name.to_owned());
    let all: Vec<String> =
        rules.sinks.iter().chain([&missing]).map(|sink| format!("\"{}\"", short(sink, 300))).collect();
    format!(
        "Don't try again; say in your answer what you would have done. A person can allow it in the configuration: \
         sinks = [{}] under {}",
        all.join(", "),
        table_of(&rules.agent)
    )
}

/// Returns the header of an agent's table in TOML.
fn table_of(agent: &str) -> String {
    if agent.contains('.') { format!("[agents.\"{agent}\"]") } else { format!("[agents.{agent}]") }
}

impl Valid {
    /// Returns whether the call may pass on data by changing something. Idempotent is not harmless: with a server
    /// on the other side, it counts like any other change.
    fn changes(&self) -> bool {
        match self.effect {
            Effect::Effect => true,
            Effect::Idempotent => self.server.is_some(),
            Effect::Read => false,
        }
    }
}
