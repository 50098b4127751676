//! The reference of `agents.toml` for people, generated from the table of keys: the content of the manual
//! page `agents.toml(5)` and of `docs/CONFIGURATION.md`.
use super::keys::{self, Key, Kind};
use super::tools;
use std::fmt::Write as _;

/// A table of `agents.toml`, with its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The header as it is written: `[agents.NAME]`.
    pub title: String,
    /// What the table is for.
    pub about: &'static str,
    pub entries: Vec<Entry>,
}

/// A key, and what it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; for a key in a nested table, prefixed by the table's: `retry.max`.
    pub name: String,
    /// The form of its value.
    pub value: String,
    /// What it does, and its default.
    pub about: String,
}

/// Forms of values that many keys share.
pub const VALUES: &[(&str, &str)] = &[
    ("duration", "a whole number of seconds, or a text: \"90s\", \"5m\", \"1h30m\", \"7d\""),
    ("size", "a whole number of bytes, or a text: \"64KiB\", \"2GiB\""),
    (
        "secret",
        "never the secret itself but a reference to it: { env = \"NAME\" }, { file = \"PATH\" } with mode 0600, \
         { credential = \"NAME\" } of systemd, or { command = [\"pass\", \"show\", \"x\"] }",
    ),
    ("path", "relative to the folder of agents.toml; ~ and ${VAR} are expanded"),
];

const AGENT: &str = "When an agent is due, what runs, within which limits. The environment of a program is cleared to PATH, HOME, \
     USER, LANG, LC_*, TZ and TMPDIR. Added to it are `env`, and about the run: BGAGENT_AGENT_ID, BGAGENT_RUN_ID, \
     BGAGENT_SLOT (when it was due, as RFC 3339; empty for a run by hand or by an event), BGAGENT_ATTEMPT (from 1), BGAGENT_FENCE (a fencing token: \
     a number that grows with each attempt), \
     BGAGENT_TRIGGER (schedule, catch_up, manual or event), BGAGENT_IDEMPOTENCY_KEY (the same in all attempts), and where \
     there is one, BGAGENT_QUERY (of `bgagent run --query`), BGAGENT_EVENT (what started it, as JSON), \
     BGAGENT_EVENT_PATH (of a file that has arrived) and BGAGENT_LAST_RESULT (of its last success).";

/// Returns all tables.
pub fn reference() -> Vec<Section> {
    let section =
        |title: &str, about, keys| Section { title: title.into(), about, entries: entries("", keys) };
    let mut all = vec![
        section("[agents.NAME]", AGENT, keys::AGENT),
        Section {
            title: "[defaults]".into(),
            about: "Any key of an agent but its schedule and its runner: it applies to each agent that does not set it itself.",
            entries: Vec::new(),
        },
        section(
            "gate, success_when",
            "A gate, and each check of `success_when`. Without `expect`, a gate by a command is open with exit status 0 \
             and closed with 1; one by a tool is open if the `wake` of its result is true, or if it has none and is not \
             empty. A broken gate is open, with a warning.",
            keys::CHECK,
        ),
        section("checks of a probe", "`args = { checks = [ … ] }` of the tool `probe`.", tools::probe::CHECK),
        section("[daemon]", "The daemon itself.", keys::DAEMON),
        section("[models.NAME]", "A language model.", keys::MODEL),
        section(
            "[runners.NAME]",
            "An agent program that carries out the queries of agents: docs/AGENTS.md.",
            keys::RUNNER,
        ),
        section("[mcp.NAME]", "An MCP server; its tools are NAME/TOOL.", keys::MCP),
        section("[notify.NAME]", "Where messages go.", keys::NOTIFY),
        section(
            "[webhooks.NAME]",
            "Who may start agents from outside (`on = { webhook = … }`): docs/ARRIVALS.md.",
            keys::HOOK,
        ),
        section(
            "[calendars.NAME]",
            "Days on which agents run (`only`) or do not run (`except`): the events of an iCalendar file (RFC 5545), \
             recurring ones included. An event without a time is the whole day in the agent's zone; one that is cancelled \
             does not count. A change of the file is applied by the next `bgagent reload`.",
            keys::CALENDAR,
        ),
        section(
            "[events.redis]",
            "A copy of each event in a Redis stream, once and in order: docs/REDIS.md.",
            keys::EVENTS_REDIS,
        ),
        section(
            "[memory.redis]",
            "Where agents with `memory = { mode = \"session\", store = \"redis\" }` keep their sessions and notes; all fleets that name it share them: docs/REDIS.md.",
            keys::MEMORY_REDIS,
        ),
        section(
            "[telemetry]",
            "What is reported about the fleet to monitoring programs: docs/TELEMETRY.md.",
            keys::TELEMETRY,
        ),
        section(
            "[store]",
            "The PostgreSQL server that keeps the records; without this table they are in a file of the state folder: docs/FLEET.md.",
            keys::STORE,
        ),
        section("[budget]", "What the whole fleet may use; each key is optional.", keys::BUDGET),
    ];
    all.extend(tools::SETTINGS.iter().map(|(kind, keys)| Section {
        title: format!("[tools.NAME] of type {kind}"),
        about: "A bounded instance of a built-in tool.",
        entries: entries("", keys),
    }));
    all
}

