//! `bgagent why`: explains a slot from the ledger.
use super::prelude::*;
use crate::cli::args::WhyArgs;
use crate::cli::when;
use crate::protocol::{ExplainParams, ExplainSlot};
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(in crate::cli) fn run(app: &mut App, args: &WhyArgs) -> Result<Outcome, Failure> {
    let at = match &args.time {
        Some(time) => {
            let now = app.screen.now;
            let at = when::past(time, now, &app.screen.zone)?;
            // a slot has fractions of a second that people don't type
            Some(if at <= now { when::end_of(time, at, &app.screen.zone).min(now) } else { at })
        }
        None => None,
    };
    let timezone = name_of(&app.screen.zone, app.screen.now);
    let params = ExplainParams { agent_id: args.agent.clone(), at, timezone };
    let explanation = app.reading()?.call::<ExplainSlot>(&params)?;
    app.answer(&explanation, |explanation, screen| screen.fold(&plain(&explanation.sentence)) + "\n")?;
    Ok(Outcome::Done)
}

/// Returns a name by which the daemon can identify the zone; for a zone without one, its current offset in POSIX form.
fn name_of(zone: &TimeZone, now: Timestamp) -> Option<String> {
    if let Some(name) = zone.iana_name() {
        return Some(name.to_owned());
    }
    let secs = zone.to_offset(now).seconds();
    let (sign, secs) = (if secs > 0 { '-' } else { '+' }, secs.unsigned_abs());
    Some(format!("<own>{sign}{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60))
}
