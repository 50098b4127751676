//! Tools, archives, MCP servers, calls that wait, incidents, memory.
use crate::cli::complete;
use crate::domain::TellOn;
use crate::domain::assistant::AssistantMay;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;

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

/// `bgagent notify`
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  bgagent notify test me\n  bgagent notify test ops --kind incident_opened"
)]
pub enum NotifyCommand {
    /// Send a message to a notification target at once; exits with 1 if it does not get there
    Test {
        /// Name of a [notify.…] table
        #[arg(add = ArgValueCompleter::new(complete::notify_targets))]
        target: String,
        /// What kind of message
        #[arg(long, value_name = "KIND", default_value = "failed", value_parser = kinds())]
        kind: TellOn,
    },
}

/// The words of `notify.on`.
fn kinds() -> impl TypedValueParser<Value = TellOn> {
    PossibleValuesParser::new(TellOn::WORDS)
        .try_map(|word| TellOn::parse(&word).ok_or_else(|| format!("`{word}` is not a kind of message")))
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
    /// Run as an MCP server, through which an assistant looks at the fleet
    #[command(after_help = "\
Examples:
  claude mcp add bgagent -- bgagent mcp serve
  claude mcp add bgagent -- bgagent mcp serve --may run,propose

It speaks MCP on standard input and output, and ends with its input. Without `--may` an assistant can only look. What \
it proposes waits for `bgagent accept`.")]
    Serve {
        /// What an assistant may do besides looking: run (start runs, pause, resume), propose (agents; a person decides)
        #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = assistant_may())]
        may: Vec<AssistantMay>,
    },
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
    /// Show how the tools of a server describe themselves, and turn them on
    #[command(
        after_help = "Examples:\n  bgagent mcp trust github\n  bgagent mcp trust github --yes        in a script, after somebody has read `mcp list`\n\nTools of a server are off until then, and a tool that later describes itself differently is off again. Their descriptions go to the model: read them as what a stranger wants to tell it."
    )]
    Trust {
        /// Name of an [mcp.…] table
        server: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

fn assistant_may() -> impl TypedValueParser<Value = AssistantMay> {
    PossibleValuesParser::new(AssistantMay::WORDS)
        .try_map(|word| AssistantMay::parse(&word).ok_or_else(|| format!("`{word}` can't be allowed")))
}

/// `bgagent proposals`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent proposals\n  bgagent proposals 1a2b3c4d        what it would change, and which rights it would add\n\nAssistants propose agents by `bgagent mcp serve --may propose`."
)]
pub struct ProposalsArgs {
    /// Show this one, whole
    #[arg(value_name = "ID")]
    pub id: Option<String>,
}

/// `bgagent accept`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bgagent accept 1a2b3c4d\n  bgagent accept 1a2b3c4d --yes        in a script, after somebody has read `bgagent proposals 1a2b3c4d`"
)]
pub struct AcceptArgs {
    /// Which
    #[arg(value_name = "ID")]
    pub id: String,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// `bgagent reject`
#[derive(Debug, Args)]
#[command(after_help = "`bgagent proposals` shows what waits.")]
pub struct RejectArgs {
    /// Which
    #[arg(value_name = "ID")]
    pub id: String,
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
    /// Also those that have ended
    #[arg(long)]
    pub all: bool,
    /// What to do with one.
    #[command(subcommand)]
    pub command: Option<IncidentsCommand>,
}

/// `bgagent incidents …`
#[derive(Debug, Subcommand)]
pub enum IncidentsCommand {
    /// Record that a person took note of it
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
#[command(
    after_help = "Examples:\n  bgagent memory news\n  bgagent memory news clear\n  bgagent memory news clear --yes        without a question on a terminal"
)]
pub struct MemoryArgs {
    /// Whose
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: String,
    /// `clear`: make it forget
    #[arg(value_name = "clear", value_enum)]
    pub action: Option<MemoryAction>,
    /// Do not ask
    #[arg(long, short, requires = "action")]
    pub yes: bool,
}

/// What to do with what an agent remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MemoryAction {
    /// Forget it.
    Clear,
}
