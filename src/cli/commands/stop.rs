//! `bgagent stop`. The daemon answers once the runs have ended, which may take as long as they do.
use super::prelude::*;
use crate::cli::args::StopArgs;
use crate::protocol::{StopAgent, StopParams};
use std::time::Duration;

pub(in crate::cli) fn run(app: &mut App, args: &StopArgs) -> Result<Outcome, Failure> {
    // with `--drain`, runs may take as long as they need
    let timeout = if args.drain { Duration::from_secs(86_400) } else { super::targets::SOON };
    super::targets::change::<StopAgent>(app, &args.targets, timeout, |agent_id| StopParams {
        all: agent_id.is_none(),
        agent_id,
        reason: args.reason.clone(),
        drain: args.drain,
        now: args.now,
        request_id: None,
    })
}
