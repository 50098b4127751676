//! From the document to the fleet: everything but the agents themselves.
use super::document::File;
use super::email::email;
use super::keys::{self, Key};
use super::machine::{self, Wanted};
use super::walk::{Item, Section};
use super::{agents, calendars, events, guarded, lint, models, sandbox, tools};
use crate::config::values::{cwd, in_the_clear, url, zone};
use crate::domain::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use toml::de::DeTable;

/// The fleet that a document describes. Where something is wrong, it is noted in `file` and a default
/// stands in, so that all errors are found.
pub(super) fn fleet<'a>(file: &'a File<'a>, root: &'a DeTable<'a>) -> Fleet {
    let top = Section::of(file, root, 0..0, keys::TOP);
    for kind in ["models", "mcp", "tools", "notify", "calendars", "agents"] {
        let is_table = root.get(kind).is_none_or(|value| value.get_ref().is_table());
        if !is_table || top.misspelled.contains(&kind) {
            file.is_broken_now(kind, "*");
        }
    }
    let daemon = daemon(&top);
    let models = named(&top, "models", keys::MODEL, models::model);
    let mcp = named(&top, "mcp", keys::MCP, mcp);
    let tools = instances(&top);
    let notify = named(&top, "notify", keys::NOTIFY, notify);
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
        mcp,
        tools,
        notify,
        calendars,
        budget,
        redis: events::redis(&top).map(Arc::new),
        secrets: Vec::new(),
    };
    models::fallbacks(&top, &fleet);
    fleet.agents = agents::agents(&top, &fleet);
    fleet.secrets = file.references();
    guarded::guard(file, &top, &mut fleet);
    lint::fleet(file, &top, &fleet);
    fleet.hash = identity::of_fleet(&fleet);
    fleet
}

/// The named tables of one kind: `[models.main]`, ….
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
            top.file.is_broken_now(kind, name.get_ref());
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
    }
    spec
}

/// Looks for the program of a table's `command`, which there were no errors in.
fn look_for(section: &Section<'_>, argv: &[String], cwd: Option<&Path>, env: &BTreeMap<String, EnvValue>) {
    let Some(command) = section.own("command") else { return };
    let folder = section.own("cwd").map_or_else(|| command.span(), |item| item.span());
    let program = command.span();
    machine::program(section.file, &Wanted { argv, cwd, env: Some(env), folder, program });
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
    let (env, cwd) = (section.env(), section.own("cwd").map(|_| cwd(section)));
    if let Some(argv) = command.as_ref().filter(|_| section.file.errors() == before) {
        look_for(section, argv, cwd.as_deref(), &env);
    }
    let headers = section.headers();
    if let Some(address) = section.get("url") {
        in_the_clear(address, headers.values().any(TextOrSecret::is_secret));
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

/// `effects` of a server: a word for each tool that is named.
fn effects(section: &Section<'_>) -> BTreeMap<String, McpEffect> {
    let Some(table) = section.get("effects").and_then(|item| item.table()) else { return BTreeMap::new() };
    let words = table.iter().filter_map(|(tool, value)| {
        let tool = tool.get_ref().as_ref();
        Some((tool.to_owned(), Item { file: section.file, value, name: tool }.word()?))
    });
    words.collect()
}

/// Instances of built-in tools. Where something is wrong with the settings, that is noted and the
/// instance still has its name, so that those who refer to it are not blamed.
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
            top.file.is_broken_now("tools", name.get_ref());
            continue;
        };
        let settings = match tools::keys(kind) {
            Some(keys) => {
                let section = item.section(keys);
                let settings = section.and_then(|section| tools::resolve(kind, &section, &all));
                settings.unwrap_or_else(|| ToolSettings::none(kind))
            }
            None => {
                has_no_settings(item, kind);
                ToolSettings::none(kind)
            }
        };
        all.insert(name.get_ref().to_string(), ToolSpec { kind, settings });
    }
    all
}

/// Warns of keys in the table of a tool that takes none.
fn has_no_settings(item: Item<'_>, kind: ToolKind) {
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

/// Messages that a receiver gets in a minute, where nothing else is said.
const MESSAGES_PER_MINUTE: u32 = 10;

fn notify(section: &Section<'_>) -> Option<NotifyTarget> {
    let Some(kind) = section.get("type") else {
        return section.missing(
            &["type"],
            "a [notify.…] table needs `type`".into(),
            Some(format!("one of {}", NotifyType::WORDS.join(", "))),
        );
    };
    // keys that another type has
    const OF_TYPES: &[(NotifyType, &[&str])] = &[
        (NotifyType::Webhook, &["url", "headers"]),
        (NotifyType::Command, &["command", "env", "cwd"]),
        (NotifyType::Email, &["to", "from", "smtp", "tls", "username", "password"]),
        (NotifyType::File, &["path"]),
    ];
    let own = kind.text().unwrap_or_default();
    for (other, keys) in OF_TYPES.iter().filter(|(other, _)| other.as_str() != own) {
        for item in keys.iter().filter_map(|key| section.own(key)) {
            let message = format!("`{}` has no effect: it is for type = \"{other}\"", item.name);
            section.file.warn(item.span(), message, None);
        }
    }
    let needs = |key: &'static str| {
        let found = section.own(key);
        if found.is_none() {
            section.missing::<()>(&[key], format!("this `type` needs `{key}`"), None);
        }
        section.get(key)
    };
    let kind = match kind.word()? {
        NotifyType::Webhook => {
            let item = needs("url")?;
            let address = item.text_or_secret()?;
            if let TextOrSecret::Text(_) = address {
                url(item)?;
            }
            let headers = section.headers();
            in_the_clear(item, headers.values().any(TextOrSecret::is_secret));
            NotifyTargetKind::Webhook { url: address, headers }
        }
        NotifyType::Command => {
            let before = section.file.errors();
            let (argv, env, cwd) = (needs("command")?.command()?, section.env(), cwd(section));
            if section.file.errors() == before {
                look_for(section, &argv, Some(&cwd), &env);
            }
            NotifyTargetKind::Command(CommandSpec {
                argv,
                env,
                cwd,
                stdin: None,
                sandbox: sandbox::setting(section).if_asked(),
            })
        }
        NotifyType::File => {
            let item = needs("path")?;
            NotifyTargetKind::File(section.file.expand(item.text()?, item.span()))
        }
        NotifyType::Desktop => NotifyTargetKind::Desktop,
        NotifyType::Email => {
            NotifyTargetKind::Email(email(section, needs("to"), needs("from"), needs("smtp"))?)
        }
    };
    let per_minute = section.whole("per_minute", 1).map(|most| u32::try_from(most).unwrap_or(u32::MAX));
    let usual = (!matches!(kind, NotifyTargetKind::File(_))).then_some(MESSAGES_PER_MINUTE);
    Some(NotifyTarget { kind, per_minute: per_minute.or(usual) })
}

fn budget(section: &Section<'_>) -> BudgetSpec {
    let warn_at = section.number("warn_at");
    if let (Some(at), Some(item)) = (warn_at, section.get("warn_at"))
        && at > 1.0
    {
        item.refuse::<()>("`warn_at` is a part of a budget: between 0 and 1".into());
    }
    BudgetSpec {
        usd_per_day: section.number("usd_per_day"),
        usd_per_month: section.number("usd_per_month"),
        tokens_per_day: section.whole("tokens_per_day", 0),
        requests_per_day: section.whole("requests_per_day", 0),
        warn_at,
    }
}
