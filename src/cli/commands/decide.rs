//! `bgagent approve`, `bgagent deny`.
use super::prelude::*;
use crate::cli::args::DecideArgs;
use crate::protocol::{DecideApproval, DecideParams};

pub(in crate::cli) fn run(app: &mut App, args: &DecideArgs, approve: bool) -> Result<Outcome, Failure> {
    let params = DecideParams { id: args.id.clone(), approve, reason: args.reason.clone() };
    let decided = app.connect()?.call::<DecideApproval>(&params)?;
    app.answer(&decided, |decided, _| {
        let word = if approve { "approved" } else { "denied" };
        format!("{}: {} of run {} {word}\n", plain(&decided.id), plain(&decided.tool), decided.run_id.short())
    })?;
    Ok(Outcome::Done)
}
