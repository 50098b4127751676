//! `bgagent approvals`: tool calls that wait for a person.
use super::prelude::*;
use crate::cli::args::ApprovalsArgs;
use crate::cli::render::approval_list;
use crate::protocol::{ListApprovals, ListApprovalsParams};

pub(in crate::cli) fn run(app: &mut App, args: &ApprovalsArgs) -> Result<Outcome, Failure> {
    let calls = app.reading()?.call::<ListApprovals>(&ListApprovalsParams { all: args.all })?;
    if calls.is_empty() && !app.json {
        app.note("nothing waits for a person");
        return Ok(Outcome::Done);
    }
    app.answer(&calls, |calls, screen| approval_list(calls, screen))?;
    Ok(Outcome::Done)
}
