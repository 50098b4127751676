//! `bgagent cancel`.
use super::prelude::*;
use crate::cli::args::CancelArgs;
use crate::cli::render::outcome_line;
use crate::client::ClientError;
use crate::domain::RunStatus;
use crate::protocol::{CancelParams, CancelRun, Code, GetRun, GetRunParams, RunView};

pub(in crate::cli) fn run(app: &mut App, args: &CancelArgs) -> Result<Outcome, Failure> {
    let params = CancelParams { run_id: args.run.clone(), now: args.now, request_id: None };
    let mut connection = app.connect()?;
    match connection.call::<CancelRun>(&params) {
        Ok(run) => app.answer(&run, |run, screen| words(run, args.now, screen))?,
        Err(ClientError::Refused(error)) if error.kind() == Some(Code::WrongState) => {
            // the run may already be in the requested state
            let run = connection
                .call::<GetRun>(&GetRunParams {
                    run_id: args.run.clone(),
                    brief: true,
                    ..GetRunParams::default()
                })?
                .run;
            if run.status != RunStatus::Cancelled {
                return Err(error.into());
            }
            let words = |run: &RunView, screen: &Screen| {
                format!("{}: run {} is cancelled already\n", screen.agent(&run.agent_id), run.run_id.short())
            };
            app.answer(&run, words)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Outcome::Done)
}

fn words(run: &RunView, now: bool, screen: &Screen) -> String {
    if run.status.is_final() {
        return outcome_line(run, screen);
    }
    let how = if now { "is being killed" } else { "is being ended (killed in 5 s)" };
    format!("{}: run {} {how}\n", screen.agent(&run.agent_id), run.run_id.short())
}
