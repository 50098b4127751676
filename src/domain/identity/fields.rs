//! The canonical form of each type. Types are destructured completely: a new field does not compile until its form
//! is defined here.
use super::form::{Canonical, Form};
use crate::domain::active_times::{ActiveTimes, CalendarSpec, Hours, NamedPeriods};
use crate::domain::agent::*;
use crate::domain::deliver::DeliverSpec;
use crate::domain::expected::Expect;
use crate::domain::export::{RedisSpec, StreamFrom};
use crate::domain::file_trigger::FileTrigger;
use crate::domain::fleet::*;
use crate::domain::host::HostPattern;
use crate::domain::mcp_trigger::McpTrigger;
use crate::domain::memory::{Memory, MemoryStore};
use crate::domain::net_target::NetTarget;
use crate::domain::node::{NodeSpec, NodeWanted};
use crate::domain::params::{ParamDefault, ParamSpec, ParamsSpec};
use crate::domain::ping::PingSpec;
use crate::domain::private_host::PrivateHost;
use crate::domain::quiet::QuietHours;
use crate::domain::redis::{RedisAddress, RedisMemorySpec, RedisServer};
use crate::domain::runner::{
    PermissionRule, Permissions, RepositorySpec, RunnerQuery, RunnerSpec, RunnerVersion, Workspace,
};
use crate::domain::sandbox::{Sandbox, SandboxLimits, SandboxSetting};
use crate::domain::secret_ref::{EnvValue, SecretRef, TextOrSecret};
use crate::domain::skill::SkillSpec;
use crate::domain::store_spec::StoreSpec;
use crate::domain::telemetry::TelemetrySpec;
use crate::domain::tool::{
    FeedArgs, FeedLogin, FeedSettings, FilesSettings, HttpSettings, MetricsArgs, ParameterKind, ProbeCheck,
    ProbeSettings, ProbeTarget, S3Settings, ShellArg, ShellCommand, ShellSettings, Since, SqlSettings,
    ToolSettings, WebCheck,
};
use crate::domain::tool_use::{ApprovalRoute, HandedTools};
use crate::domain::webhook::HookSpec;
use serde_json::Value;

/// A table of texts.
impl Canonical for NodeWanted {
    fn write(&self, form: &mut Form) {
        self.labels().write(form);
    }
}

/// Implements the form of a table, with names that stay when a field is renamed. All fields are named; those listed
/// after `without` do not count.
macro_rules! table {
    ($type:ident { $($field:ident: $name:literal,)* } $(without $($out:ident),+)?) => {
        impl Canonical for $type {
            fn write(&self, form: &mut Form) {
                let Self { $($field,)* $($($out: _,)+)? } = self;
                form.table(|form| { $(form.field($name, $field);)* });
            }
        }
    };
}

table! { AgentSpec {
    id: "id", description: "description", schedule: "schedule", active_times: "active_times", params: "params", jitter: "jitter", first_run: "first_run",
    catch_up: "catch_up", overlap: "overlap", enabled: "enabled", body: "body", history: "history", gate: "gate",
    success_when: "success_when", limits: "limits", retry: "retry", circuit: "circuit", lock: "lock",
    notify: "notify", deliver: "deliver", late_after: "late_after", slow_after: "slow_after", ping: "ping", on_nodes: "where", when_cut_off: "when_cut_off", control: "control", accept_risk: "accept_risk",
} without config_hash, line }
table! { ActiveTimes { zone: "timezone", hours: "active", except: "except", only: "only", } }
table! { ParamsSpec { all: "all", zone: "timezone", } }
table! { ParamSpec { kind: "type", default: "default", } }
table! { CalendarSpec { digest: "digest", } without events }
table! { Hours { from: "from", until: "until", } }
table! { NamedPeriods { name: "name", digest: "digest", } without periods }
table! { Join { after: "after", status: "status", within: "within", } }
table! { McpTrigger { server: "server", event: "event", args: "args", every: "every", } }
table! { FileTrigger { pattern: "pattern", folder: "folder", name: "name", settle: "settle", } }
table! { EventTrigger { event: "event", agent: "agent", untrusted: "untrusted", } }
table! { CatchUp { policy: "policy", max: "max", max_age: "max_age", spread: "spread", } }
table! { QuerySpec {
    query: "query", system_instruction: "system_instruction", model: "model", tools: "tools", memory: "memory",
    session_id: "session_id", approve: "approve", approval: "approval", route: "approval_route",
    sinks: "sinks", output_schema: "output_schema", skills: "skills",
} }
impl Canonical for SkillSpec {
    fn write(&self, form: &mut Form) {
        let Self { head, folder, digest } = self;
        form.table(|form| {
            form.field("name", &head.name);
            form.field("folder", folder);
            form.field("digest", digest);
        });
    }
}

