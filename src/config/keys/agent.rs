//! Keys of an agent, and of nested tables.
use super::kind::{Key, Kind, key};
use super::sandbox::SANDBOX;
use crate::domain::{
    Approval, Backoff, CatchUpPolicy, Control, EventType, FileTrigger, FirstRun, History, JoinStatus,
    KeepBranch, McpTrigger, MemoryMode, MemoryStore, Overlap, ParamType, PermissionDefault, ResumePolicy,
    TellOn, WhenCutOff,
};

pub(in crate::config) const PING: &[Key] = &[key(
    "url",
    Kind::TextOrSecret,
    "its address; asked by GET with /start, nothing, or /fail behind it, and the run as `rid` (healthchecks.io)",
)];

pub(in crate::config) const WORKSPACE: &[Key] = &[
    key(
        "repo",
        Kind::Text,
        "a git repository: the program works in a clone of it, and can't change the repository itself; its work comes back \
         as the branch bgagent/AGENT/RUN",
    ),
    key("keep", Kind::Word(KeepBranch::WORDS), "repo: when its work comes back; default changed"),
    key(
        "trust",
        Kind::Flag,
        "true: its instructions (AGENTS.md, CLAUDE.md, GEMINI.md) and skills are given to the program, as they are when the run \
         begins; settings, hooks and servers that it names never are; default false",
    ),
    key("dir", Kind::Text, "a folder that the program works in, and may change"),
];

pub(in crate::config) const PERMISSIONS: &[Key] = &[
    key(
        "default",
        Kind::Word(PermissionDefault::WORDS),
        "what applies to everything that is not named; default deny",
    ),
    key(
        "allow",
        Kind::Texts,
        "what the program may do even if the default is deny: read, edit, execute, fetch, or commands: execute:cargo test*",
    ),
    key(
        "ask",
        Kind::Texts,
        "what a person is asked about, written in the same way; the program ends meanwhile",
    ),
];

pub(in crate::config) const APPROVAL_TABLE: &[Key] = &[
    key("wait", Kind::Duration, "how long; then the call is denied. Default: as long as the run may take"),
    key(
        "via",
        Kind::Texts,
        "notify targets of type telegram, ntfy or matrix: the people who read them can allow or deny the call there",
    ),
];

pub(in crate::config) const CATCH_UP_TABLE: &[Key] = &[
    key("policy", Kind::Word(CatchUpPolicy::WORDS), "which missed slots are caught up; default latest"),
    key("max", Kind::Whole, "with all: at most this many; default 10"),
    key("max_age", Kind::Duration, "not older than this; default: any"),
    key("spread", Kind::Duration, "spread over this time; default: each a moment after the one before"),
];

pub(in crate::config) const RETRY: &[Key] = &[
    key(
        "max",
        Kind::Whole,
        "attempts after the first; default 2 where `retry` is set and for models, else 0",
    ),
    key(
        "backoff",
        Kind::Word(Backoff::WORDS),
        "exponential: the bound of the delay doubles each time; fixed: it stays; default exponential",
    ),
    key(
        "initial",
        Kind::Duration,
        "the first delay is anywhere up to this (full jitter), the next one up to twice it; default 10s",
    ),
    key("max_delay", Kind::Duration, "no delay is longer than this; default 5m"),
];

pub(in crate::config) const CIRCUIT: &[Key] = &[
    key("open_after", Kind::Whole, "failed runs in a row; 0: never; default 5"),
    key("cooldown", Kind::Duration, "how long slots are refused; then one run tries; default 1h"),
];

pub(in crate::config) const MEMORY_TABLE: &[Key] = &[
    key("mode", Kind::Word(MemoryMode::WORDS), "what is remembered"),
    key("max_tokens", Kind::Whole, "session: how long it may get; default 8000"),
    key(
        "store",
        Kind::Word(MemoryStore::WORDS),
        "session: where it and the agent's notes are kept: with the other records, or in [memory.redis]; default database",
    ),
];

pub(in crate::config) const CHECK: &[Key] = &[
    key("tool", Kind::Text, "a tool"),
    key("args", Kind::Any, "its arguments"),
    key("command", Kind::Command, "or a program"),
    key("env", Kind::Texts2, "added to its environment"),
    key("cwd", Kind::Text, "its folder"),
    key("sandbox", Kind::FlagOr(SANDBOX), "a sandbox around it; default: that of the agent"),
    key(
        "expect",
        Kind::Any,
        "what must hold of the result, by field: a value it equals, or { gte = 1 } and so on: eq, ne, lt, lte, gt, gte, \
         contains. A command has `exit_code`, `stdout` and `stderr`; fields of a tool are as in `rows.0.count`, and a list \
         compares with a number by its length",
    ),
    key(
        "novel_by",
        Kind::Texts,
        "gate: fields that identify an item of its list; items that were seen before are left out. A command must print JSON",
    ),
];

