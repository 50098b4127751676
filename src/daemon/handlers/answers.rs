//! What handlers answer with, and what most of them ask for first.
use crate::daemon::inbox::Answer;
use crate::daemon::services::{Encoded, Services};
use crate::daemon::views;
use crate::domain::AgentId;
use crate::engine::AgentNow;
use crate::protocol::{Code, RpcError};
use crate::store::StoreError;
use serde::Serialize;

/// What answers a question: written out at once, since a fleet's list is long.
pub(in crate::daemon) fn value(view: impl Serialize) -> Encoded {
    serde_json::value::to_raw_value(&view).map_err(|error| RpcError::new(Code::Internal, error.to_string()))
}

/// What answers a change.
pub(super) fn encode(answer: Answer) -> Encoded {
    answer.and_then(value)
}

pub(super) fn invalid(what: impl Into<String>) -> RpcError {
    RpcError::new(Code::InvalidParams, what)
}

pub(super) fn down() -> RpcError {
    RpcError::new(Code::ShuttingDown, "the daemon is shutting down")
}

pub(super) fn store_error(error: StoreError) -> RpcError {
    RpcError::new(Code::Internal, error.to_string())
}

pub(super) fn agent_id(text: &str) -> Result<AgentId, RpcError> {
    text.parse().map_err(|error: crate::domain::InvalidAgentId| invalid(error.to_string()))
}

/// The agent, or an error that suggests the nearest name.
pub(super) async fn known_agent(services: &Services, id: &str) -> Result<AgentNow, RpcError> {
    let wanted = id.to_owned();
    let found = services
        .handle
        .ask(move |engine, _| engine.agent(&wanted).ok_or_else(|| views::no_such_agent(&wanted, engine)))
        .await;
    found.unwrap_or_else(|| Err(down()))
}
