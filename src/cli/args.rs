//! The command line: every command, flag and variable, on one screen. What they do is left to
//! `commands`.
use super::complete;
use clap::builder::styling::{AnsiColor, Styles};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::ArgValueCompleter;
use clap_complete::aot::Shell;
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Runs autonomous agents on a schedule, unattended.
///
/// What runs when is written in `agents.toml`; `bgagent daemon` keeps it; every other command
/// talks to that daemon. Without a command: `list`.
#[derive(Debug, Parser)]
#[command(name = "bgagent", version, styles = STYLES, max_term_width = 100)]
#[command(after_help = "\
Examples:
  bgagent init                      write a starter configuration
  bgagent check                     is it valid, and what is due when?
  bgagent service install           run it in the background from now on
  bgagent                           one line per agent
  bgagent tail                      what happens, live

Exit codes:
  0 done   1 negative result   2 usage   3 no daemon   4 no such agent or run   5 wrong state
  6 refused   7 timed out   8 no common protocol   9 some of several failed   78 configuration")]
pub struct Cli {
    /// For every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do; nothing: `list`.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print JSON: one document, or one object a line where it streams
    #[arg(long, global = true)]
    pub json: bool,
    /// Configuration file [default: agents.toml in the configuration folder]
    #[arg(long, global = true, value_name = "FILE", env = "BGAGENT_CONFIG", hide_env_values = true, value_parser = path(), value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// State folder: database, lock
    #[arg(long, global = true, value_name = "DIR", env = "BGAGENT_STATE_DIR", hide_env_values = true, value_parser = path(), value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// Socket of the daemon [default: where the daemon of the state folder says it listens]
    #[arg(long, global = true, value_name = "PATH", env = "BGAGENT_SOCKET", hide_env_values = true, value_parser = path(), value_hint = ValueHint::AnyPath)]
    pub socket: Option<PathBuf>,
    /// When to use colours; `auto` honours NO_COLOR
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    pub color: ColorWhen,
}

/// A path. An empty variable is one that is not set, so an empty text is taken here and counts as
/// nothing in [`Global::without_blanks`].
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl Global {
    /// What was given as an empty text was not given.
    pub fn without_blanks(self) -> Self {
        let given = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        Self {
            config: given(self.config),
            state_dir: given(self.state_dir),
            socket: given(self.socket),
            ..self
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Every command there is.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented starter configuration
    Init(InitArgs),
    /// Validate the configuration and show when its agents are due
    Check(CheckArgs),
    /// Run the daemon in the foreground
    Daemon(DaemonArgs),
    /// Put agents into the schedule; closes an open circuit
    Start(StartArgs),
    /// Let the slots of agents pass by; runs in flight finish
    Pause(PauseArgs),
    /// End a pause; passed slots are not made up for
    Resume(ResumeArgs),
    /// Take agents out of the schedule and cancel their runs
    Stop(StopArgs),
    /// One line per agent
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// The daemon, or everything of one agent
    Status(StatusArgs),
    /// Show events, then follow them live
    Tail(Box<TailArgs>),
    /// Start a run by hand and print its id
    Run(RunArgs),
    /// Play a recorded run again, with another model or query, without touching anything
    Replay(ReplayArgs),
    /// Cancel one run
    Cancel(CancelArgs),
    /// Leave out the next slot of an agent
    Skip(SkipArgs),
    /// History of runs, newest first
    Runs(RunsArgs),
    /// One run: its course, what it used, its output and result
    Show(ShowArgs),
    /// Output of a run
    Logs(LogsArgs),
    /// Coming slots of the fleet, in order
    Next(NextArgs),
    /// What became of a slot, in one sentence
    Why(WhyArgs),
    /// Requests, tokens and dollars
    Usage(UsageArgs),
    /// Take up the configuration file; all of it or nothing
    Reload,
    /// End the daemon
    Shutdown(ShutdownArgs),
    /// Tools that agents can use
    #[command(subcommand)]
    Tool(ToolCommand),
    /// What was archived: list, verify, bring back
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// MCP servers and their tools
    #[command(subcommand)]
    Mcp(McpCommand),
    /// Tool calls that wait for a person
    Approvals,
    /// Allow a tool call that waits
    Approve(DecideArgs),
    /// Refuse a tool call that waits
    Deny(DecideArgs),
    /// Open problems
    #[command(args_conflicts_with_subcommands = true)]
    Incidents(IncidentsArgs),
    /// What an agent remembers between runs
    Memory(MemoryArgs),
    /// Run the daemon as a service of the user
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Is all well? Works without a daemon; for monitoring
    Health(HealthArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them into a folder
    Man(ManArgs),
    /// Print the JSON Schema of agents.toml
    Schema,
}

/// `bgagent init`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent init\n  bgagent init --demo                   with a database to try the archive on\n  bgagent --config ./agents.toml init --force"
)]
pub struct InitArgs {
    /// Overwrite what is there
    #[arg(long)]
    pub force: bool,
    /// Make a small SQLite database beside it, for the agent `archive-demo`
    #[arg(long)]
    pub demo: bool,
}

/// `bgagent check`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent check\n  bgagent check ./agents.toml --json\n\nExits with 78 if the file is invalid; all errors are shown in one go."
)]
pub struct CheckArgs {
    /// File to check instead of the configuration in use
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

/// `bgagent daemon`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent daemon\n  bgagent --config ./agents.toml --state-dir ./state daemon\n\nExits with 0 after a clean stop, 65 database corrupt or newer, 73 socket or folder can't be made,\n74 I/O, 75 another daemon holds the lock, 77 wrong owner or mode, 78 invalid configuration."
)]
pub struct DaemonArgs {
    /// Log one JSON object a line
    #[arg(long)]
    pub log_json: bool,
}

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