table! { ApprovalRoute { via: "via", wait: "wait", } }
table! { RunnerQuery {
    query: "query", system_instruction: "system_instruction", runner: "runner", workspace: "workspace",
    trusts_workspace: "workspace_trust", skills: "skills", permissions: "permissions", resume: "resume", handed: "handed",
} }

impl Canonical for HandedTools {
    fn is_nothing(&self) -> bool {
        self.tools.is_empty()
    }

    fn write(&self, form: &mut Form) {
        let Self { tools, approve, approval, route, sinks } = self;
        form.table(|form| {
            form.field("tools", tools);
            form.field("approve", approve);
            form.field("approval", approval);
            form.field("approval_route", route);
            form.field("sinks", sinks);
        });
    }
}

table! { Permissions { default: "default", allow: "allow", ask: "ask", } }

impl Canonical for PermissionRule {
    fn write(&self, form: &mut Form) {
        form.text(&self.to_string());
    }
}

table! { RepositorySpec { path: "path", keep: "keep", } }
table! { RunnerVersion { expected: "expected", exact: "exact", } }
table! { RunnerSpec {
    preset: "preset", protocol: "protocol", command: "command", version: "version", meter: "meter", env: "env",
    first_event: "first_event", idle: "idle", sandbox: "sandbox",
} }

impl Canonical for ParamDefault {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Value(value) => form.tagged("value", |form| form.field("value", value)),
            Self::Slot => form.token("slot"),
        }
    }
}

impl Canonical for Workspace {
    fn is_nothing(&self) -> bool {
        *self == Self::Empty
    }

    fn write(&self, form: &mut Form) {
        match self {
            Self::Empty => form.token("empty"),
            Self::Folder(path) => form.tagged("folder", |form| form.field("path", path)),
            Self::Repository(spec) => form.tagged("repository", |form| form.field("spec", spec)),
        }
    }
}

table! { ToolCallSpec { tool: "tool", args: "args", } }
/// The folder of the configuration, where nothing is said of another, is that of a machine, and is not counted.
impl Canonical for CommandSpec {
    fn write(&self, form: &mut Form) {
        let Self { argv, env, cwd, default_cwd, stdin, sandbox } = self;
        form.table(|form| {
            form.field("argv", argv);
            form.field("env", env);
            form.folder("cwd", cwd, *default_cwd);
            form.field("stdin", stdin);
            form.field("sandbox", sandbox);
        });
    }
}

table! { Check { body: "body", expect: "expect", novel_by: "novel_by", } }
table! { Expect { field: "field", compare: "compare", value: "value", } }
table! { Limits {
    timeout: "timeout", total_timeout: "total_timeout", tool_call_timeout: "tool_call_timeout",
    request_limit: "request_limit", total_tokens_limit: "total_tokens_limit", max_steps: "max_steps",
    max_usd_per_run: "max_usd_per_run", usd_per_day: "usd_per_day", tokens_per_day: "tokens_per_day",
    requests_per_day: "requests_per_day", max_output: "max_output",
} }
table! { RetrySpec {
    max: "max", backoff: "backoff", initial: "initial", max_delay: "max_delay", explicit: "explicit",
} }
table! { CircuitSpec { open_after: "open_after", cooldown: "cooldown", } }
table! { NotifySpec { to: "to", on: "on", repeat: "repeat", } }
table! { PingSpec { url: "url", every: "every", } }
table! { DeliverSpec { to: "to", when: "when", title: "title", text: "text", } }

