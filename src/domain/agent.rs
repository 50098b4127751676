//! An agent, as the configuration defines it, validated.
//!
//! An invalid [`AgentSpec`] does not exist: only `config` creates them. Large or rare parts are behind a pointer,
//! so that 100,000 agents stay small.
use super::deliver::DeliverSpec;
use super::expected::Expect;
use super::memory::{Memory, MemoryStore};
use super::ping::PingSpec;
use super::skill::SkillSpec;
use super::words::words;
use super::{
    ActiveTimes, AgentId, ConfigHash, Control, CronSchedule, EventType, NodeWanted, ParamsSpec, Sandbox,
};
use crate::domain::file_trigger::FileTrigger;
use crate::domain::mcp_trigger::McpTrigger;
use crate::domain::run::RunStatus;
use crate::domain::runner::{ResumePolicy, RunnerQuery};
use crate::domain::secret_ref::EnvValue;
use crate::domain::tool_use::{Approval, ApprovalRoute, ToolUse};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A validated agent: schedule, conditions, body, limits, proofs, notifications.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSpec {
    pub id: AgentId,
    pub description: Option<Box<str>>,
    pub schedule: Schedule,
    /// When it may start automatically; `None`: at any time.
    pub active_times: Option<Arc<ActiveTimes>>,
    /// Parameters of its runs; `None`: there are none.
    pub params: Option<Arc<ParamsSpec>>,
    /// Upper bound of the delay added to each slot, deterministic per agent and slot.
    pub jitter: SignedDuration,
    /// Position of the first slot of an interval.
    pub first_run: FirstRun,
    /// What happens to missed slots.
    pub catch_up: CatchUp,
    /// What happens to a slot that is due while a run is in flight.
    pub overlap: Overlap,
    /// False: it is stopped when first seen.
    pub enabled: bool,
    pub body: Body,
    /// Which of its runs are recorded.
    pub history: History,
    /// Decides whether a run is needed.
    pub gate: Option<Arc<Check>>,
    /// Proofs that must all hold after the body.
    pub success_when: Arc<[Check]>,
    pub limits: Arc<Limits>,
    /// Retry policy.
    pub retry: RetrySpec,
    /// When its slots are refused after failures.
    pub circuit: CircuitSpec,
    /// Agents with the same lock never run at the same time.
    pub lock: Option<Arc<str>>,
    /// Notifications.
    pub notify: Option<Arc<NotifySpec>>,
    /// Recipients of its results.
    pub deliver: Option<Arc<DeliverSpec>>,
    /// It is late if no run has completed this long after a slot. `None`: never.
    pub late_after: Option<SignedDuration>,
    /// A run that takes longer is slow. `None`: none is.
    pub slow_after: Option<SignedDuration>,
    /// External monitor that is pinged about its runs.
    pub ping: Option<Arc<PingSpec>>,
    /// Labels of the nodes it may run on; `None`: the leader.
    pub on_nodes: Option<Arc<NodeWanted>>,
    /// What happens to its programs while the daemon can't reach the database; `None`: they are stopped.
    pub when_cut_off: Option<WhenCutOff>,
    /// What its programs may request of the daemon; `None`: nothing.
    pub control: Option<Control>,
    /// The justification for combining untrusted input, private data, and outward effects.
    pub accept_risk: Option<Box<str>>,
    /// Identifies this configuration of the agent.
    pub config_hash: ConfigHash,
    /// Line of `agents.toml` where it is defined, from 1.
    pub line: u32,
}

impl AgentSpec {
    /// Placeholder for the output of the gate.
    pub const GATE: &str = "{gate}";

    /// Returns whether the body or the delivery contains the placeholder for the gate's output. `query` replaces
    /// the configured one.
    pub fn uses_gate(&self, query: Option<&str>) -> bool {
        let runs_with_it = match &self.body {
            Body::Query(spec) => query.unwrap_or(&spec.query).contains(Self::GATE),
            Body::Runner(spec) => query.unwrap_or(&spec.query).contains(Self::GATE),
            Body::Tool(call) => call.args.to_string().contains(Self::GATE),
            Body::Command(_) => false,
        };
        runs_with_it || self.deliver.as_ref().is_some_and(|deliver| deliver.uses_gate())
    }