fn entries(prefix: &str, keys: &[Key]) -> Vec<Entry> {
    let mut all = Vec::new();
    for key in keys {
        let name = format!("{prefix}{}", key.name);
        all.push(Entry { name: name.clone(), value: value(key.kind), about: key.doc() });
        match key.kind {
            // These have a section of their own.
            Kind::Table(keys) | Kind::Tables(keys)
                if [keys::CHECK, tools::probe::CHECK].iter().any(|own| std::ptr::eq(keys, *own)) => {}
            Kind::Table(keys) | Kind::WordOr(_, keys) | Kind::FlagOr(keys) => {
                all.extend(entries(&format!("{name}."), keys))
            }
            Kind::Tables(keys) => all.extend(entries(&format!("{name}[]."), keys)),
            Kind::Named(keys) | Kind::NamedWordOr(_, keys) => {
                all.extend(entries(&format!("{name}.NAME."), keys))
            }
            _ => {}
        }
    }
    all
}

fn value(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".into(),
        Kind::Flag => "true or false".into(),
        Kind::Whole => "whole number".into(),
        Kind::WholeOr(words) => format!("whole number or {}", words.join(" | ")),
        Kind::Number => "number".into(),
        Kind::Duration => "duration".into(),
        Kind::Size => "size".into(),
        Kind::Word(words) => words.join(" | "),
        Kind::WordOrText(words) => format!("{} | another text", words.join(" | ")),
        Kind::Secret => "secret".into(),
        Kind::TextOrSecret => "text or secret".into(),
        Kind::Texts => "list of texts".into(),
        Kind::Words(words) => format!("list of {}", words.join(" | ")),
        Kind::Command => "text or list of texts".into(),
        Kind::Texts2 | Kind::NamedTexts => "table of texts".into(),
        Kind::NamedWords(words) => format!("{}, by name", words.join(" | ")),
        Kind::NamedWordOr(words, _) => format!("{}, or a table, by name", words.join(" | ")),
        Kind::Table(_) => "table".into(),
        Kind::FlagOr(_) => "true or false, or a table".into(),
        Kind::WordOr(words, _) => format!("{}, or a table", words.join(" | ")),
        Kind::Tables(_) => "list of tables".into(),
        Kind::Named(_) => "tables by name".into(),
        Kind::Any => "as described".into(),
    }
}

/// Generates `docs/CONFIGURATION.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# `agents.toml`, key by key\n\nGenerated from the program's own table of keys; `man agents.toml` says the same, \
         `bgagent schema` gives it to editors, and\n`bgagent check` finds every mistake. `agents.example.toml` shows it at \
         work.\n\n",
    );
    for (name, about) in VALUES {
        writeln!(text, "- A **{name}** is {about}.").expect("a string");
    }
    for section in reference() {
        write!(text, "\n## {}\n\n{}\n", section.title, section.about).expect("a string");
        if !section.entries.is_empty() {
            text.push_str("\n| key | value | |\n|---|---|---|\n");
        }
        for Entry { name, value, about } in &section.entries {
            let value = value.replace('|', "\\|");
            writeln!(text, "| `{name}` | {value} | {} |", about.replace('|', "\\|")).expect("a string");
        }
    }
    text
}