/// `bgagent list`
#[derive(Debug, Default, Args)]
#[command(
    after_help = "Examples:\n  bgagent list\n  bgagent list 'news-*'\n  bgagent list --json | jq -r '.[] | select(.health != \"ok\") | .agent_id'"
)]
pub struct ListArgs {
    /// Only these: names or globs
    #[arg(value_name = "GLOB", add = ArgValueCompleter::new(complete::agents))]
    pub agents: Vec<String>,
}

/// `bgagent status`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent status\n  bgagent status news")]
pub struct StatusArgs {
    /// Everything of this agent; without: the daemon
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: Option<String>,
}

/// `bgagent tail`
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  bgagent tail
  bgagent tail news -n 50 --type 'background_task_*'
  bgagent tail --since 2h --no-follow --json
  bgagent tail --json --cursor-file ./seen | ship     goes on where it stopped

It survives restarts of the daemon without a gap; notes about that go to stderr.")]
pub struct TailArgs {
    /// Only events of these agents: names or globs
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agents: Vec<String>,
    /// Only events of these types: names or globs, separated by commas
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', add = ArgValueCompleter::new(complete::event_types))]
    pub types: Vec<String>,
    /// Only events of this run: its id, or the end of it
    #[arg(long, value_name = "RUN", add = ArgValueCompleter::new(complete::runs))]
    pub run: Option<String>,
    /// Begin with the newest N events [default: 10]
    #[arg(short = 'n', long = "lines", value_name = "N", conflicts_with_all = ["since", "from"])]
    pub lines: Option<u64>,
    /// Begin at this time: 10m (ago), yesterday, RFC 3339, local time, or HH:MM
    #[arg(long, value_name = "TIME", conflicts_with = "from")]
    pub since: Option<String>,
    /// Begin with this event number
    #[arg(long, value_name = "SEQ")]
    pub from: Option<u64>,
    /// End at this time: 10m (ago), RFC 3339, local time, or HH:MM (the last time the clock showed it)
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// End when what is there was shown
    #[arg(long)]
    pub no_follow: bool,
    /// Follow; that is the default
    #[arg(short = 'f', long, conflicts_with = "no_follow")]
    pub follow: bool,
    /// Go on after the event that this file names, and keep it up to date
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub cursor_file: Option<PathBuf>,
}

