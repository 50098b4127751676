//! Tools of MCP servers that an agent names and can't get, as far as the file alone shows.
use super::place::Place;
use crate::domain::{Fleet, McpSpec, glob, nearest};

/// Warns if `allow` or `deny` of a server excludes a tool that an agent names: each of its runs would fail.
pub(super) fn of_agent(at: &Place<'_>, fleet: &Fleet) {
    let Some(uses) = at.agent.body.tool_use() else { return };
    for name in uses.tools {
        let Some((server, tool)) = name.split_once('/') else { continue };
        let Some(spec) = fleet.mcp.get(server) else { continue };
        if let Some((why, hint)) = why_unavailable(server, tool, spec) {
            at.file.warn(
                at.of("tools"),
                format!("`{name}` gives this agent no tool: {why}; each of its runs would fail"),
                hint,
            );
        }
    }
}

fn why_unavailable(server: &str, tool: &str, spec: &McpSpec) -> Option<(String, Option<String>)> {
    let names = |pattern: &String, name: &str| pattern == name || glob(pattern, name);
    let key = |key: &str| format!("`{key}` of [mcp.{server}]");
    let denied = |name: &str| spec.deny.iter().any(|pattern| names(pattern, name));
    let is_pattern = |name: &str| name.contains(['*', '?']);
    if !is_pattern(tool) && denied(tool) {
        return Some((format!("{} forbids it", key("deny")), None));
    }
    if denied("*") {
        return Some((format!("{} forbids all", key("deny")), None));
    }
    let allow = spec.allow.as_ref()?;
    // A pattern may match any name.
    let reaches = |entry: &String| {
        !denied(entry)
            && match (is_pattern(tool), is_pattern(entry)) {
                (true, true) => true,
                (true, false) => glob(tool, entry),
                // The name as the server may spell it.
                (false, _) => names(entry, tool) || is_same_normalized(entry, tool),
            }
    };
    if allow.iter().any(reaches) {
        return None;
    }
    let near = nearest(tool, allow.iter().map(String::as_str)).filter(|near| !is_pattern(near));
    let hint = match near {
        Some(near) => format!("did you mean `{server}/{near}`?"),
        None => format!("add it to {}", key("allow")),
    };
    Some((format!("{} does not name it", key("allow")), Some(hint)))
}

/// Compares names; characters of a server's name that we don't support become `_` in ours.
fn is_same_normalized(theirs: &str, ours: &str) -> bool {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
    theirs.chars().map(plain).eq(ours.chars())
}
