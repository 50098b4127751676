//! What agents are made to do: started, paused, run, stopped.
use crate::cli::complete;
use clap::Args;
use clap_complete::ArgValueCompleter;

/// Which agents: names and globs, or all.
#[derive(Debug, Args)]
pub struct Targets {
    /// Names of agents, or globs: 'news-*'
    #[arg(value_name = "AGENT", required_unless_present = "all", add = ArgValueCompleter::new(complete::agents))]
    pub agents: Vec<String>,
    /// All agents
    #[arg(long, conflicts_with = "agents")]
    pub all: bool,
}

/// `bgagent start`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent start news\n  bgagent start 'news-*' mail\n  bgagent start --all"
)]
pub struct StartArgs {
    /// Which.
    #[command(flatten)]
    pub targets: Targets,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `bgagent pause`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent pause news --for 2h\n  bgagent pause --all --until 08:00 --reason \"maintenance\"\n  bgagent pause triage --until 2026-12-24T18:00"
)]
pub struct PauseArgs {
    /// Which.
    #[command(flatten)]
    pub targets: Targets,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Resume by itself after this long: 90s, 30m, 2h, 7d
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
    pub pause_for: Option<String>,
    /// Resume by itself at this time: 10m (from now), RFC 3339, local time, or HH:MM
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// `bgagent resume`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent resume news\n  bgagent resume --all      restores what was active before `pause --all`"
)]
pub struct ResumeArgs {
    /// Which.
    #[command(flatten)]
    pub targets: Targets,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `bgagent stop`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent stop news             its run gets TERM, after 5 s KILL\n  bgagent stop news --drain     its run may finish\n  bgagent stop --all --now      kill at once"
)]
pub struct StopArgs {
    /// Which.
    #[command(flatten)]
    pub targets: Targets,
    /// Let a run in flight finish
    #[arg(long, conflicts_with = "now")]
    pub drain: bool,
    /// Kill a run in flight at once
    #[arg(long)]
    pub now: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `bgagent run`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent run news\n  bgagent run news --wait --timeout 5m\n  bgagent run triage --query \"Only the disks, please\"\n  bgagent run report --param day=2026-11-01 --param n=3\n\nWith --wait: 0 if the run completed, 1 if not, 7 if it took longer than the timeout."
)]
pub struct RunArgs {
    /// Whose
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: String,
    /// Ask this instead of the configured query; a command gets it as BGAGENT_QUERY
    #[arg(long, value_name = "QUERY")]
    pub query: Option<String>,
    /// A parameter of the run; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// Call only tools that read; show what the others would have done
    #[arg(long)]
    pub rehearse: bool,
    /// Follow the run and exit according to its outcome
    #[arg(long)]
    pub wait: bool,
    /// Wait at most this long; the run goes on
    #[arg(long, value_name = "DURATION", requires = "wait")]
    pub timeout: Option<String>,
}

/// `bgagent backfill`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent backfill report --from 2026-11-01 --to 2026-11-07 --plan\n  bgagent backfill report --from 2026-11-01 --to 2026-11-07 --max-usd 5\n\nEach past slot runs once, in order, one at a time; scheduled runs take their turns in between. A slot that has run is left out. `bgagent cancel` of a run ends the backfill; the same command continues with what is left."
)]
pub struct BackfillArgs {
    /// Whose past slots
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: String,
    /// The first: a time as in `why`, or a day
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// The last; of a day, all its slots
    #[arg(long, value_name = "TIME")]
    pub to: String,
    /// A parameter of each run; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// Only show what would run, and what it may cost
    #[arg(long)]
    pub plan: bool,
    /// The most that all runs together may cost
    #[arg(long, value_name = "USD")]
    pub max_usd: Option<f64>,
    /// Also slots that have run
    #[arg(long)]
    pub again: bool,
    /// Name the backfill: if it is requested again by the same name, each slot still runs once
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
}

/// `bgagent replay`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent replay 7f3ac01e --model cheap\n  bgagent replay 7f3ac01e --query 'Be brief.'\n\nThe model is asked again; tools answer as they did in the recorded run, and nothing is changed."
)]
pub struct ReplayArgs {
    /// Which run: its id, or the end of it
    #[arg(value_name = "RUN", add = ArgValueCompleter::new(complete::runs))]
    pub run: String,
    /// Another [models.…] table
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Ask this instead of the agent's query
    #[arg(long, value_name = "QUERY")]
    pub query: Option<String>,
    /// Wait at most this long; the replay goes on
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
}

/// `bgagent cancel`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent cancel 7f3ac01e\n  bgagent cancel 7f3ac01e --now")]
pub struct CancelArgs {
    /// Which run: its id, or the end of it
    #[arg(value_name = "RUN", add = ArgValueCompleter::new(complete::open_runs))]
    pub run: String,
    /// Kill it at once
    #[arg(long)]
    pub now: bool,
}

/// `bgagent skip`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent skip db-archive")]
pub struct SkipArgs {
    /// Whose next slot
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: String,
}
