//! The fleet: the complete content of one `agents.toml`, validated.
use super::agent::{AgentSpec, Schedule};
use super::node::NodeSpec;
use super::ping::PingSpec;
use super::quiet::QuietHours;
use super::service::{NotifyType, ServicePreset};
use super::tool::{Effect, ToolKind, ToolSettings};
use super::webhook::HookSpec;
use super::words::words;
use super::{
    AgentId, AppliedConfig, Body, CalendarSpec, ConfigHash, Provider, RedisMemorySpec, RedisSpec, RunnerSpec,
    SandboxSetting, StoreSpec, TelemetrySpec,
};
use crate::domain::secret_ref::{EnvValue, SecretRef};
use core::net::SocketAddr;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Absolute path of its file.
    pub path: PathBuf,
    /// Hash of the whole resolved configuration.
    pub hash: ConfigHash,
    pub daemon: DaemonSpec,
    /// `[agents.…]`, sorted by name.
    pub agents: Vec<Arc<AgentSpec>>,
    pub models: BTreeMap<String, ModelSpec>,
    pub runners: BTreeMap<String, RunnerSpec>,
    pub mcp: BTreeMap<String, McpSpec>,
    pub tools: BTreeMap<String, ToolSpec>,
    pub notify: BTreeMap<String, NotifyTarget>,
    /// `[webhooks.…]`: who may deliver what starts agents.
    pub hooks: BTreeMap<String, HookSpec>,
    pub calendars: BTreeMap<String, CalendarSpec>,
    pub budget: BudgetSpec,
    pub redis: Option<Arc<RedisSpec>>,
    pub memory: Option<Arc<RedisMemorySpec>>,
    /// `[telemetry]`; `None`: nothing is exported.
    pub telemetry: Option<Arc<TelemetrySpec>>,
    /// `[store]`; `None`: a file in the state folder.
    pub store: Option<Arc<StoreSpec>>,
    /// All secret references of the file, without duplicates.
    pub secrets: Vec<SecretRef>,
    /// The newest revision of the fleet's configuration, where records are on a server and one was ever applied.
    pub applied: Option<Arc<AppliedConfig>>,
    /// Digests of skills that nobody has trusted as they are: runs that would have them fail.
    pub untrusted_skills: BTreeSet<String>,
}

impl Fleet {
    /// Returns the agent of that name.
    pub fn agent(&self, id: &str) -> Option<&Arc<AgentSpec>> {
        self.agents.binary_search_by(|agent| agent.id.as_str().cmp(id)).ok().map(|at| &self.agents[at])
    }

    /// Returns the built-in tool behind this name: that of its `[tools.…]` table, or the one of that name. `None`:
    /// it is a tool of an MCP server.
    pub fn kind_of(&self, tool: &str) -> Option<ToolKind> {
        self.tools.get(tool).map_or_else(|| ToolKind::parse(tool), |spec| Some(spec.kind))
    }

    /// Returns the MCP servers whose tools or events agents use, each with those agents.
    pub fn users_of_servers(&self) -> BTreeMap<&str, Vec<&AgentId>> {
        let mut all: BTreeMap<&str, Vec<&AgentId>> = BTreeMap::new();
        for agent in &self.agents {
            let tools = agent.tool_names().into_iter().filter(|name| !self.tools.contains_key(*name));
            let servers = tools.filter_map(|name| self.mcp.get_key_value(name.split_once('/')?.0));
            let waits_for = match &agent.schedule {
                Schedule::Mcp(mcp) => self.mcp.get_key_value(&*mcp.server),
                _ => None,
            };
            let servers = servers.chain(waits_for);
            for server in servers.map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>() {
                all.entry(server).or_default().push(&agent.id);
            }
        }
        all
    }

