//! `bgagent skip`.
use super::prelude::*;
use crate::cli::args::SkipArgs;
use crate::protocol::{SkipAgent, SkipParams};

pub(in crate::cli) fn run(app: &mut App, args: &SkipArgs) -> Result<Outcome, Failure> {
    let params = SkipParams { agent_id: args.agent.clone(), request_id: None };
    let skipped = app.connect()?.call::<SkipAgent>(&params)?;
    app.answer(&skipped, |skipped, screen| {
        let already = if skipped.changed { "" } else { " already" };
        format!("{}: the slot of {} is{already} left out\n", skipped.agent_id, screen.full(skipped.slot))
    })?;
    Ok(Outcome::Done)
}