/// `bgagent run`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent run news\n  bgagent run news --wait --timeout 5m\n  bgagent run triage --query \"Only the disks, please\"\n\nWith --wait: 0 if the run completed, 1 if not, 7 if it took longer than the timeout."
)]
pub struct RunArgs {
    /// Whose
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: String,
    /// Ask this instead of the configured query
    #[arg(long, value_name = "QUERY")]
    pub query: Option<String>,
    /// Call only tools that read; show what the others would have done
    #[arg(long)]
    pub rehearse: bool,
    /// Follow the run and exit by its outcome
    #[arg(long)]
    pub wait: bool,
    /// Wait at most this long; the run goes on
    #[arg(long, value_name = "DURATION", requires = "wait")]
    pub timeout: Option<String>,
}

/// `bgagent replay`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent replay 7f3ac01e --model cheap\n  bgagent replay 7f3ac01e --query 'Be brief.'\n\nThe model is asked anew; tools answer as they did in the recorded run, and nothing is touched."
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

/// `bgagent runs`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent runs\n  bgagent runs news --status failed --limit 5")]
pub struct RunsArgs {
    /// Only of this agent
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: Option<String>,
    /// Only with this status
    #[arg(long, value_name = "STATUS", value_parser = clap::builder::PossibleValuesParser::new(status_words()).map(|word| status_of(&word)))]
    pub status: Option<String>,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
}

/// What `--status` takes: the words of the protocol; those that the table shows are as good.
fn status_words() -> impl Iterator<Item = clap::builder::PossibleValue> {
    STATUSES.into_iter().map(|word| {
        let value = clap::builder::PossibleValue::new(word);
        match word {
            "completed" => value.alias("ok"),
            "timed_out" => value.aliases(["timed out", "timed-out"]),
            "waiting_approval" => value.alias("waits for you"),
            _ => value,
        }
    })
}

fn status_of(word: &str) -> String {
    match word {
        "ok" => "completed",
        "timed out" | "timed-out" => "timed_out",
        "waits for you" => "waiting_approval",
        word => word,
    }
    .to_owned()
}

/// Words of [`crate::domain::RunStatus`].
const STATUSES: [&str; 10] = [
    "queued",
    "running",
    "retrying",
    "waiting_approval",
    "completed",
    "failed",
    "timed_out",
    "cancelled",
    "interrupted",
    "unverified",
];

/// `bgagent show`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent show 7f3ac01e")]
pub struct ShowArgs {
    /// Which run: its id, or the end of it
    #[arg(value_name = "RUN", add = ArgValueCompleter::new(complete::runs))]
    pub run: String,
}

/// `bgagent logs`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent logs disk-watch        the newest run of this agent\n  bgagent logs 7f3ac01e -f"
)]
pub struct LogsArgs {
    /// An agent (its newest run), or a run: its id, or the end of it
    #[arg(value_name = "AGENT|RUN", add = ArgValueCompleter::new(complete::agents_and_runs))]
    pub target: String,
    /// Go on until the run ends
    #[arg(short = 'f', long)]
    pub follow: bool,
}

/// `bgagent next`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent next\n  bgagent next 'db-*' --for 7d --limit 50")]
pub struct NextArgs {
    /// Only of these agents: names or globs
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agents: Vec<String>,
    /// How far to look
    #[arg(long = "for", value_name = "DURATION", default_value = "24h")]
    pub look: String,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
}

/// `bgagent why`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent why news\n  bgagent why news 09:00\n  bgagent why db-archive 2026-11-24T02:30"
)]
pub struct WhyArgs {
    /// Whose slot
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: String,
    /// The slot at or before this time: RFC 3339, local time, HH:MM, or 2h (ago) [default: now]
    #[arg(value_name = "TIME")]
    pub time: Option<String>,
}

/// `bgagent usage`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent usage\n  bgagent usage --by day")]
pub struct UsageArgs {
    /// How to sum up
    #[arg(long, value_name = "WHAT", default_value = "agent", value_parser = ["agent", "model", "day"])]
    pub by: String,
    /// Only of this many days, today included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub days: Option<u32>,
}

