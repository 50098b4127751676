//! Tool calls, gates and proofs: what they refer to, and whether their arguments are valid.
use super::keys;
use super::walk::{Item, Section};
use super::{call_args, sandbox, tools};
use crate::config::values::cwd;
use crate::domain::*;
use serde_json::{Value, json};
use std::sync::Arc;

/// Parses a gate, or one check of `success_when`. `of_agent`: the sandbox that applies if it sets none.
/// `folder`: its working directory if it sets none; `None`: that of the configuration.
pub(super) fn check(
    item: Item<'_>,
    fleet: &Fleet,
    of_agent: &SandboxSetting,
    folder: Option<&str>,
) -> Option<Check> {
    let section = item.section(keys::CHECK)?;
    let body = match (section.own("tool"), section.own("command")) {
        (Some(tool), None) => CheckBody::Tool(tool_call(tool, section.own("args"), fleet)?),
        (None, Some(command)) => {
            let argv = command.command()?;
            let (cwd, default_cwd) = match folder.filter(|_| section.get("cwd").is_none()) {
                Some(folder) => (folder.into(), false),
                None => cwd(&section),
            };
            let sandbox = sandbox::setting(&section).or(of_agent).if_asked();
            let env = section.env();
            CheckBody::Command(CommandSpec { argv, env, cwd, default_cwd, stdin: None, sandbox })
        }
        (None, None) if section.misspelled.iter().any(|key| ["tool", "command"].contains(key)) => {
            return None;
        }
        _ => return item.refuse("a check needs either `tool` or `command`".into()),
    };
    let expect = match section.own("expect") {
        None => Vec::new(),
        Some(item) => expect(item, matches!(body, CheckBody::Command(_)))?,
    };
    let novel_by = section.texts("novel_by").unwrap_or_default();
    if let Some(item) = section.get("novel_by").filter(|_| !expect.is_empty()) {
        return item.refuse_with(
            "`novel_by` and `expect` exclude each other".into(),
            "with `expect` that alone decides; with `novel_by` the gate is open if there is something new"
                .into(),
        );
    }
    Some(Check { body, expect, novel_by })
}

/// Parses the schema of an answer; keywords that would not be enforced are refused.
pub(super) fn output_schema(item: Item<'_>) -> Value {
    let schema = item.json();
    if let Err(error) = check_schema(&schema) {
        let hint = "it is JSON Schema 2020-12, as a table: \
                    output_schema = { type = \"object\", properties = { title = { type = \"string\" } } }";
        let _: Option<()> = item.refuse_with(format!("`output_schema`: {error}"), hint.into());
    }
    schema
}

/// The fields of a command's result.
const OF_COMMANDS: &[&str] = &["exit_code", "exit", "stdout", "stderr"];

/// Parses `{ exit_code = 0, rows = { gte = 1 } }`: each field equals a value, or is compared with one.
pub(super) fn expect(item: Item<'_>, of_command: bool) -> Option<Vec<Expect>> {
    let mut all = Vec::new();
    for (field, value) in item.table()? {
        let span = field.span();
        let field = field.get_ref().to_string();
        if of_command && !OF_COMMANDS.contains(&field.as_str()) {
            let hint = match nearest(&field, OF_COMMANDS.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "there are `exit_code`, `stdout` and `stderr`".to_owned(),
            };
            item.file.error(Some(span), format!("a command has no `{field}` to expect"), Some(hint));
            continue;
        }
        let one = Item { value, ..item };
        let Some(table) = value.get_ref().as_table() else {
            all.push(Expect { field, compare: Compare::Eq, value: one.json() });
            continue;
        };
        for (word, value) in table {
            let Some(compare) = Compare::parse(word.get_ref()) else {
                let hint = format!("use one of {}", Compare::WORDS.join(", "));
                item.file.error(
                    Some(word.span()),
                    format!("`{}` does not compare anything", word.get_ref()),
                    Some(hint),
                );
                continue;
            };
            all.push(Expect { field: field.clone(), compare, value: Item { value, ..item }.json() });
        }
    }
    Some(all)
}

