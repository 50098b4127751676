//! All keys of `agents.toml` but those of `[tools.…]` tables, which stand with each tool: they feed the check for unknown
//! keys, the suggestions and the JSON Schema. What a key means is decided in `resolve`.
use crate::domain::*;

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Flag,
    Whole,
    Number,
    /// Whole seconds, or a text like `1h30m`.
    Duration,
    /// Whole bytes, or a text like `2GiB`.
    Size,
    /// A whole number, or one of these words.
    WholeOr(&'static [&'static str]),
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or another text where another key says so.
    WordOrText(&'static [&'static str]),
    /// A reference to a secret.
    Secret,
    /// A text, or a reference to a secret.
    TextOrSecret,
    /// A list of texts.
    Texts,
    /// A list of some of these words.
    Words(&'static [&'static str]),
    /// A text or a list of texts.
    Command,
    /// A table of texts or secrets.
    Texts2,
    /// A table of texts, by names that the user gives.
    NamedTexts,
    /// A table with these keys.
    Table(&'static [Key]),
    /// True, false, or a table with these keys.
    FlagOr(&'static [Key]),
    /// One of these words, or a table with these keys.
    WordOr(&'static [&'static str], &'static [Key]),
    /// A table of these words, by names that the user gives.
    NamedWords(&'static [&'static str]),
    /// A table of these words, or of tables with these keys, by names that the user gives.
    NamedWordOr(&'static [&'static str], &'static [Key]),
    /// A list of tables with these keys.
    Tables(&'static [Key]),
    /// Tables with these keys, by name.
    Named(&'static [Key]),
    /// Anything: its shape depends on another key.
    Any,
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    doc: &'static str,
    /// What stands for each `{}` of `doc`: defaults and bounds, from where they hold.
    amounts: &'static [u64],
}

impl Key {
    /// What it does, and its default.
    pub(super) fn doc(&self) -> String {
        let number = |text: String, amount: &u64| text.replacen("{}", &amount.to_string(), 1);
        self.amounts.iter().fold(self.doc.to_owned(), number)
    }

    /// With these for the places of its text.
    pub(super) const fn with(self, amounts: &'static [u64]) -> Self {
        Self { amounts, ..self }
    }
}

pub(super) const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, amounts: &[] }
}

/// What other programs call a key of ours, or how people think of it.
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

