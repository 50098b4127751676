//! The configuration, the daemon, its service, and help.
use clap::{ArgGroup, Args, Subcommand, ValueHint};
use clap_complete::aot::Shell;
use std::path::PathBuf;

/// `bgagent init`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent init\n  bgagent init --demo                   with a database to try the archive on\n  bgagent --config ./agents.toml init --force"
)]
pub struct InitArgs {
    /// Overwrite what is there
    #[arg(long)]
    pub force: bool,
    /// Also create a small SQLite database, for the agent `archive-demo`
    #[arg(long)]
    pub demo: bool,
}

/// `bgagent check`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent check\n  bgagent check ./agents.toml --json\n\nExits with 78 if the file is invalid; all errors are shown in one go. Exits with 77 if others can write it, its folder or a folder above."
)]
pub struct CheckArgs {
    /// File to check [default: that of the running daemon, or else the configuration file]
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

/// `bgagent trust`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent trust ./agents.toml\n  bgagent trust ./agents.toml --yes\n  bgagent --json trust ./agents.toml      only says what it may do, and whether that is trusted\n\nA configuration in the configuration folder needs none of this. One from elsewhere, such as a repository, is applied by a service, and by a daemon whose file has changed, only as far as a person has approved what it may do. A daemon that runs with it applies it at once. Exits with 1 if the answer is no, and with 2 if nobody can be asked."
)]
pub struct TrustArgs {
    /// File to trust [default: the configuration file]
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// `bgagent apply`
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "Examples:\n  bgagent apply ./agents.toml --dry-run      what it would change\n  bgagent apply ./agents.toml\n  bgagent apply --history\n  bgagent apply --show > agents.toml         the text of the newest revision\n  bgagent apply --again 3                    back to revision 3\n  bgagent apply --withdraw                   the file of whichever node leads is in force again\n\nFor daemons that share their records on a PostgreSQL server ([store]). The leader checks the file, stores it with the records and applies it; so does any other node when it leads, and nodes read from there what they run. Paths, secrets and programs are those of the machine that runs. [store], `node`, `labels` and `leads` of [daemon] stay in the file of each node. If the fleet may do more afterwards than before, a person is asked. Exits with 1 if the answer is no, with 2 if nobody can be asked, and with 78 if the configuration is invalid."
)]
pub struct ApplyArgs {
    /// File to apply
    #[arg(value_hint = ValueHint::FilePath, group = "what")]
    pub file: Option<PathBuf>,
    /// Only show what would change
    #[arg(long, conflicts_with_all = ["history", "show"])]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short, conflicts_with_all = ["history", "show"])]
    pub yes: bool,
    /// List revisions, newest first
    #[arg(long, group = "what")]
    pub history: bool,
    /// Print the text of a revision [default: the newest]
    #[arg(long, value_name = "REVISION", num_args = 0..=1, default_missing_value = "0", group = "what")]
    pub show: Option<u64>,
    /// Apply an earlier revision again
    #[arg(long, value_name = "REVISION", group = "what", value_parser = clap::value_parser!(u64).range(1..))]
    pub again: Option<u64>,
    /// Withdraw what was applied
    #[arg(long, group = "what")]
    pub withdraw: bool,
}

/// `bgagent daemon`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent daemon\n  bgagent --config ./agents.toml --state-dir ./state daemon\n\nA configuration that is named by --config here is trusted as it is, wherever it lies; rights that it gets later wait for `bgagent trust`. A service, and BGAGENT_CONFIG, trust nothing by themselves.\n\nExits with 0 after a clean stop, 65 database corrupt, missing, older than it was or newer, 73 socket or folder can't be made, 74 I/O, 75 another daemon holds the lock, 77 wrong owner or mode (also of the configuration and the folders that lead to it) or a configuration that nobody has trusted, 78 invalid configuration."
)]
pub struct DaemonArgs {
    /// Log one JSON object per line
    #[arg(long)]
    pub log_json: bool,
}

/// `bgagent shutdown`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent shutdown          runs in flight may finish within the grace period\n  bgagent shutdown --now"
)]
pub struct ShutdownArgs {
    /// Without letting runs finish
    #[arg(long)]
    pub now: bool,
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

/// `bgagent store`
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  bgagent store backup ~/backups/bgagent-$(date +%F).db\n  bgagent store restore ~/backups/bgagent-2026-11-28.db\n  bgagent store reset\n  bgagent store copy --to 'postgres://bgagent@db.internal/fleet?sslmode=verify-full'"
)]
pub enum StoreCommand {
    /// Write a consistent copy of the database, even while the daemon runs
    #[command(
        after_help = "Examples:\n  bgagent store backup ./bgagent-copy.db\n  bgagent store backup --force /var/backups/bgagent.db\n\nThe copy is one file (mode 0600), checked before it gets its name."
    )]
    Backup {
        /// The file to write
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Overwrite what is there
        #[arg(long)]
        force: bool,
    },
    /// Replace the database with a copy; no daemon may run
    #[command(
        after_help = "Examples:\n  bgagent store restore ./bgagent-copy.db\n  bgagent store restore ~/.local/state/bgagent/bgagent.db    accept what is there\n\nWhat was there before is kept beside it, as bgagent.db.before-TIME. With the path of the database itself, an older state of it is accepted as it is: slots of the time since then may run a second time."
    )]
    Restore {
        /// A file that `bgagent store backup` wrote, or another copy of a database
        #[arg(value_hint = ValueHint::FilePath)]
        copy: PathBuf,
    },
    /// Set the database aside, so that the daemon starts afresh; no daemon may run
    #[command(
        after_help = "Examples:\n  bgagent store reset\n\nAll agents, runs and events are forgotten. What was there is kept beside it, as bgagent.db.before-TIME."
    )]
    Reset,
    /// Move all records to another database; no daemon may run
    #[command(
        after_help = "Examples:\n  bgagent store copy --to 'postgres://bgagent@db.internal/fleet?sslmode=verify-full' --password-file ~/.secrets/db\n  bgagent store copy --to sqlite:    back into the state folder\n\nIds and numbers of events stay as they are. What was there is kept and marked: a daemon refuses it from then on. Without --password-file, the password is $PGPASSWORD, or that of [store] where it names the same address."
    )]
    Copy {
        /// Where to: postgres://user@host/database, or sqlite: for the file of the state folder
        #[arg(long, value_name = "URL", value_hint = ValueHint::Other)]
        to: String,
        /// The schema there; default: that of the configuration where it names the same address, else bgagent
        #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
        schema: Option<String>,
        /// A file with the password
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        password_file: Option<PathBuf>,
    },
}

/// `bgagent health`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent health\n  bgagent health --max-late 15m --json\n\nExits with 0: healthy, 2: the daemon is not running or its database can't be read, and 1 for anything else that needs a person, one line each: agents that are late, failing or without budget, critical incidents that nobody has acknowledged, runs that are slow, messages that do not get through, a rejected configuration, a daemon that can't write or does not answer."
)]
pub struct HealthArgs {
    /// An agent is late if it was due longer ago than this; a message, if it has been waiting for longer
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

Names of agents and runs come from the running daemon, or else from the configuration.")]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: Shell,
}

/// `bgagent man`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent man | man -l -\n  bgagent man mcp-list | man -l -\n  \
    bgagent man agents.toml | man -l -\n  bgagent man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// The page of this command, or of `agents.toml`; else a folder to write all pages into
    #[arg(value_name = "PAGE|DIR", value_hint = ValueHint::DirPath)]
    pub wanted: Option<PathBuf>,
}