    /// Returns the tools that its body, its gate and its proofs name.
    pub fn tool_names(&self) -> Vec<&str> {
        let of_body = match &self.body {
            Body::Tool(call) => vec![call.tool.as_str()],
            body => body.tool_use().iter().flat_map(|uses| uses.tools).map(String::as_str).collect(),
        };
        let checks = self.gate.iter().map(|gate| &**gate).chain(self.success_when.iter());
        let of_checks = checks.filter_map(|check| match &check.body {
            CheckBody::Tool(call) => Some(call.tool.as_str()),
            CheckBody::Command(_) => None,
        });
        of_body.into_iter().chain(of_checks).collect()
    }

    /// Returns whether its programs are stopped while another daemon may lead, or take over what this node is
    /// running.
    pub fn stops_when_cut_off(&self) -> bool {
        matches!(self.body, Body::Command(_) | Body::Runner(_))
            && self.when_cut_off.unwrap_or(WhenCutOff::Stop) == WhenCutOff::Stop
    }

    /// Returns the session of its conversations: a shared one, or its own.
    pub fn session(&self) -> Arc<str> {
        match &self.body {
            Body::Query(query) if query.session_id.is_some() => {
                Arc::from(query.session_id.as_deref().unwrap_or_default())
            }
            _ => Arc::from(self.id.as_str()),
        }
    }

    /// Returns where its session and its notes are stored.
    pub fn memory_store(&self) -> MemoryStore {
        match &self.body {
            Body::Query(query) => query.memory.store(),
            Body::Command(_) | Body::Tool(_) | Body::Runner(_) => MemoryStore::Database,
        }
    }
}

/// When an agent is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// Only manually.
    Manual,
    /// At anchor + k × period; never drifts.
    Every(SignedDuration),
    /// This long after the end of the previous run.
    After(SignedDuration),
    /// By a cron expression in a time zone.
    Cron(Arc<CronSchedule>),
    At(Timestamp),
    /// When an event of this kind is recorded.
    On(EventTrigger),
    /// When each of several agents has ended a run.
    Join(Arc<Join>),
    /// When a file has arrived.
    File(Arc<FileTrigger>),
    /// On a delivery to the webhook of this name.
    Webhook(Arc<str>),
    /// When an MCP server has an event.
    Mcp(Arc<McpTrigger>),
    /// By each of these, which are intervals, cron expressions and instants. An instant that several of them name
    /// is one slot.
    Any(Arc<[Schedule]>),
}

impl Schedule {
    /// Returns the distance between its slots, if fixed.
    pub fn period(&self) -> Option<SignedDuration> {
        match self {
            Self::Every(period) | Self::After(period) => Some(*period),
            Self::Manual
            | Self::Cron(_)
            | Self::At(_)
            | Self::On(_)
            | Self::Join(_)
            | Self::File(_)
            | Self::Webhook(_)
            | Self::Mcp(_)
            | Self::Any(_) => None,
        }
    }

    /// Returns the last instant, if the schedule consists of instants only: an agent past it is done.
    pub fn last_moment(&self) -> Option<Timestamp> {
        let moment = |part: &Self| if let Self::At(at) = part { Some(*at) } else { None };
        let moments: Option<Vec<Timestamp>> = self.parts().iter().map(moment).collect();
        moments?.into_iter().max()
    }

    /// Returns whether it has slots. Otherwise runs start manually, or by events.
    pub fn has_slots(&self) -> bool {
        !matches!(self, Self::Manual | Self::On(_) | Self::Join(_)) && !self.is_from_outside()
    }

    /// Returns whether runs are started by arrivals from outside the fleet. A later arrival never makes up for one
    /// that is left out.
    pub fn is_from_outside(&self) -> bool {
        matches!(self, Self::File(_) | Self::Webhook(_) | Self::Mcp(_))
    }

