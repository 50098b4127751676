//! Keys of the daemon and of the whole fleet: budget, records, events, monitoring.
use super::kind::{Key, Kind, key};
use crate::domain::{Durability, RedisSpec, ReloadMode, StreamFormat};

pub(in crate::config) const DAEMON: &[Key] = &[
    key(
        "timezone",
        Kind::Text,
        "IANA name of the zone for cron and local times; default: the system's, which is followed when it changes",
    ),
    key(
        "max_parallel_runs",
        Kind::Whole,
        "runs at a time on this machine; further ones wait in a fair queue; default 64",
    ),
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

pub(in crate::config) const DAEMON_PING: &[Key] = &[
    key("url", Kind::TextOrSecret, "its address; asked by GET"),
    key("every", Kind::Duration, "how often; default 1m"),
];

pub(in crate::config) const RETENTION: &[Key] = &[
    key("runs", Kind::Duration, "finished runs and ledger records; default 90d"),
    key("events", Kind::Duration, "events; default 90d"),
    key("transcripts", Kind::Duration, "conversations with models; default 30d"),
    key("output", Kind::Duration, "output of commands; default 30d"),
    key(
        "max_db_size",
        Kind::Size,
        "above this size, the oldest records are removed first; at least 1MiB, default 2GiB",
    ),
    key(
        "workspaces",
        Kind::Size,
        "bound on what the folders of agent programs' runs take in the state folder; above it, the oldest work goes that could not be brought back, with an event; at least 1MiB, default 10GiB",
    ),
];

pub(in crate::config) const BUDGET: &[Key] = &[
    key("usd_per_day", Kind::Number, "US dollars per day"),
    key("usd_per_month", Kind::Number, "US dollars per month"),
    key("tokens_per_day", Kind::Whole, "tokens per day"),
    key("requests_per_day", Kind::Whole, "model requests per day"),
    key("warn_at", Kind::Number, "fraction of a budget at which a warning is recorded; default 0.8"),
];

pub(in crate::config) const EVENTS_TO: &[Key] =
    &[key("redis", Kind::Table(EVENTS_REDIS), "a copy of each event in a Redis stream: docs/REDIS.md")];

pub(in crate::config) const MEMORY_IN: &[Key] = &[key(
    "redis",
    Kind::Table(MEMORY_REDIS),
    "sessions and notes of agents with `store = \"redis\"`, shared by all fleets that name it: docs/REDIS.md",
)];

pub(in crate::config) const TELEMETRY: &[Key] = &[
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
    key("headers", Kind::Texts2, "sent with traces; their values can be references to secrets"),
    key(
        "content",
        Kind::Flag,
        "traces include what agents are asked and say, and what tools are given and return; default false",
    ),
];

pub(in crate::config) const STORE: &[Key] = &[
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

pub(in crate::config) const EVENTS_REDIS: &[Key] = &[
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

pub(in crate::config) const MEMORY_REDIS: &[Key] = &[
    key("url", Kind::Text, "as that of [events.redis]; it may be the same server"),
    key(
        "username",
        Kind::TextOrSecret,
        "name of the Redis user; default: the one that Redis calls `default`",
    ),
    key("password", Kind::Secret, "its password"),
    key("prefix", Kind::Text, "what all keys there begin with; default bgagent:memory"),
];
