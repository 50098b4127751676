//! Agents that wait for events of MCP servers: `on = { mcp = "github", event = "issue.opened", every = "1m" }`.
use super::walk::{Item, Section};
use crate::config::values::refers;
use crate::domain::{Fleet, McpTrigger, human_duration};
use jiff::SignedDuration;

/// Maximum length of the name of an event type, in bytes.
const MAX_EVENT_NAME_BYTES: usize = 200;
/// Maximum size of the arguments, in bytes of JSON.
const MAX_ARGS_BYTES: usize = 16 << 10;

/// Parses which events the table of an `on` names.
pub(super) fn trigger(section: &Section<'_>, server: Item<'_>, fleet: &Fleet) -> Option<McpTrigger> {
    section.refuse_other_keys("mcp", &["mcp", "event", "args", "every"], super::keys::ON);
    let event = match section.get("event") {
        Some(item) => event(item),
        None => section.missing(
            &["event"],
            "`mcp` needs `event`: which of the server's events".into(),
            Some("while the daemon runs, `bgagent mcp list` shows what a server has".into()),
        ),
    };
    let every = section.get("every").map_or(Some(McpTrigger::EVERY), every);
    let args = match section.get("args") {
        None => Some(serde_json::Map::new()),
        Some(item) => args(item),
    };
    let name = server.text()?;
    if !refers(server, name, "MCP server", fleet.mcp.keys().map(String::as_str)) {
        return None;
    }
    Some(McpTrigger { server: name.into(), event: event?.into(), args: args?, every: every? })
}

fn event<'a>(item: Item<'a>) -> Option<&'a str> {
    let name = item.text()?;
    let is_name =
        !name.is_empty() && name.len() <= MAX_EVENT_NAME_BYTES && !name.chars().any(char::is_control);
    if is_name {
        return Some(name);
    }
    item.refuse_with(
        "this is no name of an event".into(),
        "write it as the server does, as in \"issue.opened\"".into(),
    )
}

fn every(item: Item<'_>) -> Option<SignedDuration> {
    let every = item.duration()?;
    let (least, most) = (McpTrigger::MIN_EVERY, McpTrigger::MAX_EVERY);
    if every < least || every > most {
        return item.refuse(format!(
            "`every` is between {} and {}",
            human_duration(least),
            human_duration(most)
        ));
    }
    Some(every)
}

fn args(item: Item<'_>) -> Option<serde_json::Map<String, serde_json::Value>> {
    item.table()?;
    let serde_json::Value::Object(args) = item.json() else { return None };
    if serde_json::Value::Object(args.clone()).to_string().len() > MAX_ARGS_BYTES {
        return item.refuse(format!("`args` have more than {} KiB", MAX_ARGS_BYTES >> 10));
    }
    Some(args)
}
