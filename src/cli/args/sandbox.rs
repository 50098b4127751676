//! Arguments of what tries the walls around programs.
use clap::{Args, Subcommand};

/// `bgagent doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Try in a unit like that of the service, by `systemd-run`
    #[arg(long)]
    pub as_service: bool,
}

/// `bgagent sandbox …`.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Run a program within the sandbox of an agent, and say what was refused
    Try(SandboxTryArgs),
}

/// `bgagent sandbox try`.
#[derive(Debug, Args)]
pub struct SandboxTryArgs {
    /// Whose sandbox: an agent, or mcp.NAME, runners.NAME, tools.NAME, notify.NAME
    #[arg(value_name = "AGENT")]
    pub target: String,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    pub program: Vec<String>,
}
