//! Keys of tables that agents refer to: models, runners, servers, targets, webhooks, calendars.
use super::kind::{Key, Kind, key};
use super::sandbox::SANDBOX;
use crate::domain::{
    Effort, FallbackOn, HookScheme, McpEffect, NotifyType, Provider, RunnerAuth, RunnerPreset,
    RunnerProtocol, SmtpTls,
};

pub(in crate::config) const MODEL: &[Key] = &[
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

pub(in crate::config) const PRICE: &[Key] = &[
    key("input", Kind::Number, "sent"),
    key("cached_input", Kind::Number, "sent and found in the provider's cache; default: as input"),
    key(
        "cache_write",
        Kind::Number,
        "sent and written to the provider's cache; default: as input, with `cache` 1.25 times that",
    ),
    key("output", Kind::Number, "received"),
];

pub(in crate::config) const RUNNER: &[Key] = &[
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

pub(in crate::config) const MCP: &[Key] = &[
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

pub(in crate::config) const NOTIFY: &[Key] = &[
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

/// `[webhooks.…]`.
pub(in crate::config) const HOOK: &[Key] = &[
    key(
        "scheme",
        Kind::Word(HookScheme::WORDS),
        "how deliveries are signed: by the Standard Webhooks (standardwebhooks.com), or as GitHub does; default standard",
    ),
    key("secret", Kind::Secret, "what they are signed with; what begins with `whsec_` is base64 (standard)"),
];

pub(in crate::config) const CALENDAR: &[Key] = &[key(
    "ics",
    Kind::Text,
    "path of an iCalendar file, of which only the times of the events matter; read with the configuration, at most 4 MiB",
)];
