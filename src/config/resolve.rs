//! From the document to the fleet: everything but the agents themselves.
use super::document::File;
use super::keys::{self, Key};
use super::notify::notify;
use super::walk::{Item, Section};
use super::{
    agents, calendars, guarded, lint, models, nodes, redis, runners, sandbox, store, telemetry, tools,
    webhooks,
};
use crate::config::values::{check_program, cwd, url, warn_if_unencrypted, zone};
use crate::domain::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use toml::de::DeTable;

/// Returns the fleet that a document describes. Errors are recorded in `file`, with a default in place of the
/// invalid value, so that all errors are found.
pub(super) fn fleet<'a>(file: &'a File<'a>, root: &'a DeTable<'a>) -> Fleet {
    let top = Section::of(file, root, 0..0, keys::TOP);
    for kind in ["models", "runners", "mcp", "tools", "notify", "webhooks", "calendars", "agents"] {
        let is_table = root.get(kind).is_none_or(|value| value.get_ref().is_table());
        if !is_table || top.misspelled.contains(&kind) {
            file.mark_broken(kind, "*");
        }
    }
    let daemon = daemon(&top);
    let models = named(&top, "models", keys::MODEL, models::model);
    let runners = runners::runners(&top, &models);
    let mcp = named(&top, "mcp", keys::MCP, mcp);
    let tools = instances(&top);
    let notify = named(&top, "notify", keys::NOTIFY, notify);
    let hooks = named(&top, "webhooks", keys::HOOK, webhooks::hook);
    let calendars = named(&top, "calendars", keys::CALENDAR, calendars::calendar);
    let budget = top
        .get("budget")
        .and_then(|item| item.section(keys::BUDGET))
        .map_or_else(BudgetSpec::default, |s| budget(&s));
    let mut fleet = Fleet {
        path: file.path.clone(),
        hash: ConfigHash(0),
        daemon,
        agents: Vec::new(),
        models,
        runners,
        mcp,
        tools,
        notify,
        hooks,
        calendars,
        budget,
        redis: redis::events(&top).map(Arc::new),
        memory: redis::memory(&top).map(Arc::new),
        telemetry: telemetry::telemetry(&top).map(Arc::new),
        store: store::store(&top).map(Arc::new),
        secrets: Vec::new(),
        applied: None,
        untrusted_skills: BTreeSet::new(),
    };
    if let Some(own) = file.context.own {
        own.overlay(&mut fleet);
    }
    models::fallbacks(&top, &fleet);
    fleet.agents = agents::agents(&top, &fleet);
    fleet.secrets = file.references();
    if let Some(own) = file.context.own {
        own.add_secrets(&mut fleet.secrets);
    }
    guarded::guard(file, &top, &mut fleet);
    webhooks::used(&top, &fleet);
    lint::fleet(file, &top, &fleet);
    fleet.hash = identity::of_fleet(&fleet);
    fleet
}

/// Parses the named tables of one kind: `[models.main]`, ….
fn named<'a, T>(
    top: &Section<'a>,
    kind: &'a str,
    keys: &[Key],
    make: impl Fn(&Section<'a>) -> Option<T>,
) -> BTreeMap<String, T> {
    let mut all = BTreeMap::new();
    let Some(table) = top.get(kind).and_then(|item| item.table()) else { return all };
    for (name, value) in table {
        let item = Item { file: top.file, value, name: kind };
        let before = top.file.errors();
        if let Some(made) = item.section(keys).and_then(|section| make(&section)) {
            all.insert(name.get_ref().to_string(), made);
        }
        if top.file.errors() > before {
            top.file.mark_broken(kind, name.get_ref());
        }
    }
    all
}

fn daemon(top: &Section<'_>) -> DaemonSpec {
    let mut spec = DaemonSpec { timezone: top.file.context.timezone.clone(), ..DaemonSpec::default() };
    let Some(section) = top.get("daemon").and_then(|item| item.section(keys::DAEMON)) else { return spec };
    if let Some(zone) = section.get("timezone").and_then(zone) {
        spec.timezone = zone;
    }
    if let Some(most) = section.whole("max_parallel_runs", 1) {
        spec.max_parallel_runs = usize::try_from(most).unwrap_or(usize::MAX);
    }
    if let Some(grace) = section.duration("shutdown_grace") {
        spec.shutdown_grace = grace;
    }
    if section.word("reload") == Some(ReloadMode::Manual) {
        spec.reload = ReloadMode::Manual;
    }
    spec.node = node(&section);
    spec.webhooks = section.get("webhooks").and_then(webhooks::address);
    spec.ping = section.get("ping").and_then(|item| super::ping::ping(item, keys::DAEMON_PING)).map(Arc::new);
    if let Some(section) = section.get("retention").and_then(|item| item.section(keys::RETENTION)) {
        let keep = &mut spec.retention;
        for (name, slot) in [
            ("runs", &mut keep.runs),
            ("events", &mut keep.events),
            ("transcripts", &mut keep.transcripts),
            ("output", &mut keep.output),
        ] {
            if let Some(span) = section.positive(name) {
                *slot = span;
            }
        }
        if let Some(bytes) = section.size_of_at_least("max_db_size", 1 << 20, "1MiB") {
            keep.max_db_size = bytes;
        }
        keep.workspaces = section.size_of_at_least("workspaces", 1 << 20, "1MiB");
    }
    spec
}

