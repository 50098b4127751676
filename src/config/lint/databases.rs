//! Warnings about missing SQLite databases. There is none if all users of one have a gate: it may be what
//! waits for the database.
use crate::config::document::File;
use crate::config::machine;
use crate::config::walk::Section;
use crate::domain::{
    AgentSpec, ArchiveSettings, ArchiveTarget, Body, CheckBody, Fleet, TextOrSecret, ToolSettings,
};
use serde::Deserialize;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::DeValue;

/// Warns of missing databases.
pub(super) fn lint<'a>(file: &File<'_>, top: &Section<'a>, fleet: &Fleet) {
    let table = |kind: &'a str, name: &str| top.get(kind)?.value.get_ref().as_table()?.get(name);
    for (name, tool) in &fleet.tools {
        let mut users = fleet.agents.iter().filter(|agent| uses(agent, name)).peekable();
        if users.peek().is_none() || users.any(|agent| !is_guarded(agent, name)) {
            let written = table("tools", name);
            match &tool.settings {
                ToolSettings::Sql(Some(settings)) => check_url(file, &settings.url, written, &["url"]),
                ToolSettings::ArchiveRows(Some(settings)) => check_archive(file, settings, written),
                _ => {}
            }
        }
    }
    for agent in fleet.agents.iter().filter(|agent| agent.gate.is_none()) {
        if let Body::Tool(call) = &agent.body
            && !fleet.tools.contains_key(&call.tool)
        {
            let own = table("agents", agent.id.as_str()).and_then(|own| own.get_ref().as_table());
            if let Ok(settings) = ArchiveSettings::deserialize(&call.args) {
                check_archive(file, &settings, own.and_then(|own| own.get("args")));
            }
        }
    }
}

/// Checks the databases of an archive.
fn check_archive(file: &File<'_>, archive: &ArchiveSettings, written: Option<&Spanned<DeValue<'_>>>) {
    check_url(file, &archive.from.database.url, written, &["from", "url"]);
    if let ArchiveTarget::Table { database, .. } = &archive.to {
        check_url(file, &database.url, written, &["to", "url"]);
    }
}

fn check_url(file: &File<'_>, url: &TextOrSecret, written: Option<&Spanned<DeValue<'_>>>, keys: &[&str]) {
    let TextOrSecret::Text(url) = url else { return };
    // A database of another tool is checked where it is defined.
    let Some(span) = written.and_then(|written| span_of(written, keys)) else { return };
    if let Some(path) = url.strip_prefix("sqlite:") {
        machine::database(file, span, Path::new(path));
    }
}

fn span_of(written: &Spanned<DeValue<'_>>, keys: &[&str]) -> Option<Range<usize>> {
    let mut value = written;
    for key in keys {
        value = value.get_ref().as_table()?.get(*key)?;
    }
    Some(value.span())
}

/// Returns whether the agent calls this tool, directly or through its model.
fn uses(agent: &AgentSpec, tool: &str) -> bool {
    let by_body = match &agent.body {
        Body::Tool(call) => call.tool == tool,
        body => body.tool_use().is_some_and(|uses| uses.tools.iter().any(|name| name == tool)),
    };
    by_body || gate_calls(agent, tool) || agent.success_when.iter().any(|check| calls(&check.body, tool))
}

/// Returns whether the agent has a gate that does not use this tool itself.
fn is_guarded(agent: &AgentSpec, tool: &str) -> bool {
    agent.gate.is_some() && !gate_calls(agent, tool)
}

fn gate_calls(agent: &AgentSpec, tool: &str) -> bool {
    agent.gate.as_deref().is_some_and(|gate| calls(&gate.body, tool))
}

fn calls(body: &CheckBody, tool: &str) -> bool {
    matches!(body, CheckBody::Tool(call) if call.tool == tool)
}
