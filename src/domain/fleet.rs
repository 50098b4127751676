//! The fleet: everything that one `agents.toml` says, validated.
use super::agent::{AgentSpec, Schedule};
use super::node::NodeSpec;
use super::ping::PingSpec;
use super::quiet::QuietHours;
use super::service::{NotifyType, ServicePreset};
use super::tool::{Effect, ToolKind, ToolSettings};
use super::webhook::HookSpec;
use super::words::words;
use super::{
    AgentId, Body, CalendarSpec, ConfigHash, Provider, RedisMemorySpec, RedisSpec, RunnerSpec,
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
    /// The file that it was read from, absolute.
    pub path: PathBuf,
    /// Over the whole resolved configuration.
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
    /// `[telemetry]`; `None`: nothing is told.
    pub telemetry: Option<Arc<TelemetrySpec>>,
    /// `[store]`; `None`: a file of the state folder.
    pub store: Option<Arc<StoreSpec>>,
    /// Where secrets are found: all references of the file, without doubles.
    pub secrets: Vec<SecretRef>,
}

impl Fleet {
    /// The agent of that name.
    pub fn agent(&self, id: &str) -> Option<&Arc<AgentSpec>> {
        self.agents.binary_search_by(|agent| agent.id.as_str().cmp(id)).ok().map(|at| &self.agents[at])
    }

    /// Which built-in tool it is that goes by this name: that of its `[tools.…]` table, or the one of that name. `None`:
    /// it is a tool of an MCP server.
    pub fn kind_of(&self, tool: &str) -> Option<ToolKind> {
        self.tools.get(tool).map_or_else(|| ToolKind::parse(tool), |spec| Some(spec.kind))
    }

    /// The MCP servers whose tools agents name, or whose events they wait for, each with those agents.
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

    /// A fleet without agents, for a daemon whose file is missing and for tests.
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
        }
    }

    /// Name of the model that answers an agent's requests, by itself or by its agent program; `None`: it sends none.
    pub fn model_of<'a>(&'a self, body: &'a Body) -> Option<&'a str> {
        match body {
            Body::Query(query) => Some(&query.model),
            Body::Runner(query) => self.runners.get(&query.runner).map(|runner| runner.meter.as_str()),
            Body::Tool(_) | Body::Command(_) => None,
        }
    }

    /// Names of all agents, sorted.
    pub fn names(&self) -> impl Iterator<Item = &AgentId> {
        self.agents.iter().map(|agent| &agent.id)
    }
}

/// `[daemon]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonSpec {
    /// Zone of cron and of local times, where an agent names none.
    pub timezone: TimeZone,
    /// Runs at a time; further ones wait.
    pub max_parallel_runs: usize,
    /// How long a shutdown lets runs finish.
    pub shutdown_grace: SignedDuration,
    /// Whether a change of the file is taken up by itself.
    pub reload: ReloadMode,
    /// How long what is kept.
    pub retention: Retention,
    /// Where another monitor hears that the daemon lives.
    pub ping: Option<Arc<PingSpec>>,
    /// Where webhooks are delivered: an address of this machine. `None`: nowhere.
    pub webhooks: Option<SocketAddr>,
    /// What it is among daemons that share its records.
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

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Finished runs and ledger records.
    pub runs: SignedDuration,
    pub events: SignedDuration,
    /// Conversations with models.
    pub transcripts: SignedDuration,
    /// Output of commands.
    pub output: SignedDuration,
    /// Upper bound of the database in bytes: past it, the oldest goes first.
    pub max_db_size: u64,
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

/// `[models.…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    pub provider: Provider,
    /// Name of the model there.
    pub model: String,
    /// Where it answers.
    pub base_url: Option<String>,
    pub api_key: Option<SecretRef>,
    pub headers: BTreeMap<String, EnvValue>,
    pub request_timeout: SignedDuration,
    pub max_output_tokens: u64,
    /// Nobody has set it: a request may ask for less where that is all that fits a limit in dollars.
    pub max_output_by_default: bool,
    pub temperature: Option<f64>,
    /// What else is said in each request.
    pub settings: RequestSettings,
    /// What tokens cost.
    pub price: Option<Price>,
    /// Models to ask instead.
    pub fallback: Vec<String>,
    /// For which lasting reasons as well.
    pub fallback_on: Vec<FallbackOn>,
    /// Requests at a time.
    pub max_parallel_requests: Option<u64>,
    /// Requests a minute.
    pub requests_per_minute: Option<u64>,
}