    /// Returns a fleet without agents, for a daemon whose file is missing and for tests.
    pub fn empty(path: PathBuf) -> Self {
        Self {
            path,
            hash: ConfigHash(0),
            daemon: DaemonSpec::default(),
            agents: Vec::new(),
            models: BTreeMap::new(),
            runners: BTreeMap::new(),
            mcp: BTreeMap::new(),
            tools: BTreeMap::new(),
            notify: BTreeMap::new(),
            hooks: BTreeMap::new(),
            calendars: BTreeMap::new(),
            budget: BudgetSpec::default(),
            redis: None,
            memory: None,
            telemetry: None,
            store: None,
            secrets: Vec::new(),
            applied: None,
            untrusted_skills: BTreeSet::new(),
        }
    }

    /// The revision of the fleet's configuration that is in force. `None`: the file at [`Self::path`] is.
    pub fn revision_in_force(&self) -> Option<&Arc<AppliedConfig>> {
        self.applied.as_ref().filter(|applied| applied.text.is_some())
    }

    /// Number of the newest revision; 0: there was none.
    pub fn newest_revision(&self) -> u64 {
        self.applied.as_ref().map_or(0, |applied| applied.revision)
    }

    /// By what nodes compare their configurations: of one that was applied, its text.
    pub fn told_hash(&self) -> ConfigHash {
        self.revision_in_force().map_or(self.hash, |applied| applied.hash)
    }

    /// What the configuration in force is called: its file, or its revision.
    pub fn source(&self) -> String {
        self.revision_in_force().map_or_else(|| self.path.display().to_string(), |applied| applied.name())
    }

    /// Name of the model that answers an agent's requests, by itself or by its agent program; `None`: it sends none.
    pub fn model_of<'a>(&'a self, body: &'a Body) -> Option<&'a str> {
        match body {
            Body::Query(query) => Some(&query.model),
            Body::Runner(query) => self.runners.get(&query.runner).map(|runner| runner.meter.as_str()),
            Body::Tool(_) | Body::Command(_) => None,
        }
    }

    /// Returns the names of all agents, sorted.
    pub fn names(&self) -> impl Iterator<Item = &AgentId> {
        self.agents.iter().map(|agent| &agent.id)
    }
}

/// The settings in `[daemon]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonSpec {
    /// Default time zone of cron expressions and local times.
    pub timezone: TimeZone,
    /// Maximum number of concurrent runs; further ones wait.
    pub max_parallel_runs: usize,
    /// How long a shutdown waits for runs to finish.
    pub shutdown_grace: SignedDuration,
    /// Whether changes of the file are loaded automatically.
    pub reload: ReloadMode,
    /// Retention periods.
    pub retention: Retention,
    /// External monitor that is pinged while the daemon is alive.
    pub ping: Option<Arc<PingSpec>>,
    /// Listening address for webhooks, on this machine. `None`: there is none.
    pub webhooks: Option<SocketAddr>,
    /// Its role among daemons that share its records.
    pub node: NodeSpec,
}

impl Default for DaemonSpec {
    fn default() -> Self {
        Self {
            timezone: TimeZone::UTC,
            max_parallel_runs: 64,
            shutdown_grace: SignedDuration::from_secs(30),
            reload: ReloadMode::Watch,
            retention: Retention::default(),
            ping: None,
            webhooks: None,
            node: NodeSpec::default(),
        }
    }
}

words! {
    /// Whether a change of the file is taken up by itself.
    ReloadMode {
        /// Yes.
        Watch = "watch",
        /// Only by `bgagent reload` or SIGHUP.
        Manual = "manual",
    }
}

/// Retention periods per kind of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Finished runs and ledger records.
    pub runs: SignedDuration,
    pub events: SignedDuration,
    /// Conversations with models.
    pub transcripts: SignedDuration,
    /// Output of commands.
    pub output: SignedDuration,
    /// Maximum size of the database in bytes; beyond it, the oldest data is deleted first.
    pub max_db_size: u64,
    /// Upper bound of the folders of runs in bytes: past it, the oldest work goes first that could not be brought back. `None`:
    /// [`Retention::WORKSPACES`].
    pub workspaces: Option<u64>,
}

