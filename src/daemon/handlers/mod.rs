//! Dispatches each method to its handler. Changes go to the loop, questions about the present to
//! the engine, questions about the past to the store.
use crate::daemon::handlers::answers::{agent_id, invalid, known_agent, store_error, value};
pub(super) mod answers;
pub(super) use answers::encode as encoded;
pub(super) use changes::is_unanswered;
mod backfill;
mod books;
mod changes;
mod configs;
mod fleet;
mod history;
mod nodes;
mod people;
mod tools;

use crate::daemon::inbox::Message;
use crate::daemon::services::{CallStep, Caller, Encoded, Services, Subscription};
use crate::daemon::views;
use crate::domain::{AnsweredBy, Seq};
use crate::engine::{Command, StopMode, Wish};
use crate::protocol::*;
use crate::store::EventFilter;
use books::{daemon_status, memory, usage};
use changes::{cancel_run, change, change_agent, change_target, pause, reload, run_agent, send};
use fleet::{agent_status, explain_slot, find_run, get_run, list_agents, next_slots, run_output};
use history::{list_approvals, list_runs, list_slots};
use nodes::list_nodes;
use people::test_notification;
use std::sync::Arc;
use tokio::sync::oneshot;
use tools::{ask_archive, call_tool, list_mcp, trust_mcp};

/// Starts to handle a request. Changes are in the loop's inbox when this returns, in call order.
pub(super) async fn handle(request: Request, services: &Arc<Services>, caller: &Caller) -> CallStep {
    let services = services.clone();
    match request {
        Request::AtOnce(request) => at_once(request, &services, caller).await,
        Request::InTurn(request) => in_turn(request, services, caller).await,
        Request::Beside(request) => CallStep::Later(Box::pin(beside(request, services))),
    }
}

async fn at_once(request: AtOnce, services: &Services, caller: &Caller) -> CallStep {
    match request {
        AtOnce::Hello(params) => CallStep::Done(hello(&params, services, caller)),
        AtOnce::Ping(_) => CallStep::Done(value(PongView { now: crate::clock::wall() })),
        AtOnce::StreamAgentEvents(p) => stream(services, p).await,
        AtOnce::Unsubscribe(p) => CallStep::Unsubscribe(p.subscription),
    }
}

impl Caller {
    /// Adds the caller at another node to the reason of a change.
    fn reason(&self, reason: Option<String>) -> Option<String> {
        match (reason, &self.by) {
            (Some(reason), Some(by)) => Some(format!("{reason} ({by})")),
            (None, Some(by)) => Some(format!("asked by {by}")),
            (reason, None) => reason,
        }
    }

    fn answered_by(&self) -> Option<AnsweredBy> {
        self.by.clone().map(|who| AnsweredBy { who, call: None })
    }
}

/// How a standby handles a request.
pub(super) enum StandbyRoute {
    /// It answers itself.
    Here(Request),
    /// The leader answers; if there is none, the request is answered from the records if possible.
    Leader(Option<Beside>),
}

/// Returns who answers a request at a standby: records are read there, and the leader is asked for
/// what the engine knows or decides.
pub(super) fn route_at_standby(request: Request) -> StandbyRoute {
    match request {
        Request::AtOnce(_) | Request::InTurn(InTurn::Shutdown(_)) => StandbyRoute::Here(request),
        Request::InTurn(_) => StandbyRoute::Leader(None),
        Request::Beside(request) => match request {
            Beside::GetAgentStatus(_) | Beside::ListAgents(_) | Beside::NextSlots(_) => {
                StandbyRoute::Leader(Some(request))
            }
            Beside::ListTools(_)
            | Beside::TestNotification(_)
            | Beside::CallTool(_)
            | Beside::AskArchive(_)
            | Beside::ListMcp(_) => StandbyRoute::Leader(None),
            Beside::ListRuns(_)
            | Beside::GetRun(_)
            | Beside::GetRunOutput(_)
            | Beside::ExplainSlot(_)
            | Beside::ListSlots(_)
            | Beside::GetDaemonStatus(_)
            | Beside::ListNodes(_)
            | Beside::ListConfigs(_)
            | Beside::GetUsage(_)
            | Beside::ListApprovals(_)
            | Beside::ListIncidents(_)
            | Beside::GetMemory(_) => StandbyRoute::Here(Request::Beside(request)),
        },
    }
}

