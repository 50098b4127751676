//! `bgagent runs`: past and current runs.
use super::prelude::*;
use crate::cli::args::RunsArgs;
use crate::cli::render::run_list;
use crate::protocol::{AgentParams, GetAgentStatus, ListRuns, ListRunsParams};

/// Maximum number of runs per answer (`list_runs`).
const MAX_RUNS: u64 = 10_000;

pub(in crate::cli) fn run(app: &mut App, args: &RunsArgs) -> Result<Outcome, Failure> {
    let params = ListRunsParams {
        agent_id: args.agent.clone(),
        status: args.status.clone(),
        limit: Some(args.limit),
        ..ListRunsParams::default()
    };
    let mut connection = app.reading()?;
    let mut runs = connection.call::<ListRuns>(&params)?;
    runs.iter_mut().for_each(|run| app.correct_status(run));
    if runs.is_empty() && !app.json {
        app.note("no such runs");
        return Ok(Outcome::Done);
    }
    app.answer(&runs, |runs, screen| run_list(runs, screen))?;
    if args.limit > MAX_RUNS && runs.len() as u64 >= MAX_RUNS && !app.json {
        app.flush()?;
        app.note(&format!("-- at most {MAX_RUNS} are shown: an agent by name, or --status, shows others"));
    }
    if let (Some(agent), None, false) = (&args.agent, &args.status, app.json) {
        let params = AgentParams { agent_id: agent.clone() };
        let detail = connection.call::<GetAgentStatus>(&params)?;
        if let Some(well) = detail.all_well {
            app.note(&format!(
                "since then {} more, which found all well and left no record: `bgagent status {agent}`",
                well.count
            ));
        }
    }
    Ok(Outcome::Done)
}