impl Retention {
    /// `workspaces` where nothing is said of it.
    pub const WORKSPACES: u64 = 10 << 30;

    /// The bound that holds for the folders of runs, in bytes.
    pub fn workspaces(&self) -> u64 {
        self.workspaces.unwrap_or(Self::WORKSPACES)
    }
}

impl Default for Retention {
    fn default() -> Self {
        let days = |n: i64| SignedDuration::from_hours(24 * n);
        Self {
            runs: days(90),
            events: days(90),
            transcripts: days(30),
            output: days(30),
            max_db_size: 2 << 30,
            workspaces: None,
        }
    }
}

words! {
    /// How much a model is to think.
    Effort {
        /// Not at all.
        None = "none",
        /// As little as it can.
        Minimal = "minimal",
        /// Little.
        Low = "low",
        /// As usual.
        Medium = "medium",
        /// Much.
        High = "high",
        /// More than that.
        Xhigh = "xhigh",
        /// As much as it can.
        Max = "max",
    }
}

/// A model in `[models.…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    pub provider: Provider,
    /// Name of the model at the provider.
    pub model: String,
    pub base_url: Option<String>,
    pub api_key: Option<SecretRef>,
    pub headers: BTreeMap<String, EnvValue>,
    pub request_timeout: SignedDuration,
    pub max_output_tokens: u64,
    /// `max_output_tokens` is a default: a request may use less if only that fits a limit in dollars.
    pub max_output_by_default: bool,
    pub temperature: Option<f64>,
    /// Additional settings of each request.
    pub settings: RequestSettings,
    pub price: Option<Price>,
    /// Models to use instead.
    pub fallback: Vec<String>,
    /// Lasting failures for which they are used as well.
    pub fallback_on: Vec<FallbackOn>,
    /// Maximum number of concurrent requests.
    pub max_parallel_requests: Option<u64>,
    pub requests_per_minute: Option<u64>,
}

/// Settings of each request to a model, besides its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestSettings {
    pub top_p: Option<f64>,
    /// How much it is to think; `None`: the provider's default.
    pub reasoning_effort: Option<Effort>,
    /// Context size in tokens, at Ollama.
    pub num_ctx: Option<u64>,
    /// Anthropic's cache is used.
    pub cache: bool,
    /// Merged into the body of each request; overrides everything else.
    pub params: serde_json::Map<String, serde_json::Value>,
}

words! {
    /// A reason that does not pass, for which another model is asked all the same.
    FallbackOn {
        /// The account has no credit.
        Credit = "credit",
        /// The request is longer than the model takes.
        Context = "context",
        /// There is no such model.
        Missing = "missing",
    }
}

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    pub input: f64,
    /// Input read from the provider's cache.
    pub cached_input: f64,
    /// Input written to the provider's cache.
    pub cache_write: f64,
    pub output: f64,
}

/// An MCP server in `[mcp.…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct McpSpec {
    /// Program of a stdio server.
    pub command: Option<Vec<String>>,
    /// Address of an HTTP server.
    pub url: Option<String>,
    /// HTTP headers.
    pub headers: BTreeMap<String, EnvValue>,
    /// Environment of the program.
    pub env: BTreeMap<String, EnvValue>,
    /// Working directory of the program; `None`: that of the configuration.
    pub cwd: Option<PathBuf>,
    /// From its start to the answer to its first message.
    pub start_timeout: SignedDuration,
    /// Tools that may be used: names or patterns. `None`: all that destroy nothing.
    pub allow: Option<Vec<String>>,
    /// Tools that may not be used, regardless of `allow`: names or patterns.
    pub deny: Vec<String>,
    /// Sandbox of the program of a stdio server; on unless it is turned off.
    pub sandbox: SandboxSetting,
    /// Effects of its tools, by name or pattern. A tool not listed may change anything.
    pub effects: BTreeMap<String, McpEffect>,
}

