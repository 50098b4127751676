//! `bgagent stop`. The daemon answers when the runs are ended; that may take as long as they do.
use super::prelude::*;
use crate::cli::args::StopArgs;
use crate::protocol::{StopAgent, StopParams};
use std::time::Duration;

pub(in crate::cli) fn run(app: &mut App, args: &StopArgs) -> Result<Outcome, Failure> {
    // a run that may finish takes what it takes
    let patience = if args.drain { Duration::from_secs(86_400) } else { super::targets::SOON };
    super::targets::change::<StopAgent>(app, &args.targets, patience, |agent_id| StopParams {
        all: agent_id.is_none(),
        agent_id,
        reason: args.reason.clone(),
        drain: args.drain,
        now: args.now,
        request_id: None,
    })
}
