//! Refusals as errors, with hints.
use crate::domain::{AgentId, ToolError, nearest};
use crate::engine::{Engine, Refusal};
use crate::protocol::{Code, RpcError};
use jiff::Timestamp;

/// Converts a refusal into the error that a client receives.
pub(in crate::daemon) fn refused(refusal: &Refusal, engine: &Engine) -> RpcError {
    let message = refusal.to_string();
    match refusal {
        Refusal::NoSuchAgent(id) => no_such_agent(id.as_str(), engine),
        Refusal::NoSuchRun(_) => RpcError::new(Code::NoSuchRun, message),
        Refusal::NoSuchIncident(_) => RpcError::new(Code::WrongState, message)
            .hint("`bgagent incidents` lists the open ones with their keys"),
        Refusal::NoSuchApproval(_) => {
            RpcError::new(Code::WrongState, message).hint("`bgagent approvals` lists those that wait")
        }
        Refusal::WrongState(_) => RpcError::new(Code::WrongState, message),
        Refusal::Params(_) => {
            RpcError::new(Code::InvalidParams, message).hint("give each as `--param NAME=VALUE`")
        }
        Refusal::Budget(_) => {
            RpcError::new(Code::Refused, message).hint("`bgagent usage` shows what was used and what is left")
        }
        Refusal::ShuttingDown => RpcError::new(Code::ShuttingDown, message),
    }
}

/// Returns the error for an agent that was removed, but whose history is kept.
pub(in crate::daemon) fn removed_agent(id: &str, at: Option<Timestamp>) -> RpcError {
    let when = at.map(|at| format!(" at {at:.0}")).unwrap_or_default();
    let what = format!("the agent `{id}` was removed from the configuration{when}");
    RpcError::new(Code::NoSuchAgent, what).hint(format!(
        "its history is still there: `bgagent runs {id}`, `bgagent logs {id}`, `bgagent tail {id}`; written into the \
         configuration again, it goes on with it"
    ))
}

/// Returns the error for an unknown agent, which suggests the nearest name.
pub(in crate::daemon) fn no_such_agent(id: &str, engine: &Engine) -> RpcError {
    if engine.was_removed(id) {
        return removed_agent(id, None);
    }
    let error = RpcError::new(Code::NoSuchAgent, format!("no agent named `{id}`"));
    let names = || engine.names().map(AgentId::as_str);
    match nearest(id, names()).or_else(|| names().find(|name| name.starts_with(id))) {
        Some(name) => error.hint(format!("did you mean `{name}`?")),
        None if engine.outdated() => {
            error.hint("the newest configuration was not applied, an older one is in force: `bgagent check`")
        }
        None => error.hint("`bgagent list` shows all agents"),
    }
}

/// Converts the error of a manual call of this tool, or of this agent's tool.
pub(in crate::daemon) fn tool_error(error: &ToolError, tool: &str) -> RpcError {
    let code = match error {
        ToolError::Unknown(_) | ToolError::Arguments(_) => Code::InvalidParams,
        ToolError::Untrusted(_) => Code::Refused,
        ToolError::Timeout { .. } | ToolError::Failed(_) | ToolError::Unsure(_) => Code::Internal,
    };
    let answer = RpcError::new(code, error.to_string());
    match error {
        ToolError::Arguments(_) => answer.hint(format!("`bgagent tool show {tool}` says what it takes")),
        _ => answer,
    }
}
