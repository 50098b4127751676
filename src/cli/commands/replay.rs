//! `bgagent replay`: replays a recorded run with its recorded tool results.
use super::prelude::*;
use crate::cli::args::ReplayArgs;
use crate::protocol::{GetRun, GetRunParams, RunParams};

pub(in crate::cli) fn run(app: &mut App, args: &ReplayArgs) -> Result<Outcome, Failure> {
    let recorded = app
        .connect()?
        .call::<GetRun>(&GetRunParams { run_id: args.run.clone(), ..GetRunParams::default() })?;
    let params = RunParams {
        agent_id: recorded.run.agent_id.to_string(),
        query: args.query.clone(),
        params: Default::default(),
        rehearse: false,
        replay_of: Some(recorded.run.run_id.to_string()),
        model: args.model.clone(),
        request_id: None,
    };
    super::run::start(app, &params, true, args.timeout.as_deref())
}