pub(super) const DAEMON: &[Key] = &[
    key(
        "timezone",
        Kind::Text,
        "IANA name of the zone for cron and local times; default: the system's, which is followed when it changes",
    ),
    key("max_parallel_runs", Kind::Whole, "runs at a time; further ones wait in a fair queue; default 64"),
    key("shutdown_grace", Kind::Duration, "how long a shutdown lets runs finish; default 30s"),
    key(
        "reload",
        Kind::Word(ReloadMode::WORDS),
        "whether a change of the file is applied by itself; default watch",
    ),
    key("retention", Kind::Table(RETENTION), "how long each kind of record is kept"),
    key(
        "ping",
        Kind::Table(DAEMON_PING),
        "a monitor elsewhere is pinged while the daemon lives, and raises the alarm when the pings stop: healthchecks.io, \
         Uptime Kuma, …",
    ),
    key(
        "webhooks",
        Kind::Text,
        "where webhooks are received: an address of this machine, such as \"127.0.0.1:9470\". From other machines they come \
         through a reverse proxy or `ssh -R`: docs/ARRIVALS.md. Default: nowhere",
    ),
    key(
        "node",
        Kind::Text,
        "with [store]: its name among the daemons that share the records; default: the name of the machine",
    ),
    key(
        "labels",
        Kind::NamedTexts,
        "with [store]: what the node has, such as { gpu = \"h100\" }: `where` of an agent asks for it, `bgagent nodes` shows it",
    ),
    key("leads", Kind::Flag, "with [store]: whether it may take the lead; default true"),
];
/// `[webhooks.…]`.
pub(super) const HOOK: &[Key] = &[
    key(
        "scheme",
        Kind::Word(HookScheme::WORDS),
        "how deliveries are signed: by the Standard Webhooks (standardwebhooks.com), or as GitHub does; default standard",
    ),
    key("secret", Kind::Secret, "what they are signed with; what begins with `whsec_` is base64 (standard)"),
];
pub(super) const DAEMON_PING: &[Key] = &[
    key("url", Kind::TextOrSecret, "its address; asked by GET"),
    key("every", Kind::Duration, "how often; default 1m"),
];
pub(super) const PING: &[Key] = &[key(
    "url",
    Kind::TextOrSecret,
    "its address; asked by GET with /start, nothing, or /fail behind it, and the run as `rid` (healthchecks.io)",
)];
pub(super) const RETENTION: &[Key] = &[
    key("runs", Kind::Duration, "finished runs and ledger records; default 90d"),
    key("events", Kind::Duration, "events; default 90d"),
    key("transcripts", Kind::Duration, "conversations with models; default 30d"),
    key("output", Kind::Duration, "output of commands; default 30d"),
    key(
        "max_db_size",
        Kind::Size,
        "above this size, the oldest records are removed first; at least 1MiB, default 2GiB",
    ),
];
pub(super) const MODEL: &[Key] = &[
    key("provider", Kind::Word(Provider::WORDS), "who answers"),
    key("model", Kind::Text, "name of the model there"),
    key("base_url", Kind::Text, "its address; needed for openai-compatible, otherwise the provider's own"),
    key("api_key", Kind::Secret, "its key; a local server needs none"),
    key("headers", Kind::Texts2, "extra headers; their values can be references to secrets"),
    key("request_timeout", Kind::Duration, "one request; default 60s"),
    key(
        "max_output_tokens",
        Kind::Whole,
        "longest answer, thoughts included; default 2048, for models that think 16384",
    ),
    key("temperature", Kind::Number, "sampling temperature; default: the provider's"),
    key("top_p", Kind::Number, "nucleus sampling; default: the provider's"),
    key("reasoning_effort", Kind::Word(Effort::WORDS), "how much it thinks; default: the provider's"),
    key(
        "num_ctx",
        Kind::Whole,
        "ollama: size of the context in tokens; default: the server's, which cuts off what is longer",
    ),
    key("cache", Kind::Flag, "anthropic: what is sent is cached for five minutes; default false"),
    key(
        "params",
        Kind::Any,
        "merged into the body of each request: { seed = 7, provider = { sort = \"price\" } }",
    ),
    key(
        "price",
        Kind::WordOr(&["auto"], PRICE),
        "US dollars per million tokens, or \"auto\": the price that this release knows; needed for limits in dollars",
    ),
    key("fallback", Kind::Texts, "models to ask instead, on rate limit, server error or network error"),
    key(
        "fallback_on",
        Kind::Words(FallbackOn::WORDS),
        "further reasons to ask them: the account has no credit, the request is too long, or there is no such model",
    ),
    key("max_parallel_requests", Kind::Whole, "requests at a time, of all agents; default: no limit"),
    key("requests_per_minute", Kind::Whole, "requests a minute, of all agents; default: no limit"),
];
pub(super) const PRICE: &[Key] = &[
    key("input", Kind::Number, "sent"),
    key("cached_input", Kind::Number, "sent and found in the provider's cache; default: as input"),
    key(
        "cache_write",
        Kind::Number,
        "sent and written to the provider's cache; default: as input, with `cache` 1.25 times that",
    ),
    key("output", Kind::Number, "received"),
];
pub(super) const RUNNER: &[Key] = &[
    key(
        "preset",
        Kind::Word(RunnerPreset::WORDS),
        "an agent program whose flags, environment and files are known; default: the one that has the table's name",
    ),
    key(
        "protocol",
        Kind::Word(RunnerProtocol::WORDS),
        "how the program reports what it does; default: that of its preset. acp is not supported yet",
    ),
    key(
        "command",
        Kind::Command,
        "the program; the arguments of its preset follow. Without a preset it has all arguments, with places for {query}, \
         {model}, {meter} (address of the meter), {key} (the run's key there) and {session}; so have the values of `env`",
    ),
    key(
        "version",
        Kind::Text,
        "the expected version, or its first parts: another one gives a warning; with `=` before it, another one does not run",
    ),
    key(
        "meter",
        Kind::Text,
        "name of the [models.…] table that answers all requests of the program: each is held, counted and charged before \
         it is sent, and the program never sees the key",
    ),
    key(
        "auth",
        Kind::Word(RunnerAuth::WORDS),
        "whose credentials are used; default meter. own is not supported yet",
    ),
    key("env", Kind::Texts2, "added to the environment of the program"),
    key(
        "first_event",
        Kind::Duration,
        "if the program is silent for this long after its start, it is stuck: it is ended, and the attempt is repeated; \
         default 60s",
    ),
    key(
        "idle",
        Kind::Duration,
        "the same, for silence between two events or answers, while no tool of the program runs; default 10m",
    ),
    key("sandbox", Kind::FlagOr(SANDBOX), "a sandbox around the program; default true"),
];
pub(super) const WORKSPACE: &[Key] = &[
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
        "repo: whether settings, hooks and servers that the repository names for the program take effect; default false. \
         true is not supported yet",
    ),
    key("dir", Kind::Text, "a folder that the program works in, and may change"),
];
pub(super) const PERMISSIONS: &[Key] = &[
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
pub(super) const MCP: &[Key] = &[
    key("command", Kind::Command, "program of a stdio server"),
    key("url", Kind::Text, "or address of an HTTP server"),
    key("headers", Kind::Texts2, "headers for it"),
    key("env", Kind::Texts2, "environment of the program"),
    key("cwd", Kind::Text, "folder of the program; default: that of the configuration"),
    key("start_timeout", Kind::Duration, "from its start to its first answer; default 60s; tried twice"),
    key(
        "allow",
        Kind::Texts,
        "only these tools, names or patterns such as get_*; default: those that the server marks as not destructive",
    ),
    key("deny", Kind::Texts, "none of these, whatever `allow` says"),
    key("sandbox", Kind::FlagOr(SANDBOX), "a sandbox around the program; default true"),
    key(
        "effects",
        Kind::NamedWords(McpEffect::WORDS),
        "what its tools do, by name or pattern: { search_issues = \"read\", create_issue = \"send\" }; a tool that is not \
         named may change anything, and what the server says about it can only make that stricter; send: it changes \
         something elsewhere",
    ),
];
pub(super) const NOTIFY: &[Key] = &[
    key("type", Kind::Word(NotifyType::WORDS), "what kind of target it is"),
    key(
        "url",
        Kind::TextOrSecret,
        "webhook, slack, discord, teams: its address; matrix, gotify: the server; ntfy, telegram: a server other than the \
         usual one",
    ),
    key("headers", Kind::Texts2, "webhook: extra headers"),
    key(
        "secret",
        Kind::Secret,
        "webhook: signs each message by the Standard Webhooks (webhook-id, webhook-timestamp, webhook-signature)",
    ),
    key(
        "body",
        Kind::Text,
        "webhook: what is sent instead of the whole message; JSON or a text with {title}, {text}, {severity}, {state}, \
         {about}, {agent}, {key}, {run}, {at}, {priority}",
    ),
    key(
        "token",
        Kind::Secret,
        "telegram, matrix, gotify, ntfy: the token of the bot, the account, the application",
    ),
    key("chat", Kind::Any, "telegram: the chat: its number, or @name of a channel"),
    key("topic", Kind::TextOrSecret, "ntfy: the topic; anyone who knows it can read it"),
    key(
        "reply_topic",
        Kind::TextOrSecret,
        "ntfy: a second topic, on which answers arrive: for `approval.via`. The phone writes to it, without a token",
    ),
    key("room", Kind::TextOrSecret, "matrix: the room: !id:server"),
    key("command", Kind::Command, "command: gets the message as JSON on standard input"),
    key("env", Kind::Texts2, "command: added to its environment"),
    key("cwd", Kind::Text, "command: its folder"),
    key("sandbox", Kind::FlagOr(SANDBOX), "command: a sandbox around it; default false"),
    key("path", Kind::Text, "file: a line of JSON is appended to it"),
    key("to", Kind::Any, "email: the recipient's address, or a list of addresses"),
    key("from", Kind::Text, "email: the sender's address"),
    key("smtp", Kind::Text, "email: the server: host or host:port; default 587, on this machine 25"),
    key(
        "tls",
        Kind::Word(SmtpTls::WORDS),
        "email: default implicit for port 465, none on this machine, else starttls",
    ),
    key("username", Kind::TextOrSecret, "email: name at the server"),
    key("password", Kind::Secret, "email: password at the server"),
    key(
        "per_minute",
        Kind::Whole,
        "at most this many messages a minute; those that wait are joined into one. Default 10; file: no limit",
    ),
    key(
        "quiet",
        Kind::Text,
        "hours in which only what is critical is sent, in the zone of the daemon: \"22:00-07:00\"; the rest follows at their end",
    ),
];
pub(super) const CALENDAR: &[Key] = &[key(
    "ics",
    Kind::Text,
    "path of an iCalendar file, of which only the times of the events matter; read with the configuration, at most 4 MiB",
)];
pub(super) const APPROVAL_TABLE: &[Key] = &[
    key("wait", Kind::Duration, "how long; then the call is denied. Default: as long as the run may take"),
    key(
        "via",
        Kind::Texts,
        "notify targets of type telegram, ntfy or matrix: the people who read them can allow or deny the call there",
    ),
];
pub(super) const BUDGET: &[Key] = &[
    key("usd_per_day", Kind::Number, "US dollars per day"),
    key("usd_per_month", Kind::Number, "US dollars per month"),
    key("tokens_per_day", Kind::Whole, "tokens per day"),
    key("requests_per_day", Kind::Whole, "model requests per day"),
    key("warn_at", Kind::Number, "fraction of a budget at which a warning is recorded; default 0.8"),
];
pub(super) const EVENTS_TO: &[Key] =
    &[key("redis", Kind::Table(EVENTS_REDIS), "a copy of each event in a Redis stream: docs/REDIS.md")];
pub(super) const MEMORY_IN: &[Key] = &[key(
    "redis",
    Kind::Table(MEMORY_REDIS),
    "sessions and notes of agents with `store = \"redis\"`, shared by all fleets that name it: docs/REDIS.md",
)];
pub(super) const TELEMETRY: &[Key] = &[
    key(
        "prometheus",
        Kind::Text,
        "address and port where Prometheus reads metrics, at /metrics; default: nowhere. 127.0.0.1:9464 is customary",
    ),
    key(
        "otlp",
        Kind::Text,
        "base address of the OpenTelemetry collector that traces of runs are sent to, by OTLP over HTTP; default: none are \
         sent. http://127.0.0.1:4318 is customary",
    ),
    key(
        "content",
        Kind::Flag,
        "traces include what agents are asked and say, and what tools are given and return; default false",
    ),
];
pub(super) const STORE: &[Key] = &[
    key(
        "url",
        Kind::Text,
        "the server and the database: postgres://user@host:5432/database?sslmode=verify-full",
    ),
    key("password", Kind::Secret, "the user's password"),
    key("schema", Kind::Text, "the schema, one for each fleet; default bgagent"),
    key(
        "durability",
        Kind::Word(Durability::WORDS),
        "what a commit must survive: synchronous (default): the loss of the server, thanks to its standby; single: a crash \
         of the server",
    ),
];
pub(super) const EVENTS_REDIS: &[Key] = &[
    key(
        "url",
        Kind::Text,
        "the server and the number of its database: redis://host:6379/0, with TLS rediss://, or unix:///path?db=0",
    ),
    key(
        "username",
        Kind::TextOrSecret,
        "name of the Redis user; default: the one that Redis calls `default`",
    ),
    key("password", Kind::Secret, "its password"),
    key("stream", Kind::Text, "key of the stream; default bgagent:events"),
    key("maxlen", Kind::Whole, "about how many entries a stream keeps; default {}")
        .with(&[RedisSpec::MAXLEN]),
    key(
        "format",
        Kind::Word(StreamFormat::WORDS),
        "one stream with all events, or also one for each session, in the form that readers of OmniCoreAgent know; default \
         bgagent",
    ),
    key(
        "from",
        Kind::WholeOr(&["now"]),
        "where a new stream begins: with the event of this number, or \"now\"; default now",
    ),
];
pub(super) const MEMORY_REDIS: &[Key] = &[
    key("url", Kind::Text, "as that of [events.redis]; it may be the same server"),
    key(
        "username",
        Kind::TextOrSecret,
        "name of the Redis user; default: the one that Redis calls `default`",
    ),
    key("password", Kind::Secret, "its password"),
    key("prefix", Kind::Text, "what all keys there begin with; default bgagent:memory"),
];
pub(super) const CATCH_UP_TABLE: &[Key] = &[
    key("policy", Kind::Word(CatchUpPolicy::WORDS), "which missed slots are caught up; default latest"),
    key("max", Kind::Whole, "with all: at most this many; default 10"),
    key("max_age", Kind::Duration, "not older than this; default: any"),
    key("spread", Kind::Duration, "spread over this time; default: each a moment after the one before"),
];
pub(super) const RETRY: &[Key] = &[
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
pub(super) const CIRCUIT: &[Key] = &[
    key("open_after", Kind::Whole, "failed runs in a row; 0: never; default 5"),
    key("cooldown", Kind::Duration, "how long slots are refused; then one run tries; default 1h"),
];
pub(super) const MEMORY_TABLE: &[Key] = &[
    key("mode", Kind::Word(MemoryMode::WORDS), "what is remembered"),
    key("max_tokens", Kind::Whole, "session: how long it may get; default 8000"),
    key(
        "store",
        Kind::Word(MemoryStore::WORDS),
        "session: where it and the agent's notes are kept: with the other records, or in [memory.redis]; default database",
    ),
];
pub(super) const CHECK: &[Key] = &[
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
pub(super) const TELL: &[Key] = &[
    key("to", Kind::Texts, "names of [notify.…] tables"),
    key(
        "on",
        Kind::Words(TellOn::WORDS),
        "which messages; default: all but completed; late and slow if late_after and slow_after are set",
    ),
    key("repeat", Kind::Duration, "how often the message about an ongoing problem is repeated; default 6h"),
];
pub(super) const DELIVER: &[Key] = &[
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
/// The events that `on` takes.
pub(super) const EVENTS: &[&str] = &{
    let mut words = [""; EventType::TRIGGERS.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = EventType::TRIGGERS[at].as_str();
        at += 1;
    }
    words
};
pub(super) const ON: &[Key] = &[
    key("event", Kind::WordOrText(EVENTS), "type of the event; with `mcp`, as the server names it"),
    key("agent", Kind::Text, "only events of this agent"),
    key(
        "file",
        Kind::Text,
        "instead of `event`: a path whose last part can have `*` and `?`, as in \"inbox/*.csv\"; the agent starts once for \
         each file that arrives there. {event.path}, {event.name} and {event.size} are filled in, and its programs have the \
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
        McpTrigger::MOST_OFTEN.as_secs() as u64,
        McpTrigger::LEAST_OFTEN.as_secs() as u64 / 3600,
        McpTrigger::EVERY.as_secs() as u64 / 60,
    ]),
    key(
        "settle",
        Kind::Duration,
        "file: how long it must stay unchanged before it counts; up to {}h, default {}s",
    )
    .with(&[FileTrigger::LONGEST_SETTLE.as_secs() as u64 / 3600, FileTrigger::SETTLE.as_secs() as u64]),
    key(
        "after",
        Kind::Texts,
        "instead of `event`: these agents; this one starts once each of them has ended a run. {after.NAME.result} is filled in",
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
pub(super) const WHEN: &[Key] = &[
    key("interval", Kind::Duration, "due at anchor + k × this, without drift"),
    key("cron", Kind::Text, "due by a cron expression"),
    key("at", Kind::Text, "due once"),
    key("timezone", Kind::Text, "IANA name of the zone of this `cron` or `at`; default: the agent's"),
];
/// A parameter that has more than a type.
pub(super) const PARAM: &[Key] = &[
    key("type", Kind::Word(ParamType::WORDS), "what kind of value it is"),
    key(
        "default",
        Kind::Any,
        "its value if none is given; date, time: \"slot\" for that of the slot, or of the present moment if there is no \
         slot. Without a default, the parameter must be given",
    ),
];
/// The schedule, the runner, and what is said of one agent: what `[defaults]` can't hold.
pub(super) const OWN: &[&str] = &[
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
pub(super) const AGENT: &[Key] = &[
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
        "when the program of a `runner` continues its own session: in a further attempt of the same run, or never; default \
         crash, if the program can do that. always is not supported yet",
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
    key("notify", Kind::Table(TELL), "who gets which messages"),
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
/// What stands in a `sandbox` table.
pub(super) const SANDBOX: &[Key] = &[
    key(
        "read",
        Kind::Texts,
        "what it may read, in addition to the system's programs, libraries, certificates and time zones, and the program's \
         own file; nothing that another agent writes",
    ),
    key(
        "write",
        Kind::Texts,
        "what it may read and write, in addition to a private folder for temporary files",
    ),
    key("exec", Kind::Texts, "what it may execute; default: the system's programs"),
    key(
        "net",
        Kind::Texts,
        "where it may connect to, through a proxy that its environment names: [\"api.github.com:443\"]; without a port: 80 \
         and 443. Private addresses are written out, or follow a name: \"nas.lan:8443=10.1.2.0/24\". Default: nowhere",
    ),
    key("unix", Kind::Texts, "sockets that it may connect to, by path; needs Linux with Landlock 9 or later"),
    key("limits", Kind::Table(SANDBOX_LIMITS), "how much it may take"),
];
pub(super) const SANDBOX_LIMITS: &[Key] = &[
    key(
        "processes",
        Kind::Whole,
        "processes and threads at a time, of all that it starts; needs a control group delegated to the daemon",
    ),
    key("memory", Kind::Size, "of all its processes; needs a control group delegated to the daemon"),
    key("open_files", Kind::Whole, "of one process"),
    key("file_size", Kind::Size, "of a file that it writes"),
    key("cpu", Kind::Duration, "processor time of one process"),
];
