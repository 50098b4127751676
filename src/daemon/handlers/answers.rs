//! Answers and errors that handlers share, and the lookup of an agent.
use crate::daemon::inbox::Answer;
use crate::daemon::services::{Encoded, Services};
use crate::daemon::views;
use crate::domain::{AgentId, EventType, LoggedEvent, Payload};
use crate::engine::AgentNow;
use crate::protocol::{Code, RpcError};
use crate::store::{EventFilter, StoreError};
use jiff::Timestamp;
use serde::Serialize;

/// Serializes the answer to a question at once, since the list of a fleet is long.
pub(in crate::daemon) fn value(view: impl Serialize) -> Encoded {
    serde_json::value::to_raw_value(&view).map_err(|error| RpcError::new(Code::Internal, error.to_string()))
}

/// Serializes the answer to a change.
pub(in crate::daemon) fn encode(answer: Answer) -> Encoded {
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

/// Number of recent configurations searched for the removal of an agent.
const MAX_CONFIGURATIONS: u64 = 100;

/// Returns an agent, or an error that suggests the nearest name.
pub(super) async fn known_agent(services: &Services, id: &str) -> Result<AgentNow, RpcError> {
    let wanted = id.to_owned();
    let found = services.handle.ask(move |engine, _| match engine.agent(&wanted) {
        Some(agent) => Ok(agent),
        None => Err((views::no_such_agent(&wanted, engine), engine.was_removed(&wanted))),
    });
    match found.await.ok_or_else(down)? {
        Ok(agent) => Ok(agent),
        Err((_, true)) => Err(views::removed_agent(id, removed_at(services, id).await)),
        Err((error, false)) => Err(error),
    }
}

/// Returns when a configuration removed the agent, if that is still recorded.
async fn removed_at(services: &Services, id: &str) -> Option<Timestamp> {
    let types = vec![EventType::ConfigApplied.as_str().to_owned()];
    let (filter, id) = (EventFilter { types, ..EventFilter::default() }, id.to_owned());
    let names = |event: &LoggedEvent| match event.event().map(|event| event.payload) {
        Some(Payload::ConfigApplied(applied)) => applied.removed.iter().any(|one| one.as_str() == id),
        _ => false,
    };
    let read = services.store.read(move |reader| {
        let cursor = reader.cursor_before_last(MAX_CONFIGURATIONS, &filter)?;
        reader.events_after(cursor, &filter, MAX_CONFIGURATIONS as usize)
    });
    read.await.ok()?.events.iter().rev().find(|event| names(event)).map(|event| event.ts)
}
