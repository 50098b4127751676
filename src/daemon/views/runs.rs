//! Views of runs, their output and their steps.
use crate::domain::{LengthUnit, RunMode, RunRecord, Usage, shortened};
use crate::protocol::{ChunkView, OutputView, RunView, StepView};
use crate::store::{OutputPage, RunRow, StepRow};

/// Maximum number of characters of a result or an error in a brief list.
const MAX_BRIEF_CHARS: usize = 200;

/// Converts a run that has not ended.
pub(super) fn claim(record: &RunRecord) -> RunView {
    RunView {
        run_id: record.run,
        agent_id: record.agent.clone(),
        slot: record.any_slot(),
        backfill_id: record.past.as_ref().map(|past| past.backfill.to_string()),
        trigger: record.trigger,
        event: record.event.as_ref().map(|event| event.reference()),
        status: record.status,
        attempt: record.attempt,
        queued_at: record.queued_at,
        started_at: record.started_at,
        finished_at: None,
        not_before: record.not_before,
        duration_ms: None,
        result: None,
        error: None,
        exit_code: None,
        usage: Usage::default(),
        config_hash: record.config_hash.to_string(),
        session_id: record.session.as_deref().map(str::to_owned),
        params: record.params.as_deref().cloned().unwrap_or_default(),
        model: None,
        node: record.node.as_ref().map(|at| at.node.to_string()),
        mode: match record.mode {
            RunMode::Normal => None,
            RunMode::Rehearsal => Some("rehearsal".into()),
            RunMode::Replay { .. } => Some("replay".into()),
        },
        warnings: Vec::new(),
    }
}

/// Converts a run of the history.
pub(in crate::daemon) fn run(row: &RunRow) -> RunView {
    RunView {
        finished_at: row.finished_at,
        not_before: row.claim.not_before.filter(|_| !row.claim.status.is_final()),
        duration_ms: row.duration.map(millis),
        result: row.result.clone(),
        error: row.error.clone(),
        exit_code: row.exit_code,
        usage: row.usage,
        model: row.model.clone(),
        warnings: row.warnings.clone(),
        ..claim(&row.claim)
    }
}

/// Converts a run for a list, with a shortened result.
pub(in crate::daemon) fn brief_run(row: &RunRow) -> RunView {
    let mut view = run(row);
    view.result = view.result.map(|text| shortened(&text, LengthUnit::Chars, MAX_BRIEF_CHARS).into_owned());
    if let Some(error) = &mut view.error {
        error.message = shortened(&error.message, LengthUnit::Chars, MAX_BRIEF_CHARS).into_owned();
    }
    view
}

/// Converts output of a run.
pub(in crate::daemon) fn output(row: &RunRow, page: OutputPage) -> OutputView {
    OutputView {
        run_id: Some(row.claim.run),
        status: Some(row.claim.status),
        chunks: page
            .chunks
            .into_iter()
            .map(|(attempt, chunk)| ChunkView {
                attempt,
                n: chunk.n,
                stream: chunk.stream,
                at: chunk.at,
                text: chunk.text,
            })
            .collect(),
        position: page.position,
        dropped_bytes: page.dropped_bytes,
    }
}

/// Converts a step of a journal.
pub(in crate::daemon) fn step(row: StepRow) -> StepView {
    StepView {
        n: row.n,
        at: row.at,
        tool: row.tool,
        args: row.args,
        duration_ms: row.took_ms,
        step: row.step,
    }
}

pub(super) fn millis(span: jiff::SignedDuration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
