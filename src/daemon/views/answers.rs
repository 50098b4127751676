//! Answers to commands, and their stored form for repeated requests.
use super::approvals;
use super::incidents::incident;
use super::refusals::refused;
use super::runs::claim;
use crate::daemon::inbox::Answer;
use crate::domain::{AgentId, BackfillRecord, Desired, RunStatus};
use crate::engine::{ChangedAgent, Engine, Refusal, Reply};
use crate::protocol::{BackfillView, Changed, ChangedOne, Code, ReloadView, RpcError, RunView};
use serde_json::{Value, json};

/// Converts the answer to a command. `seq` is the newest event when it was done.
pub(in crate::daemon) fn answer(
    result: Result<Reply, Refusal>,
    seq: u64,
    warnings: Vec<String>,
    engine: &Engine,
) -> Answer {
    let reply = result.map_err(|refusal| refused(&refusal, engine))?;
    let view = match reply {
        Reply::Changed(one) => serde_json::to_value(changed(one, seq)),
        Reply::AllChanged(all) => serde_json::to_value(all_changed(all, seq)),
        Reply::RunClaimed { run, queued, note } => {
            let agent_id = engine.run(run).map(|record| record.agent.clone());
            let status = if queued { RunStatus::Queued } else { RunStatus::Running };
            Ok(json!({"run_id": run, "agent_id": agent_id, "status": status, "note": note, "seq": seq}))
        }
        Reply::BackfillBegan { backfill, note } => serde_json::to_value(backfill_began(&backfill, note, seq)),
        Reply::Cancelling { run, finished_at } => {
            serde_json::to_value(RunView { finished_at, ..claim(&run) })
        }
        Reply::Forgotten => Ok(json!({})),
        Reply::WillSkip { agent, slot, changed } => {
            Ok(json!({"slot": slot, "changed": changed, "agent_id": agent}))
        }
        Reply::Decided { run, agent, wanted, approved: _ } => {
            serde_json::to_value(approvals::asked(run, agent, &wanted))
        }
        Reply::Incident(record) => serde_json::to_value(incident(&record)),
        Reply::Reloaded { added, changed, removed, applied } => serde_json::to_value(ReloadView {
            changed: applied || !(added.is_empty() && changed.is_empty() && removed.is_empty()),
            added,
            modified: changed,
            removed,
            warnings,
            revision: engine.fleet().revision_in_force().map(|applied| applied.revision),
            last: None,
        }),
    };
    view.map_err(|error| RpcError::new(Code::Internal, error.to_string()))
}

fn backfill_began(backfill: &BackfillRecord, note: Option<String>, seq: u64) -> BackfillView {
    BackfillView {
        backfill_id: Some(backfill.id.to_string()),
        agent_id: backfill.agent.clone(),
        first: backfill.slots.first().copied(),
        last: backfill.slots.last().copied(),
        count: backfill.slots.len() as u64,
        slots: Vec::new(),
        left_out: None,
        max_usd: backfill.max_usd,
        worst_usd: None,
        usual_usd: None,
        note,
        seq: Some(seq),
    }
}

fn changed(one: ChangedAgent, seq: u64) -> Changed {
    Changed {
        agent_id: Some(one.agent),
        previous: Some(one.previous),
        state: Some(one.state),
        changed: one.changed,
        seq,
        note: one.note,
        agents: Vec::new(),
    }
}

fn all_changed(all: Vec<(AgentId, Result<ChangedAgent, Refusal>)>, seq: u64) -> Changed {
    let agents: Vec<ChangedOne> = all
        .into_iter()
        .map(|(id, result)| match result {
            Ok(one) => ChangedOne {
                agent_id: id,
                previous: one.previous,
                state: one.state,
                changed: one.changed,
                error: None,
                note: one.note,
            },
            Err(refusal) => ChangedOne {
                agent_id: id,
                previous: Desired::Stopped,
                state: Desired::Stopped,
                changed: false,
                error: Some(refusal.to_string()),
                note: None,
            },
        })
        .collect();
    let changed = agents.iter().any(|agent| agent.changed);
    Changed { agent_id: None, previous: None, state: None, changed, seq, note: None, agents }
}

/// Returns the stored form of an answer; the inverse of [`restored`].
pub(in crate::daemon) fn stored(answer: &Answer) -> Value {
    match answer {
        Ok(result) => json!({"result": result}),
        Err(error) => json!({"error": error}),
    }
}

/// Returns whether an answer is a transient refusal: the same mutation may succeed later.
pub(in crate::daemon) fn passes(answer: &Answer) -> bool {
    let kind = answer.as_ref().err().and_then(RpcError::kind);
    kind.is_some_and(Code::passes)
}

/// Parses a stored answer.
pub(in crate::daemon) fn restored(text: &str) -> Answer {
    let broken = |what: String| RpcError::new(Code::Internal, format!("a kept answer can't be read: {what}"));
    let mut value: Value = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    match value.get_mut("error") {
        Some(error) => Err(serde_json::from_value(error.take()).map_err(|error| broken(error.to_string()))?),
        None => Ok(value.get_mut("result").map(Value::take).unwrap_or_default()),
    }
}
