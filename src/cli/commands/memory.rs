//! `bgagent memory`: what an agent remembers between runs.
use super::prelude::*;
use crate::cli::args::{MemoryAction, MemoryArgs};
use crate::protocol::{AgentParams, ClearMemory, GetMemory};

pub(in crate::cli) fn run(app: &mut App, args: &MemoryArgs) -> Result<Outcome, Failure> {
    let params = AgentParams { agent_id: args.agent.clone() };
    if args.action == Some(MemoryAction::Clear) {
        let cleared = app.connect()?.call::<ClearMemory>(&params)?;
        app.answer(&cleared, |_, _| format!("{}: memory cleared\n", args.agent))?;
        return Ok(Outcome::Done);
    }
    let memory = app.reading()?.call::<GetMemory>(&params)?;
    if memory.is_empty() && !app.json {
        app.note(&format!("{} remembers nothing", plain(&args.agent)));
        return Ok(Outcome::Done);
    }
    app.answer(&memory, |memory, screen| {
        let mut table = Table::new().shrinking("KEY", 10).column("WRITTEN").shrinking("VALUE", 20);
        for one in memory {
            let key = Cell::toned(Tone::Strong, plain(&one.key));
            let mark = if one.untrusted { "(from outside) " } else { "" };
            let value = format!("{mark}{}", plain(&one.value));
            table.row(vec![key, screen.relative(one.at).into(), value.into()]);
        }
        table.render(screen)
    })?;
    Ok(Outcome::Done)
}