impl McpSpec {
    /// Returns whether it is reached over the network, or its sandbox allows network access.
    pub fn is_over_network(&self) -> bool {
        self.url.is_some() || self.sandbox.unless_off().is_some_and(|walls| !walls.net.is_empty())
    }
}

words! {
    /// What a tool of an MCP server does, by the word of whoever configures it.
    McpEffect {
        /// Only looks.
        Read = "read",
        /// May be repeated without harm.
        Idempotent = "idempotent",
        /// Changes something.
        Effect = "effect",
        /// Changes something, by sending what it is given elsewhere.
        Send = "send",
    }
}

impl McpEffect {
    /// Returns the effect class of such a tool.
    pub const fn class(self) -> Effect {
        match self {
            Self::Read => Effect::Read,
            Self::Idempotent => Effect::Idempotent,
            Self::Effect | Self::Send => Effect::Effect,
        }
    }
}

impl McpSpec {
    /// Default of `start_timeout`.
    pub const START_TIMEOUT: SignedDuration = SignedDuration::from_secs(60);
}

/// `[tools.…]`: a named, bounded instance of a built-in tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    pub kind: ToolKind,
    pub settings: ToolSettings,
}

/// A notification target in `[notify.…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct NotifyTarget {
    pub kind: NotifyTargetKind,
    /// Maximum number of messages per minute; messages that wait longer are joined. `None`: no limit.
    pub per_minute: Option<u32>,
    /// When only critical messages are sent.
    pub quiet: Option<QuietHours>,
}

/// The kind of a notification target.
#[derive(Clone, Debug, PartialEq)]
pub enum NotifyTargetKind {
    /// An HTTP POST of JSON.
    Webhook(WebhookSpec),
    /// A message in the format of a service.
    Service(ServiceSpec),
    /// A program that gets the message as JSON on standard input.
    Command(super::agent::CommandSpec),
    /// A line of JSON appended to a file.
    File(PathBuf),
    Desktop,
    Email(EmailSpec),
}

/// A webhook target and its content.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookSpec {
    /// Often a secret itself.
    pub url: EnvValue,
    pub headers: BTreeMap<String, EnvValue>,
    /// Signs messages by the Standard Webhooks scheme.
    pub secret: Option<SecretRef>,
    /// Replaces the default body; contains placeholders.
    pub body: Option<String>,
}

/// An account of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    pub kind: NotifyType,
    /// The configured keys, by the names of its [`ServicePreset`].
    pub keys: BTreeMap<&'static str, EnvValue>,
}

impl ServiceSpec {
    /// Returns the built-in knowledge about the service.
    ///
    /// # Panics
    /// If there is no such service: accounts exist only for those of the table.
    pub fn preset(&self) -> &'static ServicePreset {
        ServicePreset::of(self.kind).expect("a service of the table")
    }
}

/// How mail is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct EmailSpec {
    /// Addresses of the recipients; at least one.
    pub to: Vec<String>,
    /// Address of the sender.
    pub from: String,
    /// Name or address of the server.
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    /// User name and password, if required.
    pub login: Option<(EnvValue, SecretRef)>,
}

words! {
    /// How a connection to a mail server is encrypted.
    SmtpTls {
        /// It begins in the clear and must be encrypted before anything is said.
        StartTls = "starttls",
        /// From the first byte.
        Implicit = "implicit",
        /// Not at all; on this machine only.
        None = "none",
    }
}

/// The fleet's budget in `[budget]`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BudgetSpec {
    /// US dollars per day.
    pub usd_per_day: Option<f64>,
    /// US dollars per month.
    pub usd_per_month: Option<f64>,
    /// Tokens per day.
    pub tokens_per_day: Option<u64>,
    /// Model requests per day.
    pub requests_per_day: Option<u64>,
    /// Fraction of a budget at which a warning is recorded.
    pub warn_at: Option<f64>,
}
