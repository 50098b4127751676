//! `bgagent why`: the ledger's answer.
use super::prelude::*;
use crate::cli::args::WhyArgs;
use crate::cli::when;
use crate::protocol::{ExplainParams, ExplainSlot};

pub(in crate::cli) fn run(app: &mut App, args: &WhyArgs) -> Result<Outcome, Failure> {
    let at = match &args.time {
        Some(time) => {
            let now = app.screen.now;
            let at = when::past(time, now, &app.screen.zone)?;
            // a slot has fractions of a second that nobody types
            Some(if at <= now { when::end_of(time, at).min(now) } else { at })
        }
        None => None,
    };
    let params = ExplainParams { agent_id: args.agent.clone(), at };
    let explanation = app.connect()?.call::<ExplainSlot>(&params)?;
    app.answer(&explanation, |explanation, _| format!("{}\n", plain(&explanation.sentence)))?;
    Ok(Outcome::Done)
}