    /// Returns the schedules that it consists of.
    pub fn parts(&self) -> &[Schedule] {
        match self {
            Self::Any(parts) => parts,
            one => std::slice::from_ref(one),
        }
    }

    /// Returns the period of its interval, if it has one.
    pub fn interval(&self) -> Option<SignedDuration> {
        self.parts().iter().find_map(|part| if let Self::Every(period) = part { Some(*period) } else { None })
    }

    /// Returns the schedule as one line for people: `every 1m`, `cron 0 9 * * 1-5 (Europe/Berlin)`. Different
    /// schedules have different lines.
    pub fn describe(&self) -> String {
        match self {
            Self::Manual => "manual".into(),
            Self::Every(period) => format!("every {}", exact_duration(*period)),
            Self::After(delay) => format!("{} after the last run", exact_duration(*delay)),
            Self::Cron(cron) => {
                let both = if cron.is_both_days() { " where both days fit" } else { "" };
                format!("cron {}{both} ({})", cron.expression(), cron.zone_name())
            }
            Self::At(at) => format!("at {at}"),
            Self::On(EventTrigger { event, agent, untrusted }) => {
                let of = agent.as_ref().map(|agent| format!(" of {agent}")).unwrap_or_default();
                format!("on {event}{of}{}", if *untrusted { ", untrusted ones too" } else { "" })
            }
            Self::Join(join) => format!("on {}, within {}", join.describe(), exact_duration(join.within)),
            Self::Webhook(name) => format!("on webhook {name}"),
            Self::Mcp(mcp) => {
                let args = if mcp.args.is_empty() {
                    String::new()
                } else {
                    format!(" with {}", serde_json::Value::Object(mcp.args.clone()))
                };
                format!("on {}{args}, asked every {}", mcp.describe(), exact_duration(mcp.every))
            }
            Self::File(file) => {
                format!("on {}, settled for {}", file.describe(), exact_duration(file.settle))
            }
            Self::Any(parts) => {
                let parts: Vec<String> = parts.iter().map(Self::describe).collect();
                parts.join(", or ")
            }
        }
    }
}

/// Formats a duration in all its units, largest first, down to the microsecond.
fn exact_duration(span: SignedDuration) -> String {
    let total = span.as_micros();
    let parts = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1000, "ms"),
        (1, "us"),
    ];
    let mut text = String::new();
    let mut rest = total;
    for (size, unit) in parts {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// The event that starts an agent with `on`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTrigger {
    pub event: EventType,
    /// Only events of this agent.
    pub agent: Option<AgentId>,
    /// Includes reports of runs that had read data from outside.
    pub untrusted: bool,
}

/// What starts an agent that waits for several others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Each of them has to end a run. At least one, without duplicates.
    pub after: Vec<AgentId>,
    pub status: JoinStatus,
    /// Maximum time between the first and the last of these ends.
    pub within: SignedDuration,
}

impl Join {
    /// Default of `within`.
    pub const WITHIN: SignedDuration = SignedDuration::from_hours(24);

    /// Returns a text such as `scan and triage completed`.
    pub fn describe(&self) -> String {
        let names: Vec<&str> = self.after.iter().map(AgentId::as_str).collect();
        format!("{} {}", names.join(" and "), self.status)
    }
}

words! {
    /// How a run has to end to count for agents that wait for it.
    JoinStatus {
        /// It completed.
        Completed = "completed",
        /// It failed, in whatever way.
        Failed = "failed",
        /// However it ended.
        Ended = "ended",
    }
}

impl JoinStatus {
    /// Returns whether a run with this end counts.
    pub fn takes(self, status: RunStatus) -> bool {
        match self {
            Self::Completed => status == RunStatus::Completed,
            Self::Failed => status.is_failure(),
            Self::Ended => status.is_final(),
        }
    }
}

words! {
    /// Where the first slot of an interval lies.
    FirstRun {
        /// At the anchor: the moment of the first start.
        Now = "now",
        /// One period later.
        AfterInterval = "after_interval",
    }
}

