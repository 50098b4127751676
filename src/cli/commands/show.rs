//! `bgagent show`: one run in full.
use super::prelude::*;
use crate::cli::args::ShowArgs;
use crate::cli::render::run_detail;
use crate::cli::respondent::Respondent;
use crate::client::ClientError;
use crate::domain::RunId;
use crate::protocol::{Code, GetRun, GetRunParams, ListRuns, ListRunsParams};

pub(in crate::cli) fn run(app: &mut App, args: &ShowArgs) -> Result<Outcome, Failure> {
    app.screen.raw = args.raw;
    let mut connection = app.reading()?;
    let params = |run: &str| GetRunParams { run_id: run.to_owned(), ..GetRunParams::default() };
    let detail = match connection.call::<GetRun>(&params(&args.run)) {
        Err(ClientError::Refused(error)) if error.kind() == Some(Code::NoSuchRun) => {
            match last_of(&mut connection, &args.run) {
                Some(run) => connection.call::<GetRun>(&params(&run.to_string()))?,
                None => return Err(ClientError::Refused(error).into()),
            }
        }
        answer => answer?,
    };
    let mut detail = detail;
    app.correct_status(&mut detail.run);
    app.answer(&detail, run_detail)?;
    Ok(Outcome::Done)
}

/// Returns the newest run of an agent; while that is in flight, the one before if it failed, so that a retry does not
/// hide the failure.
fn last_of(connection: &mut Respondent, agent: &str) -> Option<RunId> {
    let params = ListRunsParams {
        agent_id: Some(agent.to_owned()),
        limit: Some(20),
        brief: true,
        ..ListRunsParams::default()
    };
    let runs = connection.call::<ListRuns>(&params).ok()?;
    let ended = runs.iter().find(|run| run.status.is_final());
    let failed = ended.filter(|run| run.status.is_failure());
    failed.or(runs.first()).map(|run| run.run_id)
}
