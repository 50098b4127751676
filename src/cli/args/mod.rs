//! The command line: every command, flag and variable, on one screen. What they do is left to
//! `commands`.
mod agents;
mod daemon;
mod global;
mod look;
mod runner;
mod sandbox;
mod tools;
mod ui;

pub use agents::{
    BackfillArgs, CancelArgs, PauseArgs, ReplayArgs, ResumeArgs, RunArgs, SkipArgs, StartArgs, StopArgs,
    Targets,
};
pub use daemon::{
    ApplyArgs, CheckArgs, CompletionsArgs, DaemonArgs, HealthArgs, InitArgs, ManArgs, ServiceCommand,
    ShutdownArgs, StoreCommand, TrustArgs,
};
pub use global::{ColorWhen, Global};
pub use look::{
    ApprovalsArgs, ForecastArgs, ListArgs, ListOrder, LogsArgs, NextArgs, RunsArgs, ShowArgs, StatusArgs,
    TailArgs, TopArgs, UsageArgs, WhyArgs,
};
pub use runner::{RunnerCommand, RunnerTestArgs};
pub use sandbox::{DoctorArgs, SandboxCommand, SandboxTryArgs};
pub use tools::{
    AcceptArgs, ArchiveCommand, DecideArgs, IncidentsArgs, IncidentsCommand, McpCommand, MemoryAction,
    MemoryArgs, NotifyCommand, ProposalsArgs, RejectArgs, RestoreArgs, ToolCommand,
};
pub use ui::UiArgs;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Runs autonomous agents on a schedule, unattended.
///
/// `agents.toml` says what runs when; `bgagent daemon` runs it; the other commands talk to that daemon. Without a command:
/// `list`.
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
  0 done, 1 negative result, 2 usage, 3 no daemon, 4 no such agent or run, 5 wrong state, 6 refused, 7 timed out, \
8 no common protocol, 9 some of several failed, 77 another user's socket, 78 configuration")]
pub struct Cli {
    /// For every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do; nothing: `list`.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Every command there is.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented starter configuration
    Init(InitArgs),
    /// Validate the configuration and show when its agents are due
    Check(CheckArgs),
    /// Show what a configuration may do, and approve it
    Trust(TrustArgs),
    /// Run the daemon in the foreground
    Daemon(DaemonArgs),
    /// Put agents into the schedule; closes an open circuit
    Start(StartArgs),
    /// Pause agents: their slots start nothing; runs in flight finish
    Pause(PauseArgs),
    /// End a pause; slots that have passed are not caught up
    Resume(ResumeArgs),
    /// Take agents out of the schedule and cancel their runs
    Stop(StopArgs),
    /// One line per agent
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// The fleet on a full screen: what needs you, what runs, what comes
    Top(TopArgs),
    /// The daemon, or everything of one agent
    Status(StatusArgs),
    /// The daemons that share the records: which one leads, which stand by, which are away
    #[command(
        after_help = "Examples:\n  bgagent nodes\n  bgagent nodes --json | jq -r '.[] | select(.role == \"away\") | .name'"
    )]
    Nodes,
    /// Show events, then follow them live
    Tail(Box<TailArgs>),
    /// Start a run by hand and print its id
    Run(RunArgs),
    /// Run past slots of an agent, each once and in order
    Backfill(BackfillArgs),
    /// Play a recorded run again, with another model or query, without touching anything
    Replay(ReplayArgs),
    /// Cancel one run
    Cancel(CancelArgs),
    /// Leave out the next slot of an agent
    Skip(SkipArgs),
    /// A page for the browser: what needs you, the timeline of slots, runs, spending
    Ui(UiArgs),
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
    /// What the fleet will cost, and which limit would be hit
    Forecast(ForecastArgs),
    /// Apply the configuration file; all of it or nothing
    Reload,
    /// Apply a configuration to a fleet whose records are on a server
    Apply(ApplyArgs),
    /// End the daemon
    Shutdown(ShutdownArgs),
    /// Test the targets that messages go to
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Tools that agents can use
    #[command(subcommand)]
    Tool(ToolCommand),
    /// What was archived: list, verify, restore
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// MCP servers and their tools; and bgagent as one, for assistants
    #[command(subcommand)]
    Mcp(McpCommand),
    /// Agents that assistants have proposed, and that wait for a person
    Proposals(ProposalsArgs),
    /// Look at a proposal, and write it into the configuration
    Accept(AcceptArgs),
    /// Drop a proposal
    Reject(RejectArgs),
    /// Tool calls that wait for a person
    Approvals(ApprovalsArgs),
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
    /// The database: back it up, restore it, move it, start afresh
    #[command(subcommand)]
    Store(StoreCommand),
    /// Is all well? Works without a daemon; for monitoring
    Health(HealthArgs),
    /// Agent programs: does one work in its sandbox?
    #[command(subcommand)]
    Runner(RunnerCommand),
    /// Try a program within the sandbox of an agent
    #[command(subcommand)]
    Sandbox(SandboxCommand),
    /// Check the sandbox by real escapes, the configuration, sources of events and notification targets
    Doctor(DoctorArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Print a manual page, or write all of them into a folder
    Man(ManArgs),
    /// Print the JSON Schema of agents.toml
    Schema,
}

#[cfg(test)]
mod tests;