/// Handles requests that change what the engine decides.
async fn in_turn(request: InTurn, services: Arc<Services>, caller: &Caller) -> CallStep {
    match request {
        InTurn::StartAgent(p) => {
            let asked = caller.asks(p.request_id);
            change_target(&services, p.agent_id, p.all, asked, Wish::Start, caller.reason(p.reason)).await
        }
        InTurn::ResumeAgent(p) => {
            let asked = caller.asks(p.request_id);
            change_target(&services, p.agent_id, p.all, asked, Wish::Resume, caller.reason(p.reason)).await
        }
        InTurn::PauseAgent(mut p) => {
            p.reason = caller.reason(p.reason);
            let asked = caller.asks(p.request_id.take());
            pause(&services, p, asked).await
        }
        InTurn::StopAgent(p) => {
            let mode = match (p.drain, p.now) {
                (true, true) => return CallStep::Done(Err(invalid("`drain` and `now` exclude each other"))),
                (true, false) => StopMode::Drain,
                (false, true) => StopMode::Kill,
                (false, false) => StopMode::Terminate,
            };
            let wish = Wish::Stop { mode };
            let asked = caller.asks(p.request_id);
            change_target(&services, p.agent_id, p.all, asked, wish, caller.reason(p.reason)).await
        }
        InTurn::RunAgent(mut p) => {
            let asked = caller.asks(p.request_id.take());
            run_agent(&services, p, asked).await
        }
        InTurn::DecideApproval(p) => {
            let decide =
                Command::Decide { id: p.id, approve: p.approve, reason: p.reason, by: caller.answered_by() };
            change(&services, decide, caller.asks(None)).await
        }
        InTurn::SkipAgent(p) => {
            let asked = caller.asks(p.request_id);
            change_agent(&services, &p.agent_id, asked, |agent| Command::Skip { agent }).await
        }
        InTurn::BackfillAgent(p) => {
            let asked = caller.asks(p.request_id.clone());
            backfill::backfill(&services, p, asked).await
        }
        InTurn::CancelRun(mut p) => {
            let asked = caller.asks(p.request_id.take());
            cancel_run(services, p, asked).await
        }
        InTurn::ClearMemory(p) => {
            change_agent(&services, &p.agent_id, caller.asks(None), |agent| Command::Forget { agent }).await
        }
        InTurn::TrustMcp(p) => trust_mcp(&services, p, caller.asks(None)),
        InTurn::AckIncident(p) => {
            let agent = match p.agent_id.as_deref().map(agent_id).transpose() {
                Ok(agent) => agent,
                Err(error) => return CallStep::Done(Err(error)),
            };
            change(&services, Command::Ack { agent, key: p.key }, caller.asks(None)).await
        }
        InTurn::ApplyConfig(p) => configs::apply(services, p, caller).await,
        InTurn::ReloadConfig(_) => reload(services, caller.asks(None)).await,
        InTurn::Shutdown(p) => {
            let (answer, answered) = oneshot::channel();
            let message =
                Message::ShutDown { reason: "asked by a client".into(), now: p.now, answer: Some(answer) };
            send(&services, message, answered).await
        }
    }
}

/// Handles requests that the engine does not decide.
pub(super) async fn beside(request: Beside, services: Arc<Services>) -> Encoded {
    match request {
        Beside::GetAgentStatus(p) => agent_status(&services, &p.agent_id).await,
        Beside::ListAgents(p) => list_agents(&services, p).await,
        Beside::ListRuns(p) => list_runs(&services, p).await,
        Beside::GetRun(p) => get_run(&services, p).await,
        Beside::GetRunOutput(p) => run_output(&services, p).await,
        Beside::NextSlots(p) => next_slots(&services, p).await,
        Beside::ExplainSlot(p) => explain_slot(&services, p).await,
        Beside::GetUsage(p) => usage(&services, p).await,
        Beside::GetDaemonStatus(_) => daemon_status(&services).await,
        Beside::ListConfigs(p) => configs::list_configs(&services, p).await,
        Beside::ListNodes(_) => value(list_nodes(&services).await?),
        Beside::ListTools(_) => {
            let tools = services.tools.lock().expect("no holder panics").clone();
            value(tools.list().into_iter().map(views::tool).collect::<Vec<_>>())
        }
        Beside::TestNotification(p) => test_notification(&services, p).await,
        Beside::CallTool(p) => call_tool(&services, p).await,
        Beside::AskArchive(p) => ask_archive(&services, p).await,
        Beside::ListMcp(p) => list_mcp(&services, p).await,
        Beside::ListIncidents(p) => {
            let limit = usize::try_from(p.limit.unwrap_or(1000)).unwrap_or(usize::MAX).min(10_000);
            let rows = services
                .store
                .read(move |reader| reader.incidents_since(p.all, p.since, limit))
                .await
                .map_err(store_error)?;
            value(rows.iter().map(views::incident).collect::<Vec<_>>())
        }
        Beside::ListApprovals(p) => list_approvals(&services, p).await,
        Beside::ListSlots(p) => list_slots(&services, p).await,
        Beside::GetMemory(p) => memory(&services, &p.agent_id).await,
    }
}

