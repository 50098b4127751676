//! Views of the daemon, of usage and of subscriptions.
use super::FleetLeadView;
use crate::domain::described;
use crate::domain::{AgentId, Desired, ExportState, LoggedEvent, StreamFormat, TellOn, Usage};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

described! {
    /// The answer of a method that has nothing to say.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct NoView {}

    /// What both sides agreed on.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct HelloView {
        /// The version that is spoken from now on.
        pub protocol: u32,
        /// All versions that the daemon speaks.
        pub protocols: Vec<u32>,
        /// Name and release of the daemon.
        pub server: String,
        /// Process number of the daemon.
        pub pid: u32,
        /// Identity of its database: event numbers of two databases can't be compared.
        pub database: String,
        /// What the database was a copy of, newest first: up to an event the numbers are the same.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub ancestors: Vec<AncestorView>,
        /// The client is a program of an agent of this daemon, or was started by one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub of_agent: bool,
    }

    /// A database of which another one was a copy.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct AncestorView {
        /// Identity of that database.
        pub database: String,
        /// The newest event that both have.
        pub until: u64,
    }

    /// The daemon's time.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct PongView {
        /// The daemon's wall clock.
        pub now: Timestamp,
    }

    /// What was used.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct UsageView {
        /// The agent, the model, the day or the hour (its beginning, in the daemon's zone), as it was asked for.
        pub key: String,
        /// Whose it was, if it was summed up by a time and by agent or model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub of: Option<String>,
        /// Runs that ended.
        pub runs: u64,
        /// What these runs used.
        pub usage: Usage,
        /// Models of it that have no `price`: what they used is not in its dollars.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub without_price: Vec<String>,
        /// By agent: its limits of the day.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub limits: Vec<LimitView>,
    }

    /// A limit of a day or a month, and what is left of it.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct LimitView {
        /// Its key in the configuration: `usd_per_day`.
        pub limit: String,
        /// How much it allows.
        pub allowed: f64,
        /// How much is used, or held for requests under way.
        #[serde(serialize_with = "crate::domain::rounded")]
        pub used: f64,
        /// How much of that is only held: the worst that requests under way may take.
        #[serde(default, serialize_with = "crate::domain::rounded")]
        pub held: f64,
        /// What is left of it.
        #[serde(serialize_with = "crate::domain::rounded")]
        pub left: f64,
    }

    /// The daemon.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct DaemonView {
        /// Process number of the daemon.
        pub pid: u32,
        /// Its release.
        pub version: String,
        /// Since when it has been running.
        pub started_at: Timestamp,
        /// `ok`, `degraded` (can't write), `stopping`, or `standby`: another daemon leads.
        pub state: String,
        /// Why, if it is not ok.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub problem: Option<String>,
        /// Path of the socket where it listens.
        pub socket: String,
        /// Path of its state folder.
        pub state_dir: String,
        /// Path of its configuration file.
        pub config_path: String,
        /// Hash of its configuration, 16 hexadecimal digits.
        pub config_hash: String,
        /// When that configuration was applied.
        pub config_at: Timestamp,
        /// The revision of the fleet's configuration that is in force; absent: `config_path` is. The file then only says
        /// what is of its machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub config_revision: Option<ConfigView>,
        /// Why the newest file was refused, if it was.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub config_errors: Vec<String>,
        /// There is no such file any more; what it said is still in force.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub config_missing: bool,
        /// The newest file may do more than a person has approved, and waits for `bgagent trust`; `config_errors` says what.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub config_waits: bool,
        /// How many agents are in each state.
        pub agents: BTreeMap<Desired, u64>,
        /// Agents that are failing or whose circuit is open.
        pub failing: u64,
        /// How many runs are in flight.
        pub running: u64,
        /// How many runs wait for a place, a lock or their time.
        pub queued: u64,
        /// How many runs may be in flight at a time on its machine.
        pub max_parallel_runs: u64,
        /// Number of the newest event.
        pub newest_seq: u64,
        /// Number of the oldest event that is kept.
        pub oldest_seq: u64,
        /// Events a second over the last minute.
        pub events_per_second: f64,
        /// Size of the database with its log, in bytes.
        pub database_bytes: u64,
        /// What the folders of agent programs' runs take, once that was looked at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub workspaces: Option<WorkspacesView>,
        /// Where the database is: its file, or its server without user and password.
        #[serde(default)]
        pub store: String,
        /// Who leads the daemons that share the records, if those are on a server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub fleet: Option<FleetLeadView>,
        /// How many clients are connected.
        pub clients: u64,
        /// When the next slot is due.
        pub next_due: Option<Timestamp>,
        /// How many incidents are open.
        pub incidents: u64,
        /// How many messages wait in the outbox.
        pub outbox: u64,
        /// Targets for which messages wait, or were given up within two days.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub deliveries: Vec<DeliveryView>,
        /// The copy of the log in Redis, if there is to be one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub redis: Option<RedisView>,
        /// The memory of agents in Redis, if there is to be one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub memory: Option<RedisMemoryView>,
        /// Where metrics are read, if they are to be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub metrics: Option<MetricsView>,
        /// How sending traces of runs goes, if they are to be sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub traces: Option<TracesView>,
        /// The fleet's budgets, and what is left of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub budget: Vec<LimitView>,
        /// Agents that wait for what can't come: files in a folder that can't be looked at, events of an MCP server that can't be
        /// asked for them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub inboxes: Vec<InboxView>,
        /// Why not all folders that files arrive in are watched: those are looked at once a minute.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub unwatched: Option<String>,
        /// The listener for webhooks, if there is to be one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub webhooks: Option<WebhooksView>,
        /// How many tool calls wait for a person.
        #[serde(default)]
        pub approvals: u64,
        /// How many agents that assistants have proposed wait for a person.
        #[serde(default)]
        pub proposals: u64,
        /// MCP servers that agents use and nobody has trusted yet: their tools are off.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub untrusted: Vec<UntrustedServerView>,
        /// Skills that are not used, since they are not what a person has trusted or can't be read.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub skills: Vec<UnusedSkillView>,
        /// What hinders control groups around its programs; empty: nothing.
        #[serde(default, skip_serializing_if = "ControlGroupsView::is_empty")]
        pub control_groups: ControlGroupsView,
        /// Limits of sandboxes that can't be enforced here: a program with one is not started.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub unheld_limits: Vec<UnheldLimitView>,
    }

    /// What the folders of agent programs' runs take in the state folder; looked at every ten minutes.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct WorkspacesView {
        /// All of them, in bytes.
        pub bytes: u64,
        /// What they may take: `retention.workspaces`.
        pub bound: u64,
        /// How many are of runs that are not over.
        pub runs: u64,
        /// How many hold work that could not be brought back.
        pub kept: u64,
        /// What sessions take of it that continue in the next run, in bytes.
        pub sessions: u64,
        /// Not all of it could be counted: it is more than `bytes`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub cut: bool,
    }

    /// The listener for webhooks.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct WebhooksView {
        /// Where it listens, or is to.
        pub address: String,
        /// Why it does not; null: it does.
        pub problem: Option<String>,
        /// Webhooks of which several deliveries in a row were not taken.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub refused: Vec<HookTroubleView>,
    }

    /// What an agent waits for from outside, and that can't come.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct InboxView {
        /// The agent that waits for it.
        pub agent_id: AgentId,
        /// What is wrong.
        pub problem: String,
        /// Since when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub since: Option<Timestamp>,
    }

    /// A webhook whose deliveries are not taken.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct HookTroubleView {
        /// Name of the `[webhooks.…]` table.
        pub webhook: String,
        /// How many were not taken since the last one that was.
        pub refused: u64,
        /// Why the last one was not.
        pub last: String,
        /// Since when.
        pub since: Timestamp,
        /// True if none can be checked, since the secret is not to be had.
        pub blind: bool,
    }

    /// The state of a notification target.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct DeliveryView {
        /// Name of the `[notify.…]` table.
        pub target: String,
        /// How many messages wait for it.
        pub waiting: u64,
        /// How many messages were given up within two days.
        pub given_up: u64,
        /// When the oldest of them was written.
        pub oldest: Timestamp,
        /// How often one that waits was tried, at the most.
        pub tries: u32,
        /// When the next one is tried; null: none waits.
        pub next_try: Option<Timestamp>,
        /// Why the newest that failed did; null: none of them has failed.
        pub error: Option<String>,
    }

    /// A message that was sent by hand.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct TestNotificationView {
        /// Name of the `[notify.…]` table.
        pub target: String,
        /// What kind of message it was.
        pub kind: TellOn,
        /// The receiver has taken it.
        pub delivered: bool,
        /// Why not, in the receiver's own words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub error: Option<String>,
        /// How long it took, in milliseconds.
        pub took_ms: u64,
    }

    /// What hinders control groups around the programs of a daemon.
    #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct ControlGroupsView {
        /// Why programs have no groups of their own: then their keepers alone end them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub none_because: Option<String>,
        /// Why `limits.memory` can't be held.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub no_memory_because: Option<String>,
        /// Why `limits.processes` can't be held.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub no_processes_because: Option<String>,
    }

    /// A limit of a sandbox that can't be held.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct UnheldLimitView {
        /// The table of the program: `agents.report`.
        pub program: String,
        /// The key: `memory`, `processes`.
        pub limit: String,
        /// Why, and what to do.
        pub because: String,
    }

    /// The state of the copy of the log in Redis.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RedisView {
        /// Server and database, without user and password.
        pub url: String,
        /// Key of the stream.
        pub stream: String,
        /// What its entries look like.
        pub format: StreamFormat,
        /// Whether events get there.
        pub state: ExportState,
        /// Since when it has been in this state, or without a connection.
        pub since: Timestamp,
        /// What is in the way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub problem: Option<String>,
        /// Number of the last event that is there; null: it was not reached since the daemon's start.
        pub position: Option<u64>,
        /// How many events are not there yet; null: it is not known where it stands.
        pub lag_events: Option<u64>,
        /// How long ago the first of them happened, in seconds; 0 if there is none.
        pub lag_secs: u64,
    }

    /// How it stands with what agents remember in Redis.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RedisMemoryView {
        /// Server and database, without user and password.
        pub url: String,
        /// What all keys there begin with.
        pub prefix: String,
        /// Whether changes get there.
        pub state: ExportState,
        /// Since when the connection is there, or gone.
        pub since: Timestamp,
        /// What is in the way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub problem: Option<String>,
        /// How many changes are not there yet.
        pub waiting: u64,
    }

    /// Where metrics are read.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct MetricsView {
        /// Address and port of the listener.
        pub address: String,
        /// Why nobody can read there yet; it is tried again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub problem: Option<String>,
    }

    /// How sending traces goes. Counts are those since the daemon's start.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct TracesView {
        /// Where they are sent to.
        pub url: String,
        /// Spans that the collector has taken.
        pub sent: u64,
        /// Spans that were given up: too many waited, or the collector refused them.
        pub dropped: u64,
        /// Spans that wait.
        pub waiting: u64,
        /// Why they do; it is tried again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub problem: Option<String>,
    }

    /// A skill that is not used.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct UnusedSkillView {
        /// Its name.
        pub skill: String,
        /// Its folder.
        pub folder: String,
        /// Agents that have it: their runs fail.
        pub agents: Vec<AgentId>,
        /// Why it is not used: half a sentence about it.
        pub problem: String,
    }

    /// An MCP server that nobody has trusted yet.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct UntrustedServerView {
        /// Name of its `[mcp.…]` table.
        pub server: String,
        /// Agents that name tools of it: a run that needs one fails.
        pub agents: Vec<AgentId>,
    }

    /// What a reload did.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct ReloadView {
        /// False if the file says what was in force already.
        pub changed: bool,
        /// Agents that were not there before.
        pub added: Vec<AgentId>,
        /// Agents that are different now.
        pub modified: Vec<AgentId>,
        /// Agents that are gone.
        pub removed: Vec<AgentId>,
        /// What `bgagent check` would warn of, rendered.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub warnings: Vec<String>,
        /// The revision of the fleet's configuration that is in force: the file only says what is of its machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub revision: Option<u64>,
        /// If nothing changed: the event of the last time that something did. The file is watched, so
        /// that may have been a moment ago.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub last: Option<LoggedEvent>,
    }

    /// What applying a configuration did, or would do.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct ApplyView {
        /// The newest revision: of a `dry_run` the one before; 0: there is none.
        #[serde(default)]
        pub revision: u64,
        /// False if the fleet has this configuration already: then there is no new revision.
        pub changed: bool,
        /// Agents that were not there before.
        pub added: Vec<AgentId>,
        /// Agents that are different.
        pub modified: Vec<AgentId>,
        /// Agents that are gone.
        pub removed: Vec<AgentId>,
        /// Of a `dry_run`: what it may do that the configuration in force may not.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub rights: Vec<String>,
        /// What `bgagent check` would warn of where the leader runs, rendered.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub warnings: Vec<String>,
    }

    /// A revision of the configuration of the fleet.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct ConfigView {
        /// Its number.
        pub revision: u64,
        /// When it was applied.
        pub at: Timestamp,
        /// Who applied it, and at which node.
        pub by: String,
        /// Where it came from: a path on the machine where it was applied.
        pub origin: String,
        /// Hash of its text, 16 hexadecimal digits.
        pub hash: String,
        /// It was withdrawn: the file of whichever node leads is in force.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub withdrawn: bool,
        /// Its text, if one revision was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub text: Option<String>,
    }

    /// A subscription.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct SubscriptionView {
        /// Its number; it stands in each notification.
        pub subscription: u64,
        /// Number of the newest event when it began.
        pub newest_seq: u64,
        /// `from` was beyond the event that comes next: it goes on after this one instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub instead_after: Option<u64>,
    }

    /// The parameters of the notification `event`.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct EventNote {
        /// Number of the subscription.
        pub subscription: u64,
        /// What happened.
        pub event: LoggedEvent,
    }

    /// The parameters of the notifications `live` and `end`.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct PositionNote {
        /// Number of the subscription.
        pub subscription: u64,
        /// Everything up to this event has been shown.
        pub seq: u64,
    }

    /// The parameters of the notification `gap`.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct GapNote {
        /// Number of the subscription.
        pub subscription: u64,
        /// Number of the first event that is gone.
        pub from: u64,
        /// Number of the last event that is gone.
        pub to: u64,
    }
}

impl ControlGroupsView {
    /// Returns whether nothing prevents control groups.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