/// What is said in each request to a model, beside what is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestSettings {
    pub top_p: Option<f64>,
    /// How much it is to think; `None`: as its provider has it.
    pub reasoning_effort: Option<Effort>,
    /// Tokens of the context at Ollama.
    pub num_ctx: Option<u64>,
    /// Anthropic's cache is used.
    pub cache: bool,
    /// Merged into the body of each request, over all else.
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
    /// Sent and found in the provider's cache.
    pub cached_input: f64,
    /// Sent and written to the provider's cache.
    pub cache_write: f64,
    pub output: f64,
}

/// `[mcp.…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct McpSpec {
    /// Program of a stdio server.
    pub command: Option<Vec<String>>,
    /// Address of an HTTP server.
    pub url: Option<String>,
    /// Headers for it.
    pub headers: BTreeMap<String, EnvValue>,
    /// Environment of the program.
    pub env: BTreeMap<String, EnvValue>,
    /// Folder of the program; `None`: that of the configuration.
    pub cwd: Option<PathBuf>,
    /// From its start to the answer to its first message.
    pub start_timeout: SignedDuration,
    /// Tools that may be used: names or patterns. `None`: all that destroy nothing.
    pub allow: Option<Vec<String>>,
    /// Tools that may not, whatever `allow` says: names or patterns.
    pub deny: Vec<String>,
    /// The walls around the program of a stdio server; unless they are off, there are some.
    pub sandbox: SandboxSetting,
    /// What its tools do, by name or pattern. One that is not named may change anything.
    pub effects: BTreeMap<String, McpEffect>,
}

impl McpSpec {
    /// Is it asked over the network, or does its sandbox lead there?
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
    /// The effect class of such a tool.
    pub const fn class(self) -> Effect {
        match self {
            Self::Read => Effect::Read,
            Self::Idempotent => Effect::Idempotent,
            Self::Effect | Self::Send => Effect::Effect,
        }
    }
}

impl McpSpec {
    /// `start_timeout` where nothing is said of it.
    pub const START_TIMEOUT: SignedDuration = SignedDuration::from_secs(60);
}

/// `[tools.…]`: a named, bounded instance of a built-in tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Of which built-in tool.
    pub kind: ToolKind,
    pub settings: ToolSettings,
}

/// `[notify.…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct NotifyTarget {
    pub kind: NotifyTargetKind,
    /// The most messages of a minute; what waits longer is joined. `None`: no bound.
    pub per_minute: Option<u32>,
    /// When only what is critical is sent.
    pub quiet: Option<QuietHours>,
}

/// Where a notification goes.
#[derive(Clone, Debug, PartialEq)]
pub enum NotifyTargetKind {
    /// An HTTP POST of JSON.
    Webhook(WebhookSpec),
    /// A message in the words of a service.
    Service(ServiceSpec),
    /// A program that gets the message as JSON on standard input.
    Command(super::agent::CommandSpec),
    /// A line of JSON appended to a file.
    File(PathBuf),
    Desktop,
    Email(EmailSpec),
}

/// Where a webhook is, and what it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookSpec {
    /// Address; often a secret itself.
    pub url: EnvValue,
    pub headers: BTreeMap<String, EnvValue>,
    /// Signs what is sent by the scheme of the Standard Webhooks.
    pub secret: Option<SecretRef>,
    /// What is sent instead of all there is of a message, with places.
    pub body: Option<String>,
}

/// An account of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    pub kind: NotifyType,
    /// The keys that the table has, by the names of its [`ServicePreset`].
    pub keys: BTreeMap<&'static str, EnvValue>,
}

impl ServiceSpec {
    /// What is known of the service.
    ///
    /// # Panics
    /// If there is no such service: there is an account of those of the table only.
    pub fn preset(&self) -> &'static ServicePreset {
        ServicePreset::of(self.kind).expect("a service of the table")
    }
}

/// How mail is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct EmailSpec {
    /// Addresses of the receivers; at least one.
    pub to: Vec<String>,
    /// Address of the sender.
    pub from: String,
    /// Name or address of the server.
    pub host: String,
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: SmtpTls,
    /// Name and password, if it wants some.
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

/// `[budget]`: for the whole fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BudgetSpec {
    /// US dollars of a day.
    pub usd_per_day: Option<f64>,
    /// US dollars of a month.
    pub usd_per_month: Option<f64>,
    /// Tokens of a day.
    pub tokens_per_day: Option<u64>,
    /// Model requests of a day.
    pub requests_per_day: Option<u64>,
    /// Part of a budget at which a warning is recorded.
    pub warn_at: Option<f64>,
}