/// Reports an error if there is no tool of this name.
pub(super) fn check_tool_exists(item: Item<'_>, fleet: &Fleet) -> bool {
    let Some(name) = item.text() else { return false };
    if let Some((server, tool)) = name.split_once('/') {
        if fleet.mcp.contains_key(server) && !tool.is_empty() {
            return true;
        }
        if item.file.is_broken("mcp", server) {
            return false;
        }
        item.refuse_with::<()>(
            format!("there is no MCP server `{server}`"),
            format!("define it in [mcp.{server}]"),
        );
        return false;
    }
    let names = || ToolKind::WORDS.iter().copied().chain(fleet.tools.keys().map(String::as_str));
    if !fleet.tools.contains_key(name)
        && ToolKind::parse(name).is_some_and(|kind| tools::NEED_SETTINGS.contains(&kind))
    {
        item.refuse_with::<()>(
            format!("`{name}` does nothing without settings"),
            format!("define a table such as [tools.my_{name}] with type = \"{name}\", and name that"),
        );
        return false;
    }
    if names().any(|known| known == name) {
        return true;
    }
    if item.file.is_broken("tools", name) {
        return false;
    }
    let hint = match nearest(name, names()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("built in are {}; or define it in [tools.{name}]", tool_names()),
    };
    item.refuse_with::<()>(format!("there is no tool `{name}`"), hint);
    false
}

/// Reports an error if there is no tool of this name, or if a model could do anything with it.
pub(super) fn require_safe_for_model(item: Item<'_>, fleet: &Fleet) {
    if !check_tool_exists(item, fleet) {
        return;
    }
    let name = item.text().unwrap_or_default();
    if name == "archive_rows" && !fleet.tools.contains_key(name) {
        item.refuse_with::<()>(
            "with `archive_rows` a model could move any table anywhere".into(),
            "define [tools.my_archive] with type = \"archive_rows\", `from` and `to`, and name that".into(),
        );
    }
    if fixes_its_checks(name, fleet) == Some(false) {
        item.refuse_with::<()>(
            format!("with `{name}` a model could run any command as a check"),
            "define [tools.my_checks] with type = \"probe\" and its checks = [ … ], and name that".into(),
        );
    }
    // A table of that type fixes its addresses.
    if name == "feed" && !fleet.tools.contains_key(name) {
        item.refuse_with::<()>(
            "with `feed` a model would choose addresses itself".into(),
            "define [tools.news] with type = \"feed\" and urls = [\"https://example.org/feed.xml\"], and name that"
                .into(),
        );
    }
}

/// Parses `approve` or `sinks`: which of the agent's tools they mean. A name that matches none of them is an
/// error, since what it was to guard would be unguarded; in `[defaults]`, which apply to many agents, it is
/// an error if it matches no tool of any agent ([`default_guards`]).
///
/// `approve` also accepts a type, which means all tools of it. `sinks` does not: it permits, and so must be
/// exact. It accepts addresses as well.
pub(super) fn guards(section: &Section<'_>, key: &str, tools: &[String], fleet: &Fleet) -> Vec<String> {
    let mut all = section.texts(key).unwrap_or_default();
    if key == "approve" {
        let typed: Vec<String> = all.iter().flat_map(|name| of_type(name, tools, fleet)).collect();
        all.extend(typed);
    }
    // If `tools` has an error, its guards can't be judged.
    let known = section
        .table
        .get_key_value("tools")
        .is_none_or(|(key, value)| !section.file.has_error_in(key.span(), value));
    if known && !section.misspelled.contains(&"tools") {
        for item in section.own(key).and_then(|list| list.items()).unwrap_or_default() {
            guard(item, key, tools, fleet, "this agent's `tools`");
        }
    }
    all
}

/// Checks the guards of `[defaults]`, once all agents are known.
pub(super) fn default_guards(defaults: &Section<'_>, agents: &[Arc<AgentSpec>], fleet: &Fleet) {
    let tools: Vec<String> = agents
        .iter()
        .filter_map(|agent| agent.body.tool_use())
        .flat_map(|uses| uses.tools)
        .cloned()
        .collect();
    if tools.is_empty() || defaults.file.is_broken("agents", "*") {
        return;
    }
    for key in ["approve", "sinks"] {
        for item in defaults.own(key).and_then(|list| list.items()).unwrap_or_default() {
            guard(item, key, &tools, fleet, "the `tools` of any agent");
        }
    }
}

fn of_type(kind: &str, tools: &[String], fleet: &Fleet) -> Vec<String> {
    let is = |name: &&String| fleet.tools.get(*name).is_some_and(|spec| spec.kind.as_str() == kind);
    tools.iter().filter(is).cloned().collect()
}