impl Canonical for Fleet {
    fn write(&self, form: &mut Form) {
        let Self {
            path: _,
            hash: _,
            secrets: _,
            untrusted_skills: _,
            daemon,
            agents,
            models,
            runners,
            mcp,
            tools,
            notify,
            hooks,
            calendars,
            budget,
            redis,
            memory,
            telemetry,
            store,
            applied: _,
        } = self;
        form.table(|form| {
            form.field("daemon", daemon);
            form.raw("agents=[");
            agents.iter().for_each(|agent| form.token(agent.config_hash));
            form.raw("]");
            form.field("models", models);
            form.field("runners", runners);
            form.field("mcp", mcp);
            form.field("tools", tools);
            form.field("notify", notify);
            form.field("webhooks", hooks);
            form.field("calendars", calendars);
            form.field("budget", budget);
            form.field("redis", redis);
            form.field("memory_redis", memory);
            form.field("telemetry", telemetry);
            form.field("store", store);
        });
    }
}
table! { HookSpec { scheme: "scheme", secret: "secret", } }
/// Flat, like the table of the file.
impl Canonical for RedisSpec {
    fn write(&self, form: &mut Form) {
        let Self { server, stream, maxlen, format, from } = self;
        form.table(|form| {
            fields_of_server(form, server);
            form.field("stream", stream);
            form.field("maxlen", maxlen);
            form.field("format", format);
            form.field("from", from);
        });
    }
}
impl Canonical for RedisMemorySpec {
    fn write(&self, form: &mut Form) {
        let Self { server, prefix } = self;
        form.table(|form| {
            fields_of_server(form, server);
            form.field("prefix", prefix);
        });
    }
}
fn fields_of_server(form: &mut Form, server: &RedisServer) {
    let RedisServer { section: _, address, database, username, password } = server;
    form.field("address", address);
    form.field("database", database);
    form.field("username", username);
    form.field("password", password);
}
table! { TelemetrySpec { prometheus: "prometheus", otlp: "otlp", headers: "headers", content: "content", } }
table! { StoreSpec { url: "url", password: "password", schema: "schema", durability: "durability", } }
impl Canonical for RedisAddress {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Socket(path) => form.tagged("socket", |form| form.field("path", path)),
            Self::Host { host, port, tls } => form.tagged("host", |form| {
                form.field("host", host);
                form.field("port", port);
                form.field("tls", tls);
            }),
        }
    }
}
impl Canonical for StreamFrom {
    fn write(&self, form: &mut Form) {
        form.token(self);
    }
}
table! { DaemonSpec {
    timezone: "timezone", max_parallel_runs: "max_parallel_runs", shutdown_grace: "shutdown_grace",
    reload: "reload", retention: "retention", ping: "ping", webhooks: "webhooks", node: "node",
} }
/// Name and labels of a machine are not part of what its fleet does: nodes with the same agents have one identity.
impl Canonical for NodeSpec {
    fn is_nothing(&self) -> bool {
        true
    }
    fn write(&self, _: &mut Form) {}
}
table! { Retention {
    runs: "runs", events: "events", transcripts: "transcripts", output: "output", max_db_size: "max_db_size",
    workspaces: "workspaces",
} }
table! { ModelSpec {
    provider: "provider", model: "model", base_url: "base_url", api_key: "api_key", headers: "headers",
    request_timeout: "request_timeout", max_output_tokens: "max_output_tokens",
    max_output_by_default: "max_output_by_default", temperature: "temperature", settings: "settings",
    price: "price", fallback: "fallback", fallback_on: "fallback_on",
    max_parallel_requests: "max_parallel_requests", requests_per_minute: "requests_per_minute",
} }
table! { RequestSettings {
    top_p: "top_p", reasoning_effort: "reasoning_effort", num_ctx: "num_ctx", cache: "cache", params: "params",
} }
table! { Price { input: "input", cached_input: "cached_input", cache_write: "cache_write", output: "output", } }
table! { McpSpec {
    command: "command", url: "url", headers: "headers", env: "env", cwd: "cwd", start_timeout: "start_timeout",
    allow: "allow", deny: "deny", sandbox: "sandbox", effects: "effects",
} }
table! { ToolSpec { kind: "kind", settings: "settings", } }
table! { HttpSettings {
    hosts: "hosts", allow_private: "allow_private", methods: "methods", headers: "headers",
    max_bytes: "max_bytes", https_only: "https_only",
} }
table! { FeedSettings {
    fixed: "fixed", allow_private: "allow_private", logins: "logins", headers: "headers", timeout: "timeout",
    max_bytes: "max_bytes",
} }
table! { FeedArgs {
    urls: "urls", max_items: "max_items", max_per_source: "max_per_source", since: "since",
    max_summary: "max_summary",
} }
table! { SqlSettings {
    url: "url", password: "password", mode: "mode", max_rows: "max_rows", timeout: "timeout",
    statements: "statements", tables: "tables", ddl: "ddl",
} }
table! { FeedLogin { username: "username", password: "password", } }

impl Canonical for Since {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Seconds(secs) => form.token(secs),
            Self::Text(text) => form.text(text),
        }
    }
}

