//! `bgagent reject`: drops a proposal.
use super::prelude::*;
use super::proposals::{DECIDE, failure, refuse_agents};
use crate::cli::args::RejectArgs;
use crate::proposal::ProposalBook;

pub(in crate::cli) fn run(app: &mut App, args: &RejectArgs) -> Result<Outcome, Failure> {
    refuse_agents(app, DECIDE)?;
    ProposalBook::of(&app.paths()?.state_dir).remove(&args.id).map_err(failure)?;
    app.note(&format!("proposal {} is dropped", args.id));
    if app.json {
        app.print_json(&serde_json::json!({"id": args.id, "rejected": true}))?;
    }
    Ok(Outcome::Done)
}
