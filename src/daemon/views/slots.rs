//! Views of coming slots and of ledger records.
use super::agents::silence;
use super::runs::millis;
use crate::domain::Desired;
use crate::engine::{ComingSlot, Engine};
use crate::protocol::{SlotRecordView, SlotView};
use crate::store::LedgerEntry;

/// Converts a ledger record, with the state of its run.
pub(in crate::daemon) fn record(entry: LedgerEntry) -> SlotRecordView {
    let LedgerEntry { agent, row, run } = entry;
    let all_well = row.is_all_well();
    SlotRecordView {
        agent_id: agent,
        first: row.first,
        last: row.last,
        count: row.count,
        verdict: row.verdict,
        // an internal marker of the store, not a sentence for people
        cause: if all_well { String::new() } else { row.cause },
        run_id: row.run,
        status: run.map(|run| run.status),
        started_at: run.and_then(|run| run.started_at),
        finished_at: run.and_then(|run| run.finished_at),
        duration_ms: run.and_then(|run| run.duration).map(millis),
        all_well,
    }
}

/// Converts a coming slot.
pub(in crate::daemon) fn slot(slot: &ComingSlot, engine: &Engine) -> SlotView {
    let refused = || {
        let circuit = engine.agent(slot.agent.as_str())?.record.circuit?;
        (slot.due < circuit.until).then(|| "its circuit is open".to_owned())
    };
    let silent = || {
        let agent = engine.agent(slot.agent.as_str()).filter(|agent| agent.next_slot == Some(slot.slot))?;
        agent.silent.map(|(since, until)| silence(since, until))
    };
    let note = match (slot.state, slot.skipped) {
        (_, true) => Some("will be left out".to_owned()),
        (Desired::Paused, _) => Some("paused".to_owned()),
        _ => refused().or_else(silent),
    };
    SlotView { agent_id: slot.agent.clone(), slot: slot.slot, due: slot.due, state: slot.state, note }
}