table! { Sandbox { read: "read", write: "write", exec: "exec", net: "net", unix: "unix", limits: "limits", } }
table! { SandboxLimits {
    processes: "processes", memory: "memory", open_files: "open_files", file_size: "file_size", cpu: "cpu",
} }

impl Canonical for SandboxSetting {
    fn is_nothing(&self) -> bool {
        *self == Self::Unset
    }

    fn write(&self, form: &mut Form) {
        match self {
            Self::Unset | Self::Off => form.token("off"),
            Self::On(sandbox) => sandbox.write(form),
        }
    }
}

table! { FilesSettings { roots: "roots", mode: "mode", max_bytes: "max_bytes", config: "config", } without guarded }

impl Canonical for ShellSettings {
    fn write(&self, form: &mut Form) {
        let Self { commands, cwd, default_cwd, env, timeout, max_output, sandbox } = self;
        form.table(|form| {
            form.field("commands", commands);
            form.folder("cwd", cwd, *default_cwd);
            form.field("env", env);
            form.field("timeout", timeout);
            form.field("max_output", max_output);
            form.field("sandbox", sandbox);
        });
    }
}

table! { ShellCommand {
    exec: "exec", args: "args", under: "under", read: "read", description: "description",
} }

impl Canonical for ShellArg {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Text(text) => form.tagged("text", |form| form.field("text", text)),
            Self::Parameter { name, kind } => form.tagged("parameter", |form| {
                form.field("name", name);
                form.field("kind", kind);
            }),
        }
    }
}

impl Canonical for ParameterKind {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Text => form.token("string"),
            Self::Whole => form.token("int"),
            Self::Between { least, most } => form.tagged("between", |form| {
                form.field("least", least);
                form.field("most", most);
            }),
            Self::Path => form.token("path"),
            Self::OneOf(words) => form.tagged("one_of", |form| form.field("words", words)),
        }
    }
}

table! { S3Settings {
    bucket: "bucket", mode: "mode", endpoint: "endpoint", region: "region", prefix: "prefix",
    access_key_id: "access_key_id", secret_access_key: "secret_access_key", session_token: "session_token",
    path_style: "path_style", max_bytes: "max_bytes", timeout: "timeout",
} }

table! { MetricsArgs { top: "top", disks: "disks", } }
table! { ProbeSettings { checks: "checks", } }
table! { ProbeCheck {
    name: "name", warn: "warn", crit: "crit", clear: "clear", hold_for: "for", timeout: "timeout",
    target: "target",
} }
table! { WebCheck {
    url: "url", method: "method", headers: "headers", status: "status", contains: "contains",
    not_contains: "not_contains", tls_days: "tls_days",
} }

impl Canonical for ProbeTarget {
    fn write(&self, form: &mut Form) {
        let kind = self.kind().as_str();
        match self {
            Self::Disk { path, metric, mounted } => form.tagged(kind, |form| {
                form.field("path", path);
                form.field("metric", metric);
                form.field("mounted", mounted);
            }),
            Self::Memory | Self::Load => form.token(kind),
            Self::Http(web) => form.tagged(kind, |form| form.field("web", &**web)),
            Self::Tcp { host, port } => form.tagged(kind, |form| {
                form.field("host", host);
                form.field("port", port);
            }),
            Self::Process { name, min } => form.tagged(kind, |form| {
                form.field("process", name);
                form.field("min", min);
            }),
            Self::Systemd { unit, user } => form.tagged(kind, |form| {
                form.field("unit", unit);
                form.field("user", user);
            }),
            Self::Command { argv, sandbox } => form.tagged(kind, |form| {
                form.field("command", argv);
                form.field("sandbox", sandbox);
            }),
        }
    }
}

impl Canonical for ToolSettings {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Http(settings) => settings.write(form),
            Self::Feed(settings) => settings.write(form),
            Self::Sql(settings) => settings.write(form),
            Self::Files(settings) => settings.write(form),
            Self::Shell(settings) => settings.write(form),
            Self::S3(settings) => settings.write(form),
            Self::SystemMetrics(settings) => settings.write(form),
            Self::Probe(settings) => settings.write(form),
            Self::Remember | Self::Recall | Self::Report => Value::Null.write(form),
            // as it was when these settings were plain JSON
            Self::ArchiveRows(settings) => {
                serde_json::to_value(settings).expect("names of its fields are texts").write(form);
            }
        }
    }
}

impl Canonical for PrivateHost {
    fn write(&self, form: &mut Form) {
        form.text(&self.to_string());
    }
}

