//! Changes: passed to the loop, and answered once they are recorded.
use super::answers::{agent_id, down, encode, invalid, store_error};
use super::fleet::find_run;
use crate::daemon::inbox::{Answer, ChangeAsked, Message};
use crate::daemon::services::{CallStep, Reload, Services};
use crate::daemon::views;
use crate::domain::{AgentId, RunMode};
use crate::engine::{Command, PauseEnd, Target, Wish};
use crate::protocol::*;
use crate::store::EventFilter;
use jiff::SignedDuration;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::oneshot;

pub(super) async fn change_target(
    services: &Services,
    agent: Option<String>,
    all: bool,
    asked: ChangeAsked,
    wish: Wish,
    reason: Option<String>,
) -> CallStep {
    let target = match (agent, all) {
        (Some(_), true) => Err(invalid("`agent_id` and `all` exclude each other")),
        (None, false) => Err(invalid("missing field `agent_id` (or `all`: true)")),
        (None, true) => Ok(Target::All),
        (Some(id), false) => agent_id(&id).map(Target::One),
    };
    match target {
        Ok(target) => change(services, Command::Want { target, wish, reason }, asked).await,
        Err(error) => CallStep::Done(Err(error)),
    }
}

pub(super) async fn change_agent(
    services: &Services,
    id: &str,
    asked: ChangeAsked,
    command: impl FnOnce(AgentId) -> Command,
) -> CallStep {
    match agent_id(id) {
        Ok(id) => change(services, command(id), asked).await,
        Err(error) => CallStep::Done(Err(error)),
    }
}

/// Passes a change to the loop, unless it was answered before.
pub(super) async fn change(services: &Services, command: Command, asked: ChangeAsked) -> CallStep {
    if let Some(answer) = answered_before(services, &asked).await {
        return CallStep::Done(encode(answer));
    }
    let (answer, answered) = oneshot::channel();
    send(services, Message::Command { command, asked, answer }, answered).await
}

/// Returns the answer to a repeated mutation, or an error if its id is invalid.
pub(super) async fn answered_before(services: &Services, asked: &ChangeAsked) -> Option<Answer> {
    let id = asked.request_id.clone()?;
    if id.is_empty() || id.len() > 128 {
        return Some(Err(invalid("`request_id` must have 1 to 128 bytes")));
    }
    if asked.waits {
        return None; // already looked up, with retries
    }
    let now = crate::clock::wall();
    match services.store.read(move |reader| reader.answer_to(&id, now)).await {
        Ok(answer) => answer.map(|answer| views::restored(&answer)),
        // a failed lookup is not a fault of the daemon, and nothing has happened
        Err(error) if error.is_passing() => {
            let what = format!("nothing can be recorded: {error}");
            Some(Err(RpcError::new(Code::Refused, what).hint("ask again when the database can be read")))
        }
        Err(error) => Some(Err(store_error(error))),
    }
}

pub(super) async fn send(
    services: &Services,
    message: Message,
    answered: oneshot::Receiver<Answer>,
) -> CallStep {
    if services.handle.inbox.send(message).await.is_err() {
        return CallStep::Done(Err(down()));
    }
    CallStep::Later(Box::pin(async move { encode(answered.await.unwrap_or_else(|_| Err(unanswered()))) }))
}

/// Returns whether the daemon shut down before it could say whether a change was made.
pub(in crate::daemon) fn is_unanswered(error: &RpcError) -> bool {
    *error == unanswered()
}

/// Returns the error for a change that was accepted, while the daemon ended before it was answered.
pub(super) fn unanswered() -> RpcError {
    RpcError::new(Code::ShuttingDown, "the daemon ended before it could say whether this was done").hint(
        "check the state once it is running again, or send the request again with the same `request_id`",
    )
}

pub(super) async fn pause(services: &Services, params: PauseParams, asked: ChangeAsked) -> CallStep {
    let until = match (params.until, params.for_ms) {
        (Some(_), Some(_)) => {
            return CallStep::Done(Err(invalid("`until` and `for_ms` are both given; give one of them")));
        }
        (Some(until), None) if until <= crate::clock::wall() => {
            return CallStep::Done(Err(invalid(format!("`until` ({until}) has passed already"))));
        }
        (Some(until), None) => Some(PauseEnd::At(until)),
        (None, Some(ms)) => {
            let span = i64::try_from(ms).map(SignedDuration::from_millis).unwrap_or(SignedDuration::MAX);
            Some(PauseEnd::After(span))
        }
        (None, None) => None,
    };
    let wish = Wish::Pause { until };
    change_target(services, params.agent_id, params.all, asked, wish, params.reason).await
}

