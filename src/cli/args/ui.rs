//! The page for the browser.
use clap::Args;
use std::net::SocketAddr;

/// `bgagent ui`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bgagent ui --open\n  bgagent ui --listen 127.0.0.1:8080 --control")]
pub struct UiArgs {
    /// Where it listens: a loopback address with a port; port 0: any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Open it in the browser
    #[arg(long)]
    pub open: bool,
    /// Let it act: start, pause, resume, cancel, approve, acknowledge
    #[arg(long)]
    pub control: bool,
}