pub(in crate::config) const NOTIFY_KEYS: &[Key] = &[
    key("to", Kind::Texts, "names of [notify.…] tables"),
    key(
        "on",
        Kind::Words(TellOn::WORDS),
        "which messages; default: all but completed; late and slow if late_after and slow_after are set",
    ),
    key("repeat", Kind::Duration, "how often the message about an ongoing problem is repeated; default 6h"),
];

pub(in crate::config) const DELIVER: &[Key] = &[
    key("to", Kind::Texts, "names of [notify.…] tables"),
    key(
        "when",
        Kind::Any,
        "what must hold of the result, as in `expect`: { items = { gte = 1 } }; a text is checked as `result`; default: each \
         result is sent",
    ),
    key(
        "title",
        Kind::Text,
        "one line; {result.…}, {gate.…} and {run.…} are filled in; default: the agent's name",
    ),
    key(
        "text",
        Kind::Text,
        "more lines, filled in the same way; a text too long for a target is cut after a sentence and says where the rest is; \
         default {result}",
    ),
];

/// The events that `on` accepts.
pub(in crate::config) const EVENTS: &[&str] = &{
    let mut words = [""; EventType::TRIGGERS.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = EventType::TRIGGERS[at].as_str();
        at += 1;
    }
    words
};

pub(in crate::config) const ON: &[Key] = &[
    key("event", Kind::WordOrText(EVENTS), "type of the event; with `mcp`, as the server names it"),
    key("agent", Kind::Text, "only events of this agent"),
    key(
        "file",
        Kind::Text,
        "instead of `event`: a path whose last part can have `*` and `?`, as in \"inbox/*.csv\"; the agent starts once for \
         each file that arrives there. {event.path}, {event.name} and {event.size} are filled in (in `query` and `args`), and its programs have the \
         path in BGAGENT_EVENT_PATH",
    ),
    key(
        "webhook",
        Kind::Text,
        "instead of `event`: name of a [webhooks.…] table; the agent starts once for each delivery. {event.body} is what \
         was sent, and {event.body.NAME} a field of it; its programs read it on standard input, unless they have `stdin`",
    ),
    key(
        "mcp",
        Kind::Text,
        "name of an [mcp.…] table: it starts for each `event` of that server, once, if the server has the Events extension of MCP. \
         {event.data} is what the server says, and {event.data.NAME} a field of it; its programs read it on standard input, unless \
         they have `stdin`",
    ),
    key("args", Kind::Any, "mcp: which of these events, in the server's own words, as in { repository = \"a/b\" }"),
    key(
        "every",
        Kind::Duration,
        "mcp: how often the server is asked, unless it wants to be asked less often; from {}s to {}h, default {}m",
    )
    .with(&[
        McpTrigger::MIN_EVERY.as_secs() as u64,
        McpTrigger::MAX_EVERY.as_secs() as u64 / 3600,
        McpTrigger::EVERY.as_secs() as u64 / 60,
    ]),
    key(
        "settle",
        Kind::Duration,
        "file: how long it must stay unchanged before it counts; up to {}h, default {}s",
    )
    .with(&[FileTrigger::MAX_SETTLE.as_secs() as u64 / 3600, FileTrigger::SETTLE.as_secs() as u64]),
    key(
        "after",
        Kind::Texts,
        "instead of `event`: these agents; this one starts once each of them has ended a run. {after.NAME.result} is filled in (in `query` and `args`)",
    ),
    key("status", Kind::Word(JoinStatus::WORDS), "after: how their runs have to end; default completed"),
    key(
        "within",
        Kind::Duration,
        "after: the longest time between the first and the last of these ends; default 24h",
    ),
    key(
        "untrusted",
        Kind::Flag,
        "true: also started by what a run reported after it had read data from outside (incident_opened, \
         incident_resolved); default false",
    ),
];

/// One of several schedules.
pub(in crate::config) const WHEN: &[Key] = &[
    key("interval", Kind::Duration, "due at anchor + k × this, without drift"),
    key("cron", Kind::Text, "due by a cron expression"),
    key("at", Kind::Text, "due once"),
    key("timezone", Kind::Text, "IANA name of the zone of this `cron` or `at`; default: the agent's"),
];

/// A parameter with more than a type.
pub(in crate::config) const PARAM: &[Key] = &[
    key("type", Kind::Word(ParamType::WORDS), "what kind of value it is"),
    key(
        "default",
        Kind::Any,
        "its value if none is given; date, time: \"slot\" for that of the slot, or of the present moment if there is no \
         slot. Without a default, the parameter must be given",
    ),
];

