//! `bgagent show`: one run, whole.
use super::prelude::*;
use crate::cli::args::ShowArgs;
use crate::cli::render::run_detail;
use crate::protocol::{GetRun, RunIdParams};

pub(in crate::cli) fn run(app: &mut App, args: &ShowArgs) -> Result<Outcome, Failure> {
    app.screen.raw = args.raw;
    let params = RunIdParams { run_id: args.run.clone() };
    let detail = app.connect()?.call::<GetRun>(&params)?;
    app.answer(&detail, run_detail)?;
    Ok(Outcome::Done)
}