/// What happens to missed slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUp {
    /// Which of them are caught up.
    pub policy: CatchUpPolicy,
    /// With `all`: the maximum number, of the newest.
    pub max: u32,
    /// Slots older than this are not caught up. `None`: no limit.
    pub max_age: Option<SignedDuration>,
    /// Period over which catch-up runs are spread. `None`: it depends on their number.
    pub spread: Option<SignedDuration>,
}

words! {
    /// Which missed slots are made up for.
    CatchUpPolicy {
        /// The newest.
        Latest = "latest",
        /// Each, oldest first.
        All = "all",
        /// None.
        None = "none",
    }
}

words! {
    /// What happens to the programs of runs when the daemon is cut off from the server of its database for so long that another
    /// daemon may lead.
    WhenCutOff {
        /// They are stopped, and their runs count as interrupted.
        Stop = "stop",
        /// They go on: for work that does no harm when it is done twice.
        Finish = "finish",
    }
}

words! {
    /// What happens to a slot that comes while a run of the agent is in flight.
    Overlap {
        /// The slot is skipped.
        Skip = "skip",
        /// One run waits.
        Queue = "queue",
        /// The run in flight is cancelled, then the new one starts.
        CancelPrevious = "cancel_previous",
        /// Both run.
        Parallel = "parallel",
    }
}

words! {
    /// Which runs leave a record.
    History {
        /// All.
        All = "all",
        /// Only of a probe: a run that finds all well, as the run before it did, is counted and no more.
        Changes = "changes",
    }
}

/// What a run executes.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A language model with tools.
    Query(Arc<QuerySpec>),
    Tool(Arc<ToolCallSpec>),
    Command(Arc<CommandSpec>),
    /// A query that an agent program carries out.
    Runner(Arc<RunnerQuery>),
}

impl Body {
    /// Returns whether it uses a language model, directly or through an agent program.
    pub fn asks_models(&self) -> bool {
        matches!(self, Self::Query(_) | Self::Runner(_))
    }

    /// Returns the tools that a model or an agent program may call; `None`: there is neither.
    pub fn tool_use(&self) -> Option<ToolUse<'_>> {
        match self {
            Self::Query(query) => Some(ToolUse {
                tools: &query.tools,
                approve: &query.approve,
                approval: query.approval,
                route: query.route.as_deref(),
                sinks: &query.sinks,
            }),
            Self::Runner(query) => Some(query.handed.as_use()),
            Self::Tool(_) | Self::Command(_) => None,
        }
    }

    /// The skills of its model or agent program.
    pub fn skills(&self) -> &[Arc<SkillSpec>] {
        match self {
            Self::Query(query) => &query.skills,
            Self::Runner(query) => &query.skills,
            Self::Tool(_) | Self::Command(_) => &[],
        }
    }

    /// Does a run that was cut short go on where it was, in the same attempt?
    pub fn goes_on(&self) -> bool {
        match self {
            Self::Query(_) => true,
            Self::Runner(query) => query.resume != ResumePolicy::Never,
            Self::Tool(_) | Self::Command(_) => false,
        }
    }
}

/// A query for a language model.
#[derive(Clone, Debug, PartialEq)]
pub struct QuerySpec {
    /// The task. May contain `{gate}` and `{event.…}`.
    pub query: String,
    pub system_instruction: Option<String>,
    /// Name of a `[models.…]` table.
    pub model: String,
    /// Names of the tools that it may call.
    pub tools: Vec<String>,
    /// What it remembers between runs.
    pub memory: Memory,
    /// Agents with the same id share a session.
    pub session_id: Option<String>,
    /// Tools whose calls need approval.
    pub approve: Vec<String>,
    /// What happens to such a call.
    pub approval: Approval,
    /// Who is asked, and for how long.
    pub route: Option<Arc<ApprovalRoute>>,
    /// What stays allowed after untrusted or private data was read: tools and addresses.
    pub sinks: Vec<String>,
    /// JSON Schema of the answer.
    pub output_schema: Option<serde_json::Value>,
    /// What it can read of how things are done.
    pub skills: Vec<Arc<SkillSpec>>,
}