/// `bgagent shutdown`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent shutdown          runs in flight may finish within the grace\n  bgagent shutdown --now"
)]
pub struct ShutdownArgs {
    /// Without letting runs finish
    #[arg(long)]
    pub now: bool,
}

/// `bgagent tool`
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  bgagent tool list\n  bgagent tool show probe\n  bgagent tool call system_metrics '{}'"
)]
pub enum ToolCommand {
    /// All tools
    List,
    /// One tool, with the schema of its arguments
    Show {
        /// Its name
        #[arg(add = ArgValueCompleter::new(complete::tools))]
        name: String,
    },
    /// Call a tool by hand
    Call {
        /// Its name
        #[arg(add = ArgValueCompleter::new(complete::tools))]
        name: String,
        /// Its arguments: a JSON object, or `-` to read it from stdin
        #[arg(value_name = "JSON", default_value = "{}", hide_default_value = true)]
        args: String,
    },
}

/// `bgagent archive`
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  bgagent archive list archive_orders\n  bgagent archive verify archive_orders\n  bgagent archive restore archive_orders --from 2026-01-01 --to 2026-02-01 --dry-run\n  bgagent archive restore archive_orders --key 4711"
)]
pub enum ArchiveCommand {
    /// Its objects, their ranges and rows
    List {
        /// A tool of type archive_rows, or an agent that runs one
        #[arg(value_name = "TOOL", add = ArgValueCompleter::new(complete::tools))]
        archive: String,
    },
    /// Read every object and compare it with its manifest; exits with 1 if one is not whole
    Verify {
        /// A tool of type archive_rows, or an agent that runs one
        #[arg(value_name = "TOOL", add = ArgValueCompleter::new(complete::tools))]
        archive: String,
    },
    /// Put rows back into the table they came from
    Restore(RestoreArgs),
}

/// `bgagent archive restore`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["from", "to", "key", "all"]))]
pub struct RestoreArgs {
    /// A tool of type archive_rows, or an agent that runs one
    #[arg(value_name = "TOOL", add = ArgValueCompleter::new(complete::tools))]
    pub archive: String,
    /// Rows not older than this: 90d (ago), RFC 3339, local time, or a date
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Rows older than this
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// The row with this key; once for each column of the key
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true, conflicts_with_all = ["from", "to"])]
    pub key: Vec<String>,
    /// Everything
    #[arg(long, conflicts_with_all = ["from", "to", "key"])]
    pub all: bool,
    /// Only say what would be put back
    #[arg(long)]
    pub dry_run: bool,
}

/// `bgagent mcp`
#[derive(Debug, Subcommand)]
pub enum McpCommand {
    /// The tools of all servers, or of one; starts them if need be
    List {
        /// Name of an [mcp.…] table
        server: Option<String>,
    },
    /// Start a server and say whether it answers
    Test {
        /// Name of an [mcp.…] table
        server: String,
    },
    /// Accept the tools of a server as `mcp list` showed them
    Trust {
        /// Name of an [mcp.…] table
        server: String,
    },
}

/// `bgagent approve`, `bgagent deny`
#[derive(Debug, Args)]
#[command(after_help = "`bgagent approvals` shows what waits.")]
pub struct DecideArgs {
    /// Which
    #[arg(value_name = "ID")]
    pub id: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `bgagent incidents`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent incidents\n  bgagent incidents --all\n  bgagent incidents ack disk:/ --agent system-health"
)]
pub struct IncidentsArgs {
    /// Those that ended, too
    #[arg(long)]
    pub all: bool,
    /// What to do with one.
    #[command(subcommand)]
    pub command: Option<IncidentsCommand>,
}

/// `bgagent incidents …`
#[derive(Debug, Subcommand)]
pub enum IncidentsCommand {
    /// Say that a person took note of it
    Ack {
        /// Its key
        key: String,
        /// Of this agent, if several have an incident with this key
        #[arg(long, value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
        agent: Option<String>,
    },
}

