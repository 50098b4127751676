//! The tools that control agents (`--may run`). The daemon judges whether the caller may do that.
use super::reach::{CallTrouble, Reach};
use super::said::ToolAnswer;
use crate::domain::assistant::{PauseCall, ResumeCall, RunAgentCall};
use crate::protocol::*;
use serde_json::json;

/// The default reason, if an assistant gives none.
const DEFAULT_REASON: &str = "by an assistant (bgagent mcp serve)";

pub(super) fn run_agent<R: Reach>(reach: &R, call: RunAgentCall) -> Result<ToolAnswer, CallTrouble> {
    let params = RunParams {
        agent_id: call.agent,
        params: call.params,
        rehearse: call.rehearse.unwrap_or(false),
        ..RunParams::default()
    };
    let started = reach.daemon()?.call::<RunAgent>(&params).map_err(|error| reach.trouble(error))?;
    let note = started.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
    let text = format!(
        "run {} of {} is {}{note}; how it ends: `show` with `run`: \"{}\". If that knows no such run later, its gate was closed and \
         there was nothing to do: `why` says so.",
        started.run_id.short(),
        started.agent_id,
        started.status,
        started.run_id
    );
    Ok(ToolAnswer::own(
        text,
        json!({"run_id": started.run_id, "agent_id": started.agent_id, "status": started.status}),
    ))
}

pub(super) fn pause<R: Reach>(reach: &R, call: PauseCall) -> Result<ToolAnswer, CallTrouble> {
    if call.length.is_some_and(|length| length.is_zero()) {
        return Err(CallTrouble::new(
            "with `for`: 0 the pause would end at once",
            "leave `for` out, or write 30m, 2h, 7d",
        ));
    }
    let params = PauseParams {
        agent_id: Some(call.agent),
        for_ms: call.length.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
        reason: Some(call.reason.unwrap_or_else(|| DEFAULT_REASON.into())),
        ..PauseParams::default()
    };
    let changed = reach.daemon()?.call::<PauseAgent>(&params).map_err(|error| reach.trouble(error))?;
    Ok(change_answer(&changed))
}

pub(super) fn resume<R: Reach>(reach: &R, call: ResumeCall) -> Result<ToolAnswer, CallTrouble> {
    let params = TargetParams {
        agent_id: Some(call.agent),
        reason: Some(call.reason.unwrap_or_else(|| DEFAULT_REASON.into())),
        ..TargetParams::default()
    };
    let changed = reach.daemon()?.call::<ResumeAgent>(&params).map_err(|error| reach.trouble(error))?;
    Ok(change_answer(&changed))
}

fn change_answer(changed: &Changed) -> ToolAnswer {
    let word = |state: Option<crate::domain::Desired>| state.map_or("unknown", |state| state.as_str());
    let agent = changed.agent_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let note = changed.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
    let text = format!("{agent} is {}, was {}{note}", word(changed.state), word(changed.previous));
    let data = json!({
        "agent_id": agent, "state": changed.state, "previous": changed.previous, "changed": changed.changed,
    });
    ToolAnswer::own(text, data)
}
