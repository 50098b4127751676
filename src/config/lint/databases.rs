//! SQLite databases that are not there. Nothing is said where a gate stands before all that use one: it may be what
//! waits for the database.
use crate::config::document::File;
use crate::config::machine;
use crate::config::walk::Section;
use crate::domain::{AgentSpec, Body, CheckBody, Fleet, TextOrSecret, ToolSettings};
use serde_json::Value;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::DeValue;

/// Where a tool's settings, or the arguments of an archive without a table of its own, name a database.
const PLACES: [&[&str]; 3] = [&["url"], &["from", "url"], &["to", "url"]];

/// Notes databases that are not there.
pub(super) fn lint<'a>(file: &File<'_>, top: &Section<'a>, fleet: &Fleet) {
    let table = |kind: &'a str, name: &str| top.get(kind)?.value.get_ref().as_table()?.get(name);
    for (name, tool) in &fleet.tools {
        let mut users = fleet.agents.iter().filter(|agent| uses(agent, name)).peekable();
        if users.peek().is_none() || users.any(|agent| !is_guarded(agent, name)) {
            let written = table("tools", name);
            match &tool.settings {
                ToolSettings::Sql(Some(settings)) => look_at(file, &settings.url, written, &["url"]),
                settings => look(file, settings.json(), written),
            }
        }
    }
    for agent in fleet.agents.iter().filter(|agent| agent.gate.is_none()) {
        if let Body::Tool(call) = &agent.body
            && !fleet.tools.contains_key(&call.tool)
        {
            let own = table("agents", agent.id.as_str()).and_then(|own| own.get_ref().as_table());
            look(file, &call.args, own.and_then(|own| own.get("args")));
        }
    }
}

fn look(file: &File<'_>, settings: &Value, written: Option<&Spanned<DeValue<'_>>>) {
    for keys in PLACES {
        let url =
            keys.iter().try_fold(settings, |value, key| value.get(*key)).and_then(TextOrSecret::from_json);
        if let Some(url) = url {
            look_at(file, &url, written, keys);
        }
    }
}

fn look_at(file: &File<'_>, url: &TextOrSecret, written: Option<&Spanned<DeValue<'_>>>, keys: &[&str]) {
    let TextOrSecret::Text(url) = url else { return };
    // what is only referred to is looked at where it is defined
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

/// Does the agent call this tool, by itself or by its model?
fn uses(agent: &AgentSpec, tool: &str) -> bool {
    let by_body = match &agent.body {
        Body::Tool(call) => call.tool == tool,
        Body::Query(query) => query.tools.iter().any(|name| name == tool),
        Body::Command(_) => false,
    };
    by_body || asks_in_gate(agent, tool) || agent.success_when.iter().any(|check| calls(&check.body, tool))
}

/// Is there a gate before the use of this tool, which does without it?
fn is_guarded(agent: &AgentSpec, tool: &str) -> bool {
    agent.gate.is_some() && !asks_in_gate(agent, tool)
}

fn asks_in_gate(agent: &AgentSpec, tool: &str) -> bool {
    agent.gate.as_deref().is_some_and(|gate| calls(&gate.body, tool))
}

fn calls(body: &CheckBody, tool: &str) -> bool {
    matches!(body, CheckBody::Tool(call) if call.tool == tool)
}