/// One tool call: name and arguments, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCallSpec {
    /// Name of a built-in tool or of a `[tools.…]` table.
    pub tool: String,
    /// A JSON object. Strings in it may contain `{event.…}`.
    pub args: serde_json::Value,
}

/// A program to run.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandSpec {
    /// Program and arguments. A string in the configuration becomes `/bin/sh -c STRING`.
    pub argv: Vec<String>,
    /// Added to the cleared environment. Values may be secrets.
    pub env: BTreeMap<String, EnvValue>,
    /// Working directory, absolute.
    pub cwd: PathBuf,
    /// That is the folder of the configuration, since nothing was said of it. It lies elsewhere on another machine, so it is
    /// no part of what the agent is.
    pub default_cwd: bool,
    /// What is written to its standard input; nothing: `/dev/null`.
    pub stdin: Option<String>,
    /// Its sandbox; `None`: it is not confined.
    pub sandbox: Option<Arc<Sandbox>>,
}

/// A gate or a proof.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub body: CheckBody,
    /// Expectations on its result. Empty: exit status 0, or a tool that does not fail.
    pub expect: Vec<Expect>,
    /// Gate only: fields that identify an item; items seen before are left out.
    pub novel_by: Vec<String>,
}

/// What a check runs.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckBody {
    Tool(ToolCallSpec),
    Command(CommandSpec),
}

/// Limits of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub timeout: SignedDuration,
    /// Over all attempts and waits of a run.
    pub total_timeout: Option<SignedDuration>,
    /// Per tool call.
    pub tool_call_timeout: SignedDuration,
    /// Model requests per run.
    pub request_limit: u64,
    /// Input and output tokens per run.
    pub total_tokens_limit: u64,
    /// Steps per run.
    pub max_steps: u64,
    /// US dollars per run.
    pub max_usd_per_run: Option<f64>,
    /// US dollars per day.
    pub usd_per_day: Option<f64>,
    /// Tokens per day.
    pub tokens_per_day: Option<u64>,
    /// Model requests per day.
    pub requests_per_day: Option<u64>,
    /// Bytes of a command's output that are kept: half from the beginning, half from the end.
    pub max_output: u64,
}

/// Retry policy: whether and when a failed attempt is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySpec {
    /// Number of attempts after the first.
    pub max: u32,
    pub backoff: Backoff,
    pub initial: SignedDuration,
    pub max_delay: SignedDuration,
    /// The configuration sets a retry policy: then a command's exit status is retried as well.
    pub explicit: bool,
}

words! {
    /// How the delay between attempts grows.
    Backoff {
        /// Doubles each time.
        Exponential = "exponential",
        /// Not at all.
        Fixed = "fixed",
    }
}

/// When an agent's slots are refused after failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitSpec {
    /// Number of consecutive failed runs. 0: never.
    pub open_after: u32,
    /// Time until one run is tried again.
    pub cooldown: SignedDuration,
}

/// Notifications of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifySpec {
    /// Names of `[notify.…]` tables.
    pub to: Vec<String>,
    pub on: Vec<TellOn>,
    /// Interval of reminders about an ongoing problem.
    pub repeat: SignedDuration,
}

words! {
    /// What people can be notified of.
    TellOn {
        /// A run failed, after its retries.
        Failed = "failed",
        /// A run succeeded after failures that people were notified of.
        Recovered = "recovered",
        /// Too many failures in a row.
        CircuitOpened = "circuit_opened",
        /// A budget is used up.
        BudgetExhausted = "budget_exhausted",
        /// Slots were missed and not caught up.
        Missed = "missed",
        /// An incident opened.
        IncidentOpened = "incident_opened",
        /// An incident ended.
        IncidentResolved = "incident_resolved",
        /// Calls wait for a person.
        ApprovalRequested = "approval_requested",
        /// A run completed.
        Completed = "completed",
        /// A slot was due, and no run has completed since then.
        Late = "late",
        /// A run takes longer than it should.
        Slow = "slow",
    }
}