/// Parses the daemon's identity among those that share its records.
fn node(section: &Section<'_>) -> NodeSpec {
    let named = section.get("node").and_then(|item| {
        let text = item.text()?;
        text.parse().map_err(|error: InvalidNodeName| item.refuse::<()>(error.to_string())).ok()
    });
    let labels = nodes::labels(section, "labels");
    NodeSpec { name: named, labels, leads: section.flag("leads").unwrap_or(true) }
}

fn mcp(section: &Section<'_>) -> Option<McpSpec> {
    let before = section.file.errors();
    let command = section.get("command").and_then(|item| item.command());
    let url = section.get("url").and_then(url);
    if section.own("command").is_some() == section.own("url").is_some() {
        return section.missing(
            &["command", "url"],
            "an MCP server needs either `command` or `url`".into(),
            None,
        );
    }
    let (env, cwd) = (section.env(), section.own("cwd").map(|_| cwd(section).0));
    if let Some(argv) = command.as_ref().filter(|_| section.file.errors() == before) {
        check_program(section, argv, cwd.as_deref(), &env);
    }
    let headers = section.headers();
    if let Some(address) = section.get("url") {
        warn_if_unencrypted(address, headers.values().any(TextOrSecret::is_secret));
    }
    Some(McpSpec {
        command,
        url,
        headers,
        env,
        cwd,
        start_timeout: section.positive("start_timeout").unwrap_or(McpSpec::START_TIMEOUT),
        allow: section.texts("allow"),
        deny: section.texts("deny").unwrap_or_default(),
        sandbox: sandbox::setting(section),
        effects: effects(section),
    })
}

/// Parses `effects` of a server: a word for each named tool.
fn effects(section: &Section<'_>) -> BTreeMap<String, McpEffect> {
    let Some(table) = section.get("effects").and_then(|item| item.table()) else { return BTreeMap::new() };
    let words = table.iter().filter_map(|(tool, value)| {
        let tool = tool.get_ref().as_ref();
        Some((tool.to_owned(), Item { file: section.file, value, name: tool }.word()?))
    });
    words.collect()
}

/// Parses instances of built-in tools. If the settings have an error, the instance still exists by name, so
/// that references to it are not reported.
fn instances(top: &Section<'_>) -> BTreeMap<String, ToolSpec> {
    let mut all = BTreeMap::new();
    let Some(table) = top.get("tools").and_then(|item| item.table()) else { return all };
    // Archives come last: they refer to databases and buckets.
    let is_archive = |value: &Item<'_>| {
        let settings = value.value.get_ref().as_table();
        settings.and_then(|table| table.get("type")).and_then(|kind| kind.get_ref().as_str())
            == Some(ToolKind::ArchiveRows.as_str())
    };
    let mut items: Vec<_> =
        table.iter().map(|(name, value)| (name, Item { file: top.file, value, name: "tools" })).collect();
    items.sort_by_key(|(_, item)| is_archive(item));
    for (name, item) in items {
        let Some(kind) = tool_type(item) else {
            top.file.mark_broken("tools", name.get_ref());
            continue;
        };
        let settings = match tools::keys(kind) {
            Some(keys) => {
                let section = item.section(keys);
                let settings = section.and_then(|section| tools::resolve(kind, &section, &all));
                settings.unwrap_or_else(|| ToolSettings::none(kind))
            }
            None => {
                warn_ignored_keys(item, kind);
                ToolSettings::none(kind)
            }
        };
        all.insert(name.get_ref().to_string(), ToolSpec { kind, settings });
    }
    all
}

/// Warns of keys in the table of a tool that has no settings.
fn warn_ignored_keys(item: Item<'_>, kind: ToolKind) {
    for (key, _) in item.table().into_iter().flatten().filter(|(key, _)| key.get_ref() != "type") {
        let message = format!("`{}` has no effect: a tool of type \"{kind}\" has no settings", key.get_ref());
        item.file.warn(key.span(), message, None);
    }
}

fn tool_type(item: Item<'_>) -> Option<ToolKind> {
    let Some(kind) = item.table()?.get("type") else {
        return item
            .refuse_with("a tool needs `type`".into(), format!("one of {}", ToolKind::WORDS.join(", ")));
    };
    Item { value: kind, name: "type", ..item }.word()
}

fn budget(section: &Section<'_>) -> BudgetSpec {
    let warn_at = section.number("warn_at");
    if let (Some(at), Some(item)) = (warn_at, section.get("warn_at"))
        && at > 1.0
    {
        item.refuse::<()>("`warn_at` is a fraction of a budget: between 0 and 1".into());
    }
    BudgetSpec {
        usd_per_day: section.number("usd_per_day"),
        usd_per_month: section.number("usd_per_month"),
        tokens_per_day: section.whole("tokens_per_day", 0),
        requests_per_day: section.whole("requests_per_day", 0),
        warn_at,
    }
}
