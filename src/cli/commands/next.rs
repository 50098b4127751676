//! `bgagent next`: upcoming slots of the fleet, in order.
use super::prelude::*;
use crate::cli::args::NextArgs;
use crate::cli::when;
use crate::domain::{Desired, glob};
use crate::protocol::{AgentView, ListAgents, ListParams, NextParams, NextSlots, SlotView};
use jiff::SignedDuration;

/// Maximum number of slots per answer (`next_slots`).
const MAX_SLOTS: u64 = 10_000;

/// The period without `--for`.
const DEFAULT_PERIOD: SignedDuration = SignedDuration::from_hours(24);
/// Extended period if there are no slots within the default: longer than the gap between leap days across a century.
const EXTENDED_PERIOD: SignedDuration = SignedDuration::from_hours(24 * 366 * 9);
/// Number of slots shown per agent in the extended period.
const EXTENDED_SLOTS_PER_AGENT: u64 = 3;

pub(in crate::cli) fn run(app: &mut App, args: &NextArgs) -> Result<Outcome, Failure> {
    let given = args.look.as_deref().map(when::duration).transpose()?;
    let mut connection = app.reading()?;
    let mut ask = |agents: &[String], look: SignedDuration, limit: u64| {
        let for_secs = Some(look.unsigned_abs().as_secs());
        connection.call::<NextSlots>(&NextParams { agents: agents.to_vec(), for_secs, limit: Some(limit) })
    };
    let mut slots = ask(&args.agents, given.unwrap_or(DEFAULT_PERIOD), args.limit)?;
    if given.is_none() {
        // a person who names an agent wants its next slots, however far ahead they are
        let has_none = |name: &&String| {
            let is_of = |slot: &SlotView| glob(name, slot.agent_id.as_str());
            !slots.iter().any(is_of)
        };
        let missing: Vec<String> = args.agents.iter().filter(has_none).cloned().collect();
        if !missing.is_empty() || (args.agents.is_empty() && slots.is_empty()) {
            let most = EXTENDED_SLOTS_PER_AGENT.saturating_mul(missing.len().max(1) as u64).min(args.limit);
            let beyond = ask(&missing, EXTENDED_PERIOD, most)?;
            slots.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX).saturating_sub(beyond.len()));
            slots.extend(beyond);
        }
    }
    if slots.is_empty() && !app.json {
        if !args.agents.is_empty() {
            let agents = connection
                .call::<ListAgents>(&ListParams { agents: args.agents.clone(), ..ListParams::default() })?;
            for agent in agents.iter().filter(|agent| agent.state == Desired::Stopped) {
                app.note(&format!("{0} is stopped: bgagent start {0}", agent.agent_id));
            }
            // started by an event, other agents or files, so the time is unknown
            let has_no_slots = |agent: &&AgentView| agent.schedule.starts_with("on ");
            for agent in agents.iter().filter(has_no_slots) {
                app.note(&format!("{} has no slots: it starts {}", agent.agent_id, plain(&agent.schedule)));
            }
        }
        app.note(&match &args.look {
            Some(look) => format!("nothing is due within {look}"),
            None => "nothing is due".to_owned(),
        });
        return Ok(Outcome::Done);
    }
    app.answer(&slots, |slots, screen| table(slots, screen))?;
    if !app.json && slots.len() as u64 >= args.limit.min(MAX_SLOTS) {
        app.flush()?;
        app.note(&match args.limit {
            limit if limit > MAX_SLOTS => {
                format!("-- at most {MAX_SLOTS} are shown: a shorter --for, or agents by name, show the rest")
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
