//! `bgagent cancel`.
use super::prelude::*;
use crate::cli::args::CancelArgs;
use crate::cli::render::outcome_line;
use crate::protocol::{CancelParams, CancelRun};

pub(in crate::cli) fn run(app: &mut App, args: &CancelArgs) -> Result<Outcome, Failure> {
    let params = CancelParams { run_id: args.run.clone(), now: args.now, request_id: None };
    let run = app.connect()?.call::<CancelRun>(&params)?;
    app.answer(&run, outcome_line)?;
    Ok(Outcome::Done)
}
