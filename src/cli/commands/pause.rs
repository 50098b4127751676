//! `bgagent pause`.
use super::prelude::*;
use crate::cli::args::PauseArgs;
use crate::cli::when;
use crate::protocol::{PauseAgent, PauseParams};

pub(in crate::cli) fn run(app: &mut App, args: &PauseArgs) -> Result<Outcome, Failure> {
    let now = app.screen.now;
    let until = match (&args.pause_for, &args.until) {
        (Some(span), _) => {
            let end = now.checked_add(when::duration(span)?);
            Some(end.map_err(|_| Failure::usage(format!("`{span}` is too long")))?)
        }
        (None, Some(time)) => Some(when::coming(time, now, &app.screen.zone)?),
        (None, None) => None,
    };
    if let (Some(until), Some(time)) = (until, &args.until)
        && until <= now
    {
        return Err(Failure::usage(format!("`{time}` is in the past")));
    }
    let outcome =
        super::targets::change::<PauseAgent>(app, &args.targets, super::targets::SOON, |agent_id| {
            PauseParams {
                all: agent_id.is_none(),
                agent_id,
                reason: args.reason.clone(),
                until,
                request_id: None,
            }
        })?;
    if let Some(until) = until {
        app.flush()?;
        app.note(&format!("resumes by itself {}", app.screen.full(until)));
    }
    Ok(outcome)
}
