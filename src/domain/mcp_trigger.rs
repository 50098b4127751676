//! MCP triggers (`on = { mcp = …, event = … }`): events of MCP servers that start an agent, and the polling
//! interval.
use super::hex::hex;
use jiff::SignedDuration;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A subscription to events of an MCP server, in the terms of the Events extension, delivered by polling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpTrigger {
    /// Name of the `[mcp.…]` table.
    pub server: Arc<str>,
    /// The type of the events, as the server names it.
    pub event: Box<str>,
    /// Arguments of the subscription: a filter, and options.
    pub args: Map<String, Value>,
    /// Polling interval, unless the server asks for a longer one.
    pub every: SignedDuration,
}

impl McpTrigger {
    /// Default of `every`.
    pub const EVERY: SignedDuration = SignedDuration::from_mins(1);
    /// Minimum of `every`, as the extension requires of clients.
    pub const MIN_EVERY: SignedDuration = SignedDuration::from_secs(1);
    /// Maximum of `every`, and of an interval that a server may ask for.
    pub const MAX_EVERY: SignedDuration = SignedDuration::from_hours(1);
    /// Maximum length of the data of an event, in bytes of JSON.
    pub const LONGEST_DATA: usize = 256 << 10;

    /// Returns a text such as `event issue.opened of MCP server github`.
    pub fn describe(&self) -> String {
        format!("event {} of MCP server {}", self.event, self.server)
    }

    /// Returns a key that identifies the subscription: a cursor is valid only for its own.
    pub fn key(&self) -> String {
        let args = Value::Object(self.args.clone()).to_string();
        format!("{} {} {}", self.server, self.event, &hex(&Sha256::digest(args.as_bytes()))[..16])
    }
}

#[cfg(test)]
mod tests {
    //! What a cursor is known by.
    use super::*;
    use serde_json::json;

    #[test]
    fn each_subscription_has_a_key_of_its_own() {
        let of = |server: &str, event: &str, args: Value| McpTrigger {
            server: server.into(),
            event: event.into(),
            args: args.as_object().unwrap().clone(),
            every: McpTrigger::EVERY,
        };
        let one = of("github", "issue.opened", json!({"repo": "a/b"}));
        // the order of keys means nothing, and how often it is asked neither
        let same = of("github", "issue.opened", serde_json::from_str(r#"{ "repo": "a/b" }"#).unwrap());
        assert_eq!(one.key(), McpTrigger { every: McpTrigger::MIN_EVERY, ..same }.key());
        for other in [
            of("gitlab", "issue.opened", json!({"repo": "a/b"})),
            of("github", "issue.closed", json!({"repo": "a/b"})),
            of("github", "issue.opened", json!({"repo": "a/c"})),
            of("github", "issue.opened", json!({})),
        ] {
            assert_ne!(one.key(), other.key());
        }
    }
}
