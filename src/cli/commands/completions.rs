//! `bgagent completions`: prints the completion script of a shell.
use super::prelude::*;
use crate::cli::args::CompletionsArgs;
use crate::cli::complete;

pub(in crate::cli) fn run(app: &mut App, args: &CompletionsArgs) -> Result<Outcome, Failure> {
    let shell = args.shell.to_string();
    let script =
        complete::script(&shell).ok_or_else(|| Failure::usage(format!("no completions for {shell}")))?;
    app.print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