/// `bgagent memory`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent memory news\n  bgagent memory news clear")]
pub struct MemoryArgs {
    /// Whose
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: String,
    /// `clear`: make it forget
    #[arg(value_name = "clear", value_enum)]
    pub action: Option<MemoryAction>,
}

/// What to do with what an agent remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MemoryAction {
    /// Forget it.
    Clear,
}

/// `bgagent service`
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  bgagent service install\n  bgagent --config ~/agents.toml service install --no-start\n  bgagent service status"
)]
pub enum ServiceCommand {
    /// Write the service file, start it now and with the system
    Install {
        /// Only write the file
        #[arg(long)]
        no_start: bool,
    },
    /// Stop it and remove the file
    Uninstall,
    /// Is it installed, enabled, running?
    Status,
}

/// `bgagent health`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent health\n  bgagent health --max-late 15m --json\n\nExits with 0: healthy, 1: agents are late or failing (one line each), 2: the daemon is not running\nor its database can't be read."
)]
pub struct HealthArgs {
    /// An agent is late if it was due longer ago than this
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub max_late: String,
}

/// `bgagent completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bash   echo 'source <(bgagent completions bash)' >> ~/.bashrc
  zsh    echo 'source <(bgagent completions zsh)' >> ~/.zshrc
  fish   bgagent completions fish > ~/.config/fish/completions/bgagent.fish

Names of agents and runs are asked of the running daemon, else read from the configuration.")]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: Shell,
}

/// `bgagent man`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent man | man -l -\n  bgagent man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Write a page for each command into this folder
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_description_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_contract_is_taken() {
        let lines = [
            "",
            "--json",
            "init --force",
            "check",
            "check x.toml --json",
            "daemon --log-json",
            "start a b news-*",
            "start --all",
            "pause a --for 2h --reason x",
            "pause --all --until 08:00",
            "resume a",
            "stop a --drain",
            "stop --all --now",
            "list",
            "ls",
            "list a-*",
            "status",
            "status a",
            "tail",
            "tail a b --type x,y --run r",
            "tail -n 5 -f",
            "tail -n 0",
            "tail --since 10m --no-follow",
            "tail --from 3 --until 10:00",
            "tail --cursor-file f",
            "run a",
            "run a --query q --wait --timeout 5m",
            "cancel r --now",
            "skip a",
            "runs",
            "runs a --status failed --limit 3",
            "runs --status ok",
            "show r",
            "logs a -f",
            "next",
            "next a --for 7d --limit 3",
            "why a",
            "why a 09:00",
            "usage",
            "usage --by model",
            "reload",
            "shutdown --now",
            "tool list",
            "tool show t",
            "tool call t",
            "tool call t {}",
            "approvals",
            "approve x",
            "deny x --reason y",
            "incidents",
            "incidents --all",
            "incidents ack k --agent a",
            "memory a",
            "memory a clear",
            "service install --no-start",
            "service uninstall",
            "service status",
            "health",
            "health --max-late 15m",
            "completions bash",
            "man",
            "man dir",
            "schema",
            "--socket s --state-dir d --config c --color never list",
            "list --color always --json",
        ];
        for line in lines {
            let words = std::iter::once("bgagent").chain(line.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn wrong_use_is_refused() {
        let lines = [
            "start",
            "start a --all",
            "pause a --for 2h --until 08:00",
            "stop a --drain --now",
            "tail -n 5 --since 1h",
            "tail --from 1 --since 1h",
            "tail -f --no-follow",
            "run",
            "run a --timeout 5m",
            "cancel",
            "status a b",
            "runs --status great",
            "runs -n 0",
            "next -n 0",
            "usage --by moon",
            "memory a forget",
            "completions tcsh",
            "--color sometimes list",
            "unknown",
            "tool",
        ];
        for line in lines {
            let words = std::iter::once("bgagent").chain(line.split_whitespace());
            let error = Cli::try_parse_from(words).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn statuses_are_those_of_runs() {
        let words: Vec<&str> = crate::domain::RunStatus::ALL.iter().map(|status| status.as_str()).collect();
        assert_eq!(words, STATUSES);
    }
}
