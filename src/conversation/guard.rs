//! Which calls are refused for what was read before them, and what would allow them.
//!
//! After words from outside nothing is changed, and after those or what is private nothing goes to a place that the model
//! chose: what it says then may be what somebody else wants. What the configuration names stays allowed: tools and
//! addresses in `sinks`, and whole addresses in the agent's own texts, as long as nothing else goes there with them.
use super::brief::CallRules;
use super::reply::short;
use crate::domain::{AddressPattern, Effect, Leaving, glob, host_pattern, is_address, is_named};
use serde_json::Value;

/// A call that fits its tool, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Valid {
    pub(super) args: Value,
    /// What it may do.
    pub(super) effect: Effect,
    /// What it gives comes from outside.
    pub(super) untrusted: bool,
    /// What it gives is private.
    pub(super) private: bool,
    /// What leaves the machine with it.
    pub(super) leaving: Option<Leaving>,
    /// The MCP server of its tool.
    pub(super) server: Option<String>,
}

/// What a conversation has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HasRead {
    /// Words from outside, in this run or in one that it remembers.
    pub(super) untrusted: bool,
    /// What is nobody's business but the owner's.
    pub(super) private: bool,
}

impl HasRead {
    /// How it is named to the model.
    fn words(self) -> &'static str {
        if self.untrusted {
            "untrusted data was read in this run"
        } else {
            "private data was read in this run"
        }
    }
}

/// Why a call is refused, for the model and for who reads what it did.
pub(super) fn refusal(rules: &CallRules, name: &str, valid: &Valid, read: HasRead) -> Option<String> {
    // What a server says of its own tools does not keep its own words from it.
    let other_servers = rules.tools.iter().filter_map(|tool| tool.server.as_deref());
    let described = other_servers.into_iter().any(|server| valid.server.as_deref() != Some(server));
    let read = HasRead { untrusted: read.untrusted || described, ..read };
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

/// Does the call send anything out that the configuration does not name?
fn sends(rules: &CallRules, valid: &Valid) -> bool {
    match &valid.leaving {
        None => false,
        Some(Leaving::Words) => true,
        Some(Leaving::Request { address, is_bare }) => !(*is_bare && is_named(&rules.named, address)),
    }
}

fn is_sink(sinks: &[String], name: &str, valid: &Valid) -> bool {
    sinks.iter().any(|sink| match &valid.leaving {
        Some(Leaving::Request { address, .. }) if is_address(sink) => {
            AddressPattern::parse(sink).is_ok_and(|pattern| pattern.fits(address))
        }
        _ => glob(sink, name),
    })
}

/// What the model is to do, and which line of the configuration would allow the call.
fn what_now(rules: &CallRules, name: &str, valid: &Valid) -> String {
    let host = match &valid.leaving {
        Some(Leaving::Request { address, .. }) => host_pattern(address),
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

/// The table of an agent, as it is written in TOML.
fn table_of(agent: &str) -> String {
    if agent.contains('.') { format!("[agents.\"{agent}\"]") } else { format!("[agents.{agent}]") }
}

impl Valid {
    /// May it hand something on? Harmless to repeat is not harmless: where the other side is a server, it counts like
    /// any other change.
    fn changes(&self) -> bool {
        match self.effect {
            Effect::Effect => true,
            Effect::Idempotent => self.server.is_some(),
            Effect::Read => false,
        }
    }
}
