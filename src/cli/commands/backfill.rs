//! `bgagent backfill`: runs past slots of an agent, or lists which would run.
use super::prelude::*;
use super::run::params_of;
use crate::cli::args::BackfillArgs;
use crate::cli::render::backfill_plan;
use crate::cli::when;
use crate::domain::counted;
use crate::protocol::{BackfillAgent, BackfillParams};

pub(in crate::cli) fn run(app: &mut App, args: &BackfillArgs) -> Result<Outcome, Failure> {
    let (now, zone) = (app.screen.now, app.screen.zone.clone());
    let from = when::past(&args.from, now, &zone)?;
    let to = when::end_of(&args.to, when::past(&args.to, now, &zone)?, &zone);
    let params = BackfillParams {
        agent_id: args.agent.clone(),
        from,
        to,
        params: params_of(&args.params)?,
        max_usd: args.max_usd,
        again: args.again,
        plan: args.plan,
        request_id: args.request_id.clone(),
    };
    let view = app.connect()?.call::<BackfillAgent>(&params)?;
    if args.plan {
        app.answer(&view, backfill_plan)?;
        return Ok(Outcome::Done);
    }
    if let Some(note) = &view.note {
        app.note(&format!("{}: {}", view.agent_id, plain(note)));
    }
    app.answer(&view, |view, screen| {
        let ends = view.first.zip(view.last).map_or_else(String::new, |(first, last)| {
            format!(", from {} to {}", screen.local(first), screen.local(last))
        });
        let text = format!(
            "{}: backfill {} of {}{ends}",
            view.agent_id,
            plain(view.backfill_id.as_deref().unwrap_or_default()),
            counted(view.count, "slot")
        );
        screen.fold(&text) + "\n"
    })?;
    Ok(Outcome::Done)
}
