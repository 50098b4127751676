//! `bgagent next`: coming slots of the fleet, in order.
use super::prelude::*;
use crate::cli::args::NextArgs;
use crate::cli::when;
use crate::domain::Desired;
use crate::protocol::{ListAgents, ListParams, NextParams, NextSlots, SlotView};

/// Most slots of an answer (`next_slots`).
const MOST: u64 = 10_000;

pub(in crate::cli) fn run(app: &mut App, args: &NextArgs) -> Result<Outcome, Failure> {
    let look = when::duration(&args.look)?;
    let params = NextParams {
        agents: args.agents.clone(),
        for_secs: Some(look.unsigned_abs().as_secs()),
        limit: Some(args.limit),
    };
    let mut connection = app.connect()?;
    let slots = connection.call::<NextSlots>(&params)?;
    if slots.is_empty() && !app.json {
        if !args.agents.is_empty() {
            let agents = connection.call::<ListAgents>(&ListParams { agents: args.agents.clone() })?;
            for agent in agents.iter().filter(|agent| agent.state == Desired::Stopped) {
                app.note(&format!("{0} is stopped: bgagent start {0}", agent.agent_id));
            }
        }
        app.note(&format!("nothing is due within {}", args.look));
        return Ok(Outcome::Done);
    }
    app.answer(&slots, |slots, screen| table(slots, screen))?;
    if !app.json && slots.len() as u64 >= args.limit.min(MOST) {
        app.flush()?;
        app.note(&match args.limit {
            limit if limit > MOST => {
                format!("-- at most {MOST} are shown: a shorter --for, or agents by name, show the rest")
            }
            limit => format!("-- the first {limit}, there may be more: --limit"),
        });
    }
    Ok(Outcome::Done)
}

fn table(slots: &[SlotView], screen: &Screen) -> String {
    let mut table = Table::new().column("DUE").column("IN").shrinking("AGENT", 10).shrinking("NOTE", 8);
    for slot in slots {
        let note = match (&slot.note, slot.state) {
            (Some(note), _) => Cell::toned(Tone::Warn, plain(note)),
            (None, Desired::Active) => "".into(),
            (None, state) => Cell::toned(Tone::Dim, format!("agent is {state}")),
        };
        table.row(vec![
            screen.local(slot.due).into(),
            screen.relative(slot.due).trim_start_matches("in ").into(),
            Cell::toned(Tone::Strong, slot.agent_id.as_str()),
            note,
        ]);
    }
    table.render(screen)
}