/// The schedule, the runner, and keys about a single agent: those that `[defaults]` can't have.
pub(in crate::config) const OWN: &[&str] = &[
    "interval",
    "after",
    "cron",
    "at",
    "on",
    "when",
    "query",
    "runner",
    "tool",
    "args",
    "command",
    "history",
    "params",
    "description",
    "accept_risk",
    "where",
];

pub(in crate::config) const AGENT: &[Key] = &[
    key("description", Kind::Text, "for people"),
    key("interval", Kind::Duration, "due at anchor + k × this, without drift"),
    key("after", Kind::Duration, "due this long after the end of the previous run"),
    key(
        "cron",
        Kind::Text,
        "due by a cron expression: 5 fields, 6 with seconds first, or @daily; `+` before the weekday: day and weekday must \
         both match",
    ),
    key("at", Kind::Text, "due once: a local time, one with its offset, or one with its zone in brackets"),
    key(
        "on",
        Kind::WordOr(EVENTS, ON),
        "started by an event: its type, or { event = \"…\", agent = \"…\" }; by the runs of several agents: { after = [\"scan\", \
         \"triage\"] }; by files that arrive: { file = \"inbox/*.csv\" }; \
         by webhooks: { webhook = \"deploy\" }; or by events of an MCP server: { mcp = \"github\", event = \"issue.opened\" }. Each such event starts a run, or a record says why not",
    ),
    key(
        "when",
        Kind::Tables(WHEN),
        "several schedules: [{ cron = \"0 9 * * MON-FRI\" }, { interval = \"6h\" }]; due by each of them, but only once \
         where two name the same moment",
    ),
    key("timezone", Kind::Text, "IANA name of the zone for cron, at and active; default: the daemon's"),
    key(
        "active",
        Kind::Text,
        "hours of the day within which its slots and events count: \"07:00-22:00\", over midnight \"22:00-06:00\"; those at other \
         times are skipped (skipped_calendar). Jitter, locks and the queue can start a run later than its slot. Default: all day",
    ),
    key("except", Kind::Texts, "names of [calendars.…] tables: never within their events; default: none"),
    key(
        "only",
        Kind::Texts,
        "names of [calendars.…] tables: only within an event of one of them; default: any time",
    ),
    key("jitter", Kind::Duration, "upper bound of a delay, deterministic per agent and slot; default 0"),
    key("first_run", Kind::Word(FirstRun::WORDS), "interval: when the first slot is; default now"),
    key(
        "catch_up",
        Kind::WordOr(CatchUpPolicy::WORDS, CATCH_UP_TABLE),
        "what happens to slots that were missed; default latest",
    ),
    key(
        "overlap",
        Kind::Word(Overlap::WORDS),
        "what happens to a slot or an event that comes while a run is in flight: it is skipped, it waits (one at most), it \
         cancels the run, or both run; default skip. For what comes from outside (files, webhooks, MCP servers) the default is \"queue\", and each of them waits",
    ),
    key("enabled", Kind::Flag, "false: starts stopped; default true"),
    key(
        "where",
        Kind::NamedTexts,
        "with [store]: labels that the node must have that runs it, all of them, as in { gpu = \"h100\" }: the leader if it has \
         them, else the one with the fewest runs; none: it waits. For a `command` or a `tool`. Default: the leader",
    ),
    key(
        "when_cut_off",
        Kind::Word(WhenCutOff::WORDS),
        "with [store]: what happens to its programs when the database can't be reached for 14 seconds, so that another daemon \
         may soon lead; default stop",
    ),
    key(
        "params",
        Kind::NamedWordOr(ParamType::WORDS, PARAM),
        "parameters of its runs, by name: { day = \"date\", n = { type = \"int\", default = 3 } }; given by `bgagent run AGENT \
         --param day=2026-11-01`, filled in as {param.day}, and BGAGENT_PARAM_DAY in the environment of its programs",
    ),
    key("query", Kind::Text, "what a model is asked to do; {gate}, {event.…} and {param.…} are filled in"),
    key("system_instruction", Kind::Text, "the role that the model is given"),
    key("model", Kind::Text, "name of a [models.…] table"),
    key(
        "skills",
        Kind::Texts,
        "folders with a SKILL.md that say how something is done: the model or agent program learns their names and descriptions, \
         and reads them when it needs them; each is used only as `bgagent trust` has shown it; default: none",
    ),
    key(
        "runner",
        Kind::Text,
        "name of a [runners.…] table: an agent program carries the query out, instead of a `model`",
    ),
    key(
        "workspace",
        Kind::Table(WORKSPACE),
        "where the program of a `runner` works; default: an empty folder that is removed with the run",
    ),
    key(
        "permissions",
        Kind::Table(PERMISSIONS),
        "what the program of a `runner` is allowed within its sandbox; default: all. Not every program can be made to obey \
         them",
    ),
    key(
        "resume",
        Kind::Word(ResumePolicy::WORDS),
        "when the program of a `runner` continues its own session: in a further attempt of the same run (crash), also in the \
         next run (always; needs `dir` in `workspace`), or never; default crash, if the program can do that",
    ),
    key(
        "tools",
        Kind::Texts,
        "tools that the model, or the agent program in addition to its own, may call: built-in ones, [tools.…], \
         server/tool, server/*; default: none",
    ),
    key("tool", Kind::Text, "the tool that runs"),
    key("args", Kind::Any, "its arguments; {event.…}, {gate} and {param.…} are filled in"),
    key(
        "history",
        Kind::Word(History::WORDS),
        "tool = \"probe\": with changes, a run that finds all well, as the one before it did, is only counted; default all",
    ),
    key(
        "command",
        Kind::Command,
        "the program that runs: a list directly, a text by /bin/sh -c. Processes that it leaves in the background are ended \
         with it, and named in a warning of the run",
    ),
    key("env", Kind::Texts2, "added to the cleared environment; values can be references to secrets"),
    key("cwd", Kind::Text, "folder of the program; default: that of the configuration"),
    key("stdin", Kind::Text, "standard input of the program"),
    key(
        "sandbox",
        Kind::FlagOr(SANDBOX),
        "a sandbox around the program, its gate and its proofs; default false",
    ),
    key("control", Kind::Word(Control::WORDS), "what its programs may ask of the daemon; default none"),
    key("timeout", Kind::Duration, "one attempt; default 10m"),
    key("total_timeout", Kind::Duration, "all attempts and waits of a run; default: none"),
    key("tool_call_timeout", Kind::Duration, "one tool call, also of gates and proofs; default 30s"),
    key("request_limit", Kind::Whole, "model requests of a run; default 20, with a `runner` 200"),
    key(
        "total_tokens_limit",
        Kind::Whole,
        "tokens of a run, in and out; default 100000, with a `runner` 5000000",
    ),
    key(
        "max_steps",
        Kind::Whole,
        "requests and tool calls of a run; of an agent program, calls of `tools`; default 30",
    ),
    key("max_usd_per_run", Kind::Number, "US dollars per run; default: none"),
    key("usd_per_day", Kind::Number, "US dollars per day; default: none"),
    key("tokens_per_day", Kind::Whole, "tokens per day; default: none"),
    key("requests_per_day", Kind::Whole, "model requests per day; default: none"),
    key("retry", Kind::Table(RETRY), "whether a failed attempt is repeated"),
    key("circuit_breaker", Kind::Table(CIRCUIT), "when the agent stops for a while, after failures in a row"),
    key("lock", Kind::Text, "agents with the same lock never run at the same time; default: none"),
    key(
        "max_output",
        Kind::Size,
        "how much of a command's output is kept, from its start and its end; at least 1KiB, default 1MiB",
    ),
    key(
        "memory",
        Kind::WordOr(MemoryMode::WORDS, MEMORY_TABLE),
        "what is remembered between runs; default none",
    ),
    key("session_id", Kind::Text, "agents with the same one share their session; default: the agent's name"),
    key("gate", Kind::Table(CHECK), "decides whether a run is worth it, before any model is asked"),
    key("success_when", Kind::Tables(CHECK), "proofs that must all hold after the run"),
    key("notify", Kind::Table(NOTIFY_KEYS), "who gets which messages"),
    key(
        "deliver",
        Kind::Table(DELIVER),
        "who gets the result of each run that completed, once; a delivery that fails never fails the run",
    ),
    key(
        "late_after",
        Kind::Duration,
        "the agent is late, and an incident opens, when no run has completed this long after a slot; default: never",
    ),
    key(
        "slow_after",
        Kind::Duration,
        "a run that takes longer is slow: it goes on, and an incident is open as long as it runs; default: never",
    ),
    key(
        "ping",
        Kind::Table(PING),
        "a monitor elsewhere is pinged for each run that starts, completes or fails",
    ),
    key(
        "approval",
        Kind::WordOr(Approval::WORDS, APPROVAL_TABLE),
        "what happens to a tool call that needs a person; default deny. A table: it waits, and people are asked",
    ),
    key("approve", Kind::Texts, "tools whose calls need a person: names, types or patterns"),
    key(
        "sinks",
        Kind::Texts,
        "what stays allowed after untrusted or private data was read: tools that change something or send something out, by \
         name or pattern, and addresses that an `http` tool may be asked for, whole or with a `*` at the end",
    ),
    key(
        "accept_risk",
        Kind::Text,
        "why this agent may read what strangers write and what is private, and send out what it likes: without it, the three \
         together are an error",
    ),
    key("output_schema", Kind::Any, "JSON Schema that the answer must fit"),
];