fn hello(params: &HelloParams, services: &Services, caller: &Caller) -> Encoded {
    let common = PROTOCOLS.iter().rev().find(|ours| params.protocols.contains(ours));
    let Some(&protocol) = common else {
        let (theirs, newest) = (params.protocols.iter().max(), PROTOCOLS.iter().max());
        let older = if theirs < newest {
            "the client is older: install the daemon's release"
        } else {
            "the daemon is older: restart it (`bgagent shutdown`, then `bgagent daemon`)"
        };
        let message = format!(
            "no common protocol: {} speaks {:?}, this daemon ({}) speaks {PROTOCOLS:?}",
            if params.client.is_empty() { "the client" } else { &params.client },
            params.protocols,
            env!("CARGO_PKG_VERSION"),
        );
        return Err(RpcError::new(Code::Protocol, message).hint(older));
    };
    value(HelloView {
        protocol,
        protocols: PROTOCOLS.to_vec(),
        server: concat!("bgagent ", env!("CARGO_PKG_VERSION")).into(),
        pid: std::process::id(),
        database: services.database.clone(),
        ancestors: services.ancestors.iter().map(views::ancestor).collect(),
        of_agent: caller.of_agent,
    })
}

async fn stream(services: &Services, params: StreamParams) -> CallStep {
    match subscription(services, params).await {
        Ok(subscription) => CallStep::Stream(Box::new(subscription)),
        Err(error) => CallStep::Done(Err(error)),
    }
}

async fn subscription(services: &Services, params: StreamParams) -> Result<Subscription, RpcError> {
    let run = match params.run_id {
        Some(text) => Some(find_run(services, &text).await?.claim.run),
        None => None,
    };
    for agent in &params.agents {
        check_agent_filter(services, agent).await?;
    }
    let filter = EventFilter { agents: params.agents, types: params.types, run, until: params.until };
    let mut newest = services.store.newest_now().await.map_err(store_error)?;
    let read = services.store.clone();
    let mut instead_after = None;
    let cursor = match (params.from, params.since, params.last) {
        (Some(from), _, _) => {
            let cursor = Seq(from.saturating_sub(1));
            if cursor > newest {
                // an event committed a moment ago may have been read before it was announced
                newest = read.read(|reader| reader.newest()).await.map_err(store_error)?.max(newest);
            }
            if cursor > newest {
                let after = if params.resume { services.began_after.min(newest) } else { newest };
                instead_after = Some(after.0);
                after
            } else {
                cursor
            }
        }
        (None, Some(since), _) => {
            read.read(move |reader| reader.cursor_at(since)).await.map_err(store_error)?
        }
        (None, None, Some(_)) => Seq(0),
        (None, None, None) => newest,
    };
    // the newest `last` of those
    let cursor = match params.last {
        Some(last) => {
            let asked = filter.clone();
            let before = read.read(move |reader| reader.cursor_before_last(last, &asked));
            before.await.map_err(store_error)?.max(cursor)
        }
        None => cursor,
    };
    Ok(Subscription { cursor, newest, instead_after, filter, follow: params.follow })
}

/// Accepts a pattern, an agent, or a removed agent whose events are still recorded. Otherwise
/// returns an error that suggests the nearest name.
async fn check_agent_filter(services: &Services, name: &str) -> Result<(), RpcError> {
    if name.contains(['*', '?']) {
        return Ok(());
    }
    let Err(error) = known_agent(services, name).await else { return Ok(()) };
    let filter = EventFilter { agents: vec![name.to_owned()], ..EventFilter::default() };
    let newest = services.store.newest_now().await.map_err(store_error)?;
    let last = services.store.read(move |reader| reader.cursor_before_last(1, &filter)).await;
    if last.map_err(store_error)? < newest { Ok(()) } else { Err(error) }
}
