//! All keys of `agents.toml` except those of `[tools.…]` tables, which are defined with each tool: they are
//! the source of the check for unknown keys, of suggestions and of the JSON Schema. The meaning of a key is
//! decided in `resolve`.
mod agent;
mod daemon;
mod kind;
mod named;
mod sandbox;

pub(super) use agent::{
    AGENT, APPROVAL_TABLE, CATCH_UP_TABLE, CHECK, CIRCUIT, DELIVER, EVENTS, MEMORY_TABLE, NOTIFY_KEYS, ON,
    OWN, PARAM, PERMISSIONS, PING, RETRY, WHEN, WORKSPACE,
};
pub(super) use daemon::{
    BUDGET, DAEMON, DAEMON_PING, EVENTS_REDIS, EVENTS_TO, MEMORY_IN, MEMORY_REDIS, RETENTION, STORE,
    TELEMETRY,
};
pub(super) use kind::{Key, Kind, key};
pub(super) use named::{CALENDAR, HOOK, MCP, MODEL, NOTIFY, PRICE, RUNNER};
pub(super) use sandbox::{SANDBOX, SANDBOX_LIMITS};

/// Names that other programs or people use for a key of ours.
pub(super) const SYNONYMS: &[(&str, &[&str])] = &[
    ("every", &["interval"]),
    ("period", &["interval"]),
    ("frequency", &["interval"]),
    ("schedule", &["interval", "cron", "at"]),
    ("crontab", &["cron"]),
    ("time", &["at"]),
    ("trigger", &["on"]),
    ("run", &["command"]),
    ("cmd", &["command"]),
    ("exec", &["command"]),
    ("script", &["command"]),
    ("shell", &["command"]),
    ("program", &["command"]),
    ("prompt", &["query"]),
    ("question", &["query"]),
    ("task", &["query"]),
    ("instruction", &["query", "system_instruction"]),
    ("instructions", &["query", "system_instruction"]),
    ("system", &["system_instruction"]),
    ("system_prompt", &["system_instruction"]),
    ("llm", &["model"]),
    ("arguments", &["args"]),
    ("params", &["args"]),
    ("environment", &["env"]),
    ("dir", &["cwd"]),
    ("directory", &["cwd"]),
    ("workdir", &["cwd"]),
    ("working_directory", &["cwd"]),
    ("tz", &["timezone"]),
    ("zone", &["timezone"]),
    ("time_limit", &["timeout"]),
    ("deadline", &["timeout", "total_timeout"]),
    ("retries", &["retry"]),
    ("disabled", &["enabled"]),
    ("comment", &["description"]),
    ("title", &["description"]),
    ("condition", &["gate"]),
    ("only_if", &["gate"]),
    ("alert", &["notify"]),
    ("alerts", &["notify"]),
    ("budget", &["usd_per_day", "max_usd_per_run"]),
    ("token", &["api_key"]),
    ("key", &["api_key"]),
    ("secret", &["api_key"]),
    ("url", &["base_url"]),
    ("endpoint", &["base_url"]),
];

pub(super) const TOP: &[Key] = &[
    key("daemon", Kind::Table(DAEMON), "the daemon itself"),
    key("models", Kind::Any, "language models, by name"),
    key("runners", Kind::Any, "agent programs, by name: docs/AGENTS.md"),
    key("mcp", Kind::Any, "MCP servers, by name"),
    key("tools", Kind::Any, "bounded instances of built-in tools, by name"),
    key("notify", Kind::Any, "where messages go, by name"),
    key("webhooks", Kind::Any, "who may start agents from outside, by name: docs/ARRIVALS.md"),
    key("calendars", Kind::Any, "days on which agents run, or do not run, by name"),
    key("budget", Kind::Table(BUDGET), "for the whole fleet"),
    key("events", Kind::Table(EVENTS_TO), "where else events go"),
    key("memory", Kind::Table(MEMORY_IN), "where else agents remember"),
    key(
        "telemetry",
        Kind::Table(TELEMETRY),
        "what is reported about the fleet to monitoring programs: docs/TELEMETRY.md",
    ),
    key(
        "store",
        Kind::Table(STORE),
        "where records are kept, if not in a file of the state folder: docs/FLEET.md",
    ),
    key("defaults", Kind::Table(AGENT), "any key of an agent but its schedule and its runner"),
    key("agents", Kind::Any, "the agents, by name"),
];