pub(super) async fn cancel_run(
    services: Arc<Services>,
    params: CancelParams,
    asked: ChangeAsked,
) -> CallStep {
    // before the lookup of the run: it may have been removed since
    if let Some(answer) = answered_before(&services, &asked).await {
        return CallStep::Done(encode(answer));
    }
    let row = match find_run(&services, &params.run_id).await {
        Ok(row) => row,
        Err(error) => return CallStep::Done(Err(error)),
    };
    if row.claim.status.is_final() {
        let error = RpcError::new(
            Code::WrongState,
            format!("run {} has ended already: {}", row.claim.run, row.claim.status),
        );
        return CallStep::Done(Err(error));
    }
    change(&services, Command::Cancel { run: row.claim.run, kill: params.now }, asked).await
}

pub(super) async fn reload(services: Arc<Services>, asked: ChangeAsked) -> CallStep {
    let (answer, answered) = oneshot::channel();
    if services.reload.send(Reload::Asked(answer, asked)).await.is_err() {
        return CallStep::Done(Err(down()));
    }
    CallStep::Later(Box::pin(async move {
        let mut view = answered.await.unwrap_or_else(|_| Err(unanswered()))?;
        if view["changed"] == false {
            // the file watcher was faster
            view["last"] = json!(last_applied(&services).await?);
        }
        encode(Ok(view))
    }))
}

pub(super) async fn last_applied(
    services: &Services,
) -> Result<Option<crate::domain::LoggedEvent>, RpcError> {
    let types = vec![crate::domain::EventType::ConfigApplied.as_str().to_owned()];
    let filter = EventFilter { types, ..EventFilter::default() };
    let read = services.store.read(move |reader| {
        let cursor = reader.cursor_before_last(1, &filter)?;
        reader.events_after(cursor, &filter, 1)
    });
    Ok(read.await.map_err(store_error)?.events.pop())
}

/// Claims a run.
pub(super) async fn run_agent(services: &Services, mut params: RunParams, asked: ChangeAsked) -> CallStep {
    let mode = match run_mode(services, &mut params).await {
        Ok(mode) => mode,
        Err(error) => return CallStep::Done(Err(error)),
    };
    let RunParams { agent_id, query, params, .. } = params;
    let query = query.map(Arc::from);
    change_agent(services, &agent_id, asked, |agent| Command::Run { agent, query, params, mode }).await
}

/// Determines the mode of the requested run. A replay keeps the parameters of the original run,
/// except those that are given.
async fn run_mode(services: &Services, params: &mut RunParams) -> Result<RunMode, RpcError> {
    let Some(of) = &params.replay_of else {
        if params.model.is_some() {
            return Err(invalid("`model` goes with `replay_of`"));
        }
        return Ok(if params.rehearse { RunMode::Rehearsal } else { RunMode::Normal });
    };
    if params.rehearse {
        return Err(invalid("`rehearse` and `replay_of` exclude each other"));
    }
    let row = find_run(services, of).await?;
    if row.claim.agent.as_str() != params.agent_id {
        return Err(invalid(format!(
            "run {} is one of agent `{}`, not of `{}`",
            row.claim.run.short(),
            row.claim.agent,
            params.agent_id
        )));
    }
    let given = std::mem::take(&mut params.params);
    params.params = row.claim.params.as_deref().cloned().unwrap_or_default();
    params.params.extend(given);
    if let Some(model) = params.model.clone() {
        let known = services
            .handle
            .ask(move |engine, _| {
                let models = &engine.fleet().models;
                models.contains_key(&model).then_some(()).ok_or_else(|| {
                    let names = models.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    invalid(format!("there is no model `{model}`")).hint(format!("there are: {names}"))
                })
            })
            .await
            .ok_or_else(down)?;
        known?;
    }
    Ok(RunMode::Replay { of: row.claim.run, model: params.model.clone() })
}
