//! `bgagent daemon`: hands over to the daemon.
use crate::cli::args::DaemonArgs;
use crate::config::Paths;
use crate::daemon::DaemonOptions;
use std::process::ExitCode;

pub(in crate::cli) fn run(args: DaemonArgs, paths: Paths) -> ExitCode {
    crate::daemon::run(DaemonOptions { paths, log_json: args.log_json })
}
