//! `bgagent pause`.
use super::prelude::*;
use crate::cli::args::PauseArgs;
use crate::cli::when;
use crate::protocol::{PauseAgent, PauseParams};

pub(in crate::cli) fn run(app: &mut App, args: &PauseArgs) -> Result<Outcome, Failure> {
    let now = app.screen.now;
    let span = args.pause_for.as_deref().map(when::duration).transpose()?;
    if span.is_some_and(|span| span.is_zero()) {
        let hint = "write 90s, 30m, 2h or 7d; without --for it is paused until somebody resumes it";
        return Err(Failure::usage_hint("with `--for 0` the pause would end at once", hint));
    }
    let until = match (span, &args.until) {
        (Some(span), _) => {
            let end = now.checked_add(span);
            Some(end.map_err(|_| {
                Failure::usage(format!("`{}` is too long", args.pause_for.as_deref().unwrap_or_default()))
            })?)
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
                until: until.filter(|_| span.is_none()),
                for_ms: span.map(|span| u64::try_from(span.as_millis()).unwrap_or(0)),
                request_id: None,
            }
        })?;
    if let Some(until) = until {
        app.flush()?;
        app.note(&format!("resumes by itself {}", app.screen.full(until)));
    }
    Ok(outcome)
}
