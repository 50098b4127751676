//! What is, was and will be: lists, one of them, events, output, slots, what was used.
use crate::cli::complete;
use clap::builder::TypedValueParser;
use clap::{Args, ValueEnum, ValueHint};
use clap_complete::ArgValueCompleter;
use std::path::PathBuf;

/// `bgagent list`
#[derive(Debug, Default, Args)]
#[command(
    after_help = "Examples:\n  bgagent list\n  bgagent list 'news-*'\n  bgagent list --json | jq -r '.[] | select(.health != \"ok\") | .agent_id'"
)]
pub struct ListArgs {
    /// Only these: names or globs
    #[arg(value_name = "GLOB", add = ArgValueCompleter::new(complete::agents))]
    pub agents: Vec<String>,
    /// In which order: what needs you first, with its cause; or by name, with schedules and counts
    #[arg(long, value_name = "ORDER", default_value = "need")]
    pub by: ListOrder,
}

/// The order of `bgagent list`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListOrder {
    /// What needs a person first.
    #[default]
    Need,
    /// By name.
    Name,
}

/// `bgagent top`
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  bgagent top
  bgagent top --read-only        nothing can be done to the fleet
  watch bgagent top --once       what needs you, as text

Keys: 1 to 8 views, Enter down, Esc back, / find, ? all keys. Without a terminal, or with TERM=dumb: as --plain.")]
pub struct TopArgs {
    /// Print the first view as text, and end
    #[arg(long, conflicts_with = "plain")]
    pub once: bool,
    /// Print the first view as text, then a line for each change: for screen readers and logs
    #[arg(long)]
    pub plain: bool,
    /// Ignore keys that do something to the fleet
    #[arg(long)]
    pub read_only: bool,
    /// Use ASCII only, also where the locale says UTF-8
    #[arg(long)]
    pub ascii: bool,
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
    /// Begin with the newest N events, with --since or --from: of those [default: 10, with one of these: all]
    #[arg(short = 'n', long = "lines", value_name = "N")]
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
    /// End once all existing events were shown
    #[arg(long)]
    pub no_follow: bool,
    /// Follow; that is the default
    #[arg(short = 'f', long, conflicts_with = "no_follow")]
    pub follow: bool,
    /// Also each request to a model, and what it said on the way; otherwise only calls of tools and ends of runs
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// Go on after the event that this file names, and keep it up to date
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub cursor_file: Option<PathBuf>,
}

/// `bgagent approvals`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent approvals\n  bgagent approvals --all")]
pub struct ApprovalsArgs {
    /// Also those that were decided
    #[arg(long)]
    pub all: bool,
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
    /// At most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = at_least_one::<u64>)]
    pub limit: u64,
}

/// How many, where none makes no sense: clap's own refusal names the largest number that there is.
fn at_least_one<T: std::str::FromStr + PartialEq + From<u8>>(text: &str) -> Result<T, &'static str> {
    match text.parse() {
        Ok(number) if number != T::from(0) => Ok(number),
        _ => Err("it must be a number, and at least 1"),
    }
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
pub(super) const STATUSES: [&str; 10] = [
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
    /// Which run: its id, or the end of it; or an agent, for its last run
    #[arg(value_name = "RUN|AGENT", add = ArgValueCompleter::new(complete::runs))]
    pub run: String,
    /// Output and result as they are, including what a terminal would act upon
    #[arg(long)]
    pub raw: bool,
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
    /// Output as it is, including what a terminal would act upon
    #[arg(long)]
    pub raw: bool,
}

/// `bgagent next`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent next\n  bgagent next 'db-*' --for 7d --limit 50")]
pub struct NextArgs {
    /// Only of these agents: names or globs
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agents: Vec<String>,
    /// How far to look [default: 24h; where nothing is due within it, as far as the next slots]
    #[arg(long = "for", value_name = "DURATION")]
    pub look: Option<String>,
    /// At most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = at_least_one::<u64>)]
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

/// `bgagent forecast`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bgagent forecast
  bgagent forecast --for 7d 'news-*'
  bgagent forecast --json | jq .usd.p95

Based on what runs have cost, how often due moments led to a run, and the calendar. p50: as likely more as less; p95: \
not more in 19 of 20 cases; worst: what the limits allow. An agent with fewer than 5 runs counts at its worst. \
docs/MODELS.md says how it is made, and how far to trust it.")]
pub struct ForecastArgs {
    /// Only these: names or globs
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agents: Vec<String>,
    /// How far ahead
    #[arg(long = "for", value_name = "SPAN", default_value = "30d")]
    pub period: String,
    /// How much of the past it is based on
    #[arg(long, value_name = "SPAN", default_value = "90d")]
    pub history: String,
}

/// `bgagent usage`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent usage\n  bgagent usage --by day")]
pub struct UsageArgs {
    /// How to sum up
    #[arg(long, value_name = "WHAT", default_value = "agent", value_parser = ["agent", "model", "day", "hour"])]
    pub by: String,
    /// Only of this many days, today included
    #[arg(long, value_name = "N", value_parser = at_least_one::<u32>)]
    pub days: Option<u32>,
}