impl Canonical for NetTarget {
    fn write(&self, form: &mut Form) {
        form.text(&self.to_string());
    }
}

impl Canonical for HostPattern {
    fn write(&self, form: &mut Form) {
        form.text(&self.to_string());
    }
}

table! { NotifyTarget { kind: "kind", per_minute: "per_minute", quiet: "quiet", } }
table! { WebhookSpec { url: "url", headers: "headers", secret: "secret", body: "body", } }

impl Canonical for QuietHours {
    fn write(&self, form: &mut Form) {
        form.text(&self.to_string());
    }
}

table! { EmailSpec { to: "to", from: "from", host: "host", port: "port", tls: "tls", login: "login", } }
table! { BudgetSpec {
    usd_per_day: "usd_per_day", usd_per_month: "usd_per_month", tokens_per_day: "tokens_per_day",
    requests_per_day: "requests_per_day", warn_at: "warn_at",
} }

impl Canonical for Schedule {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Manual => form.token("manual"),
            Self::Every(period) => form.tagged("every", |form| form.field("period", period)),
            Self::After(delay) => form.tagged("after", |form| form.field("delay", delay)),
            Self::Cron(cron) => form.tagged("cron", |form| {
                form.field("expression", cron.expression());
                form.field("zone", cron.zone());
            }),
            Self::At(at) => form.tagged("at", |form| form.field("at", at)),
            Self::On(trigger) => form.tagged("on", |form| form.field("trigger", trigger)),
            Self::Join(join) => form.tagged("join", |form| form.field("join", join)),
            Self::Webhook(name) => form.tagged("webhook", |form| form.field("name", name)),
            Self::Mcp(mcp) => form.tagged("mcp", |form| form.field("mcp", mcp)),
            Self::File(file) => form.tagged("file", |form| form.field("file", file)),
            Self::Any(parts) => form.tagged("any", |form| form.field("parts", parts)),
        }
    }
}

impl Canonical for Body {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Query(query) => form.tagged("query", |form| form.field("query", query)),
            Self::Tool(call) => form.tagged("tool", |form| form.field("call", call)),
            Self::Command(command) => form.tagged("command", |form| form.field("command", command)),
            Self::Runner(query) => form.tagged("runner", |form| form.field("query", query)),
        }
    }
}

impl Canonical for CheckBody {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Tool(call) => form.tagged("tool", |form| form.field("call", call)),
            Self::Command(command) => form.tagged("command", |form| form.field("command", command)),
        }
    }
}

impl Canonical for Memory {
    fn write(&self, form: &mut Form) {
        match self {
            Self::None => form.token("none"),
            Self::LastResult => form.token("last_result"),
            Self::Session { max_tokens, store } => form.tagged("session", |form| {
                form.field("max_tokens", max_tokens);
                // the form from before this choice existed
                if *store != MemoryStore::Database {
                    form.field("store", store);
                }
            }),
        }
    }
}

impl Canonical for TextOrSecret {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Text(text) => form.text(text),
            Self::Secret(secret) => secret.write(form),
        }
    }
}

impl Canonical for SecretRef {
    fn write(&self, form: &mut Form) {
        match self {
            Self::Env(name) => form.tagged("env", |form| form.field("name", name)),
            Self::File(path) => form.tagged("file", |form| form.field("path", path)),
            Self::Credential(name) => form.tagged("credential", |form| form.field("name", name)),
            Self::Command(argv) => form.tagged("command", |form| form.field("argv", argv)),
        }
    }
}

impl Canonical for NotifyTargetKind {
    fn write(&self, form: &mut Form) {
        match self {
            // its fields follow the kind directly, as they did when there were only two kinds
            Self::Webhook(spec) => {
                form.raw("webhook");
                spec.write(form);
            }
            Self::Service(ServiceSpec { kind, keys }) => form.tagged(kind.as_str(), |form| {
                keys.iter().for_each(|(name, value)| form.field(name, value));
            }),
            Self::Command(command) => form.tagged("command", |form| form.field("command", command)),
            Self::File(path) => form.tagged("file", |form| form.field("path", path)),
            Self::Desktop => form.token("desktop"),
            Self::Email(email) => form.tagged("email", |form| form.field("email", email)),
        }
    }
}

impl Canonical for (EnvValue, SecretRef) {
    fn write(&self, form: &mut Form) {
        let (name, password) = self;
        form.table(|form| {
            form.field("name", name);
            form.field("password", password);
        });
    }
}
