//! Records of the ledger, as the wire has them.
use super::millis;
use crate::protocol::SlotRecordView;
use crate::store::LedgerEntry;

/// A record, with how its run stands.
pub(in crate::daemon) fn record(entry: LedgerEntry) -> SlotRecordView {
    let LedgerEntry { agent, row, run } = entry;
    let all_well = row.is_all_well();
    SlotRecordView {
        agent_id: agent,
        first: row.first,
        last: row.last,
        count: row.count,
        verdict: row.verdict,
        // a mark of the store, not a sentence for people
        cause: if all_well { String::new() } else { row.cause },
        run_id: row.run,
        status: run.map(|run| run.status),
        started_at: run.and_then(|run| run.started_at),
        finished_at: run.and_then(|run| run.finished_at),
        duration_ms: run.and_then(|run| run.duration).map(millis),
        all_well,
    }
}