/// Reports an error if a name matches none of these tools.
fn guard(item: Item<'_>, key: &str, tools: &[String], fleet: &Fleet, scope: &str) {
    let Some(name) = item.text() else { return };
    if key == "sinks" && is_address(name) {
        return address_sink(item, name, tools, fleet, scope);
    }
    let typed = of_type(name, tools, fleet);
    let means = |tool: &String| {
        let all_of_server = tool.contains('/') && tool.contains(['*', '?']) && glob(tool, name);
        name == tool || all_of_server || glob(name, tool)
    };
    if tools.iter().any(means) || (key == "approve" && !typed.is_empty()) {
        return;
    }
    let hint = match (typed.first(), nearest(name, tools.iter().map(String::as_str))) {
        (Some(tool), _) => format!("name the tool itself: \"{tool}\""),
        (None, Some(near)) => format!("did you mean \"{near}\"?"),
        (None, None) if tools.is_empty() => "this agent has no `tools`".to_owned(),
        (None, None) => format!("there are {}", tools.join(", ")),
    };
    item.refuse_with::<()>(format!("`{key}` names `{name}`, which is not among {scope}"), hint);
}

/// Reports an error if this entry of `sinks` is not an address, or if no tool sends requests to one.
fn address_sink(item: Item<'_>, address: &str, tools: &[String], fleet: &Fleet, scope: &str) {
    if let Err(why) = AddressPattern::parse(address) {
        let hint = "a whole address, or one with a `*` at its end: \"https://api.example.org/*\"".to_owned();
        item.refuse_with::<()>(format!("`sinks` names `{address}`: {why}"), hint);
    } else if tools.iter().all(|tool| fleet.kind_of(tool) != Some(ToolKind::Http)) {
        let hint = "addresses are for tools of type \"http\"; name any other tool itself".to_owned();
        item.refuse_with::<()>(format!("`sinks` names an address, and none of {scope} sends requests"), hint);
    }
}

/// Returns whether the configuration fixes what this probe checks; `None` if it is not a probe.
fn fixes_its_checks(name: &str, fleet: &Fleet) -> Option<bool> {
    match fleet.tools.get(name) {
        Some(spec) => (spec.kind == ToolKind::Probe).then(|| spec.settings != ToolSettings::Probe(None)),
        None => (name == ToolKind::Probe.as_str()).then_some(false),
    }
}

fn tool_names() -> String {
    ToolKind::WORDS.join(", ")
}

/// Parses a tool and its arguments; those of built-in tools are validated.
pub(super) fn tool_call(item: Item<'_>, args: Option<Item<'_>>, fleet: &Fleet) -> Option<ToolCallSpec> {
    if !check_tool_exists(item, fleet) {
        return None;
    }
    let tool = item.text()?.to_owned();
    let kind = fleet.kind_of(&tool);
    let args = match (kind, args) {
        (Some(ToolKind::Probe), Some(args)) => json(&tools::probe::args(args)?),
        (Some(ToolKind::Probe), None) if fixes_its_checks(&tool, fleet) != Some(true) => {
            return item.refuse_with(
                "`probe` needs `args`".into(),
                "args = { checks = [{ type = \"disk\", path = \"/\" }] }".into(),
            );
        }
        (Some(ToolKind::ArchiveRows), args) if !fleet.tools.contains_key(&tool) => {
            archive_args(item, args, fleet)?
        }
        (Some(ToolKind::SystemMetrics), Some(args)) => json(&tools::metrics::args(args)?),
        (Some(ToolKind::Feed), args) => {
            let settings = fleet.tools.get(&tool).and_then(|spec| match &spec.settings {
                ToolSettings::Feed(settings) => Some(settings),
                _ => None,
            });
            json(&tools::feed::args(item, args, settings)?)
        }
        (kind, args) => {
            if let Some(kind) = kind {
                call_args::judge(kind, fleet.tools.get(&tool).map(|spec| &spec.settings), item, args);
            }
            match args {
                Some(args) => {
                    args.table()?;
                    args.json()
                }
                None => json!({}),
            }
        }
    };
    Some(ToolCallSpec { tool, args })
}

/// Serializes arguments as configured, with placeholders.
fn json(args: &impl serde::Serialize) -> Value {
    serde_json::to_value(args).expect("names of its fields are texts")
}

/// Parses an archive without a table: its settings are the arguments.
fn archive_args(item: Item<'_>, args: Option<Item<'_>>, fleet: &Fleet) -> Option<Value> {
    let Some(args) = args else {
        return item.refuse_with(
            "`archive_rows` needs `args`, or a table of its own".into(),
            "define [tools.my_archive] with type = \"archive_rows\", and name that".into(),
        );
    };
    let keys: Vec<keys::Key> =
        tools::archive::KEYS.iter().filter(|key| key.name != "type").copied().collect();
    let section = args.section(&keys)?;
    Some(json(&tools::archive::settings(&section, &fleet.tools)?))
}
