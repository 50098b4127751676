//! `bgagent runs`: history.
use super::prelude::*;
use crate::cli::args::RunsArgs;
use crate::cli::render::run_list;
use crate::protocol::{ListRuns, ListRunsParams};

pub(in crate::cli) fn run(app: &mut App, args: &RunsArgs) -> Result<Outcome, Failure> {
    let params =
        ListRunsParams { agent_id: args.agent.clone(), status: args.status.clone(), limit: Some(args.limit) };
    let runs = app.connect()?.call::<ListRuns>(&params)?;
    if runs.is_empty() && !app.json {
        app.note("no such runs");
        return Ok(Outcome::Done);
    }
    app.answer(&runs, |runs, screen| run_list(runs, screen))?;
    Ok(Outcome::Done)
}
