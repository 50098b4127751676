//! `bgagent start`.
use super::prelude::*;
use crate::cli::args::StartArgs;
use crate::protocol::{StartAgent, TargetParams};

pub(in crate::cli) fn run(app: &mut App, args: &StartArgs) -> Result<Outcome, Failure> {
    super::targets::change::<StartAgent>(app, &args.targets, super::targets::SOON, |agent_id| TargetParams {
        all: agent_id.is_none(),
        agent_id,
        reason: args.reason.clone(),
        request_id: None,
    })
}
