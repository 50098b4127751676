//! Arguments of what tries agent programs.
use clap::{Args, Subcommand};

/// `bgagent runner …`.
#[derive(Debug, Subcommand)]
pub enum RunnerCommand {
    /// Start the program of a runner in its sandbox, answered by bgagent itself: it costs nothing
    Test(RunnerTestArgs),
}

/// `bgagent runner test`.
#[derive(Debug, Args)]
pub struct RunnerTestArgs {
    /// Which [runners.NAME]
    #[arg(value_name = "NAME")]
    pub runner: String,
}
