//! `bgagent resume`.
use super::prelude::*;
use crate::cli::args::ResumeArgs;
use crate::protocol::{ResumeAgent, TargetParams};

pub(in crate::cli) fn run(app: &mut App, args: &ResumeArgs) -> Result<Outcome, Failure> {
    super::targets::change::<ResumeAgent>(app, &args.targets, super::targets::SOON, |agent_id| TargetParams {
        all: agent_id.is_none(),
        agent_id,
        reason: args.reason.clone(),
        request_id: None,
    })
}
