//! `bgagent approvals`: tool calls that wait for a person.
use super::prelude::*;
use crate::protocol::{ListApprovals, NoParams};

pub(in crate::cli) fn run(app: &mut App) -> Result<Outcome, Failure> {
    let waiting = app.connect()?.call::<ListApprovals>(&NoParams {})?;
    if waiting.is_empty() && !app.json {
        app.note("nothing waits for a person");
        return Ok(Outcome::Done);
    }
    app.answer(&waiting, |waiting, screen| {
        let mut table = Table::new()
            .column("ID")
            .shrinking("AGENT", 10)
            .column("SINCE")
            .column("TOOL")
            .shrinking("ARGUMENTS", 20);
        for one in waiting {
            table.row(vec![
                Cell::toned(Tone::Strong, plain(&one.id)),
                one.agent_id.as_ref().map(ToString::to_string).unwrap_or_default().into(),
                one.requested_at.map(|at| screen.relative(at)).unwrap_or_default().into(),
                plain(&one.tool).into(),
                plain(&one.args.to_string()).into(),
            ]);
        }
        table.render(screen)
    })?;
    Ok(Outcome::Done)
}
