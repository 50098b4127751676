//! One arm per method: who answers it, and from what. Changes go to the loop, questions about the
//! present to the engine, questions about the past to the store.
use super::event_loop::{Answer, Message};
use super::explain;
use super::session::{Services, Step, Subscription};
use super::views;
use super::watch::Reload;
use crate::domain::{AgentId, Body, Entry, Fact, MemoryChange, RunId, RunMode, RunStatus, Seq, glob};
use crate::engine::{AgentNow, Command, StopMode, Target};
use crate::protocol::*;
use crate::store::{EventFilter, FoundRun, RunFilter, RunRow, StoreError, UsageBy};
use crate::tools::{ArchiveAsk, ArchiveRange, CallContext};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Output of one answer; more is read by asking again.
const OUTPUT_BYTES: usize = 512 << 10;
/// Events of one run that `get_run` shows.
const EVENTS_OF_RUN: usize = 500;

/// How long an MCP server may take to start and to list its tools.
const MCP_TIME: std::time::Duration = std::time::Duration::from_secs(30);

/// Begins to work on a request. Changes are in the loop's inbox when this returns, in the order of
/// the calls.
pub(super) async fn handle(request: Request, services: &Arc<Services>) -> Step {
    let services = services.clone();
    match request {
        Request::Hello(params) => Step::Done(hello(&params, &services)),
        Request::Ping(_) => Step::Done(value(PongView { now: Timestamp::now() })),
        Request::StartAgent(p) => {
            change_target(&services, p.agent_id, p.all, p.request_id, |t| Command::Start(t, p.reason)).await
        }
        Request::ResumeAgent(p) => {
            change_target(&services, p.agent_id, p.all, p.request_id, |t| Command::Resume(t, p.reason)).await
        }
        Request::PauseAgent(p) => pause(&services, p).await,
        Request::StopAgent(p) => {
            let mode = match (p.drain, p.now) {
                (true, true) => return Step::Done(Err(invalid("`drain` and `now` exclude each other"))),
                (true, false) => StopMode::Drain,
                (false, true) => StopMode::Kill,
                (false, false) => StopMode::Terminate,
            };
            change_target(&services, p.agent_id, p.all, p.request_id, |t| Command::Stop(t, p.reason, mode))
                .await
        }
        Request::RunAgent(p) => match run_mode(&services, &p).await {
            Ok(mode) => {
                let query = p.query.map(Arc::from);
                change_agent(&services, &p.agent_id, p.request_id, |id| Command::Run(id, query, mode)).await
            }
            Err(error) => Step::Done(Err(error)),
        },
        Request::DecideApproval(p) => {
            change(&services, Command::Decide(p.id, p.approve, p.reason), None).await
        }
        Request::SkipAgent(p) => change_agent(&services, &p.agent_id, p.request_id, Command::Skip).await,
        Request::CancelRun(p) => cancel_run(services, p).await,
        Request::AckIncident(p) => {
            let agent = match p.agent_id.as_deref().map(agent_id).transpose() {
                Ok(agent) => agent,
                Err(error) => return Step::Done(Err(error)),
            };
            change(&services, Command::Ack(agent, p.key), None).await
        }
        Request::StreamAgentEvents(p) => stream(&services, p).await,
        Request::Unsubscribe(p) => Step::Unsubscribe(p.subscription),
        Request::ReloadConfig(_) => reload(services).await,
        Request::Shutdown(p) => {
            let (answer, answered) = oneshot::channel();
            let message =
                Message::ShutDown { reason: "asked by a client".into(), now: p.now, answer: Some(answer) };
            send(&services, message, answered).await
        }
        other => Step::Later(Box::pin(question(other, services))),
    }
}

/// Requests that change nothing.
async fn question(request: Request, services: Arc<Services>) -> Answer {
    match request {
        Request::GetAgentStatus(p) => agent_status(&services, &p.agent_id).await,
        Request::ListAgents(p) => list_agents(&services, p).await,
        Request::ListRuns(p) => list_runs(&services, p).await,
        Request::GetRun(p) => get_run(&services, &p.run_id).await,
        Request::GetRunOutput(p) => run_output(&services, p).await,
        Request::NextSlots(p) => next_slots(&services, p).await,
        Request::ExplainSlot(p) => explain_slot(&services, p).await,
        Request::GetUsage(p) => usage(&services, p).await,
        Request::GetDaemonStatus(_) => daemon_status(&services).await,
        Request::ListTools(_) => {
            let tools = services.tools.lock().expect("no holder panics").clone();
            value(tools.list().into_iter().map(views::tool).collect::<Vec<_>>())
        }
        Request::CallTool(p) => call_tool(&services, p).await,
        Request::AskArchive(p) => ask_archive(&services, p).await,
        Request::ListMcp(p) => list_mcp(&services, p).await,
        Request::TrustMcp(p) => {
            let tools = services.tools.lock().expect("no holder panics").clone();
            let changes = tools.servers().trust(&p.server).map_err(|error| views::tool_error(&error))?;
            let tools = changes.into_iter().map(|change| change.tool).collect();
            value(TrustView { server: p.server, tools })
        }
        Request::ListIncidents(p) => {
            let rows = services
                .store
                .read(move |reader| reader.incidents(p.all, 1000))
                .await
                .map_err(store_error)?;
            value(rows.iter().map(views::incident).collect::<Vec<_>>())
        }
        Request::ListApprovals(_) => {
            let waiting = services.store.read(|reader| reader.approvals()).await.map_err(store_error)?;
            value(waiting.into_iter().map(views::approval).collect::<Vec<_>>())
        }
        Request::GetMemory(p) => memory(&services, &p.agent_id).await,
        Request::ClearMemory(p) => clear_memory(&services, &p.agent_id).await,
        Request::Hello(_)
        | Request::Ping(_)
        | Request::StartAgent(_)
        | Request::PauseAgent(_)
        | Request::ResumeAgent(_)
        | Request::StopAgent(_)
        | Request::StreamAgentEvents(_)
        | Request::Unsubscribe(_)
        | Request::RunAgent(_)
        | Request::CancelRun(_)
        | Request::SkipAgent(_)
        | Request::DecideApproval(_)
        | Request::ReloadConfig(_)
        | Request::Shutdown(_)
        | Request::AckIncident(_) => unreachable!("taken by the caller"),
    }
}

fn value(view: impl Serialize) -> Answer {
    serde_json::to_value(view).map_err(|error| RpcError::new(Code::Internal, error.to_string()))
}

fn invalid(what: impl Into<String>) -> RpcError {
    RpcError::new(Code::InvalidParams, what)
}

fn down() -> RpcError {
    RpcError::new(Code::ShuttingDown, "the daemon is shutting down")
}

fn store_error(error: StoreError) -> RpcError {
    RpcError::new(Code::Internal, error.to_string())
}

fn agent_id(text: &str) -> Result<AgentId, RpcError> {
    text.parse().map_err(|error: crate::domain::InvalidAgentId| invalid(error.to_string()))
}

fn hello(params: &HelloParams, services: &Services) -> Answer {
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
    })
}

async fn change_target(
    services: &Services,
    agent: Option<String>,
    all: bool,
    request_id: Option<String>,
    command: impl FnOnce(Target) -> Command,
) -> Step {
    let target = match (agent, all) {
        (Some(_), true) => Err(invalid("`agent_id` and `all` exclude each other")),
        (None, false) => Err(invalid("missing field `agent_id` (or `all`: true)")),
        (None, true) => Ok(Target::All),
        (Some(id), false) => agent_id(&id).map(Target::One),
    };
    match target {
        Ok(target) => change(services, command(target), request_id).await,
        Err(error) => Step::Done(Err(error)),
    }
}

async fn change_agent(
    services: &Services,
    id: &str,
    request_id: Option<String>,
    command: impl FnOnce(AgentId) -> Command,
) -> Step {
    match agent_id(id) {
        Ok(id) => change(services, command(id), request_id).await,
        Err(error) => Step::Done(Err(error)),
    }
}

/// Hands a change to the loop, unless it was answered before.
async fn change(services: &Services, command: Command, request_id: Option<String>) -> Step {
    if let Some(answer) = answered_before(services, request_id.as_deref()).await {
        return Step::Done(answer);
    }
    let (answer, answered) = oneshot::channel();
    send(services, Message::Command { command, request_id, answer }, answered).await
}

/// The answer to a mutation that was sent before; or an error, if its id is none.
async fn answered_before(services: &Services, request_id: Option<&str>) -> Option<Answer> {
    let id = request_id?.to_owned();
    if id.is_empty() || id.len() > 128 {
        return Some(Err(invalid("`request_id` must have 1 to 128 bytes")));
    }
    let now = Timestamp::now();
    match services.store.read(move |reader| reader.answer_to(&id, now)).await {
        Ok(answer) => answer.map(|answer| views::restored(&answer)),
        Err(error) => Some(Err(store_error(error))),
    }
}

async fn send(services: &Services, message: Message, answered: oneshot::Receiver<Answer>) -> Step {
    if services.handle.inbox.send(message).await.is_err() {
        return Step::Done(Err(down()));
    }
    Step::Later(Box::pin(async move { answered.await.unwrap_or_else(|_| Err(down())) }))
}

async fn pause(services: &Services, params: PauseParams) -> Step {
    if let Some(until) = params.until.filter(|until| *until <= Timestamp::now()) {
        return Step::Done(Err(invalid(format!("`until` ({until}) has passed already"))));
    }
    change_target(services, params.agent_id, params.all, params.request_id, |target| {
        Command::Pause(target, params.reason, params.until)
    })
    .await
}

async fn cancel_run(services: Arc<Services>, params: CancelParams) -> Step {
    // before the run is looked for: it may be gone since
    if let Some(answer) = answered_before(&services, params.request_id.as_deref()).await {
        return Step::Done(answer);
    }
    let row = match find_run(&services, &params.run_id).await {
        Ok(row) => row,
        Err(error) => return Step::Done(Err(error)),
    };
    if row.claim.status.is_final() {
        let error = RpcError::new(
            Code::WrongState,
            format!("run {} has ended already: {}", row.claim.run, row.claim.status),
        );
        return Step::Done(Err(error));
    }
    change(&services, Command::Cancel(row.claim.run, params.now), params.request_id).await
}

async fn reload(services: Arc<Services>) -> Step {
    let (answer, answered) = oneshot::channel();
    if services.reload.send(Reload::Asked(answer)).await.is_err() {
        return Step::Done(Err(down()));
    }
    Step::Later(Box::pin(async move {
        let mut view = answered.await.unwrap_or_else(|_| Err(down()))?;
        if view["changed"] == false {
            // whoever watches the file was faster
            view["last"] = json!(last_applied(&services).await?);
        }
        Ok(view)
    }))
}

async fn last_applied(services: &Services) -> Result<Option<crate::domain::Event>, RpcError> {
    let types = vec![crate::domain::EventType::ConfigApplied.as_str().to_owned()];
    let filter = EventFilter { types, ..EventFilter::default() };
    let read = services.store.read(move |reader| {
        let cursor = reader.cursor_before_last(1, &filter)?;
        reader.events_after(cursor, &filter, 1)
    });
    Ok(read.await.map_err(store_error)?.events.pop())
}

async fn stream(services: &Services, params: StreamParams) -> Step {
    match subscription(services, params).await {
        Ok(subscription) => Step::Stream(Box::new(subscription)),
        Err(error) => Step::Done(Err(error)),
    }
}

async fn subscription(services: &Services, params: StreamParams) -> Result<Subscription, RpcError> {
    let run = match params.run_id {
        Some(text) => Some(find_run(services, &text).await?.claim.run),
        None => None,
    };
    for agent in &params.agents {
        heard_of(services, agent).await?;
    }
    let filter = EventFilter { agents: params.agents, types: params.types, run, until: params.until };
    let newest = *services.store.newest().borrow();
    let read = services.store.clone();
    let cursor = match (params.from, params.since, params.last) {
        (Some(from), _, _) => Seq(from.saturating_sub(1)),
        (None, Some(since), _) => {
            read.read(move |reader| reader.cursor_at(since)).await.map_err(store_error)?
        }
        (None, None, Some(last)) => {
            let asked = filter.clone();
            read.read(move |reader| reader.cursor_before_last(last, &asked)).await.map_err(store_error)?
        }
        (None, None, None) => newest,
    };
    Ok(Subscription { cursor, newest, filter, follow: params.follow })
}

/// Is this a pattern, an agent, or one that was removed and whose events are still there? An error
/// suggests the nearest name.
async fn heard_of(services: &Services, name: &str) -> Result<(), RpcError> {
    if name.contains(['*', '?']) {
        return Ok(());
    }
    let Err(error) = known_agent(services, name).await else { return Ok(()) };
    let filter = EventFilter { agents: vec![name.to_owned()], ..EventFilter::default() };
    let newest = *services.store.newest().borrow();
    let last = services.store.read(move |reader| reader.cursor_before_last(1, &filter)).await;
    if last.map_err(store_error)? < newest { Ok(()) } else { Err(error) }
}

/// The agent, or an error that suggests the nearest name.
async fn known_agent(services: &Services, id: &str) -> Result<AgentNow, RpcError> {
    let wanted = id.to_owned();
    let found = services
        .handle
        .ask(move |engine, _| engine.agent(&wanted).ok_or_else(|| views::no_such_agent(&wanted, engine)))
        .await;
    found.unwrap_or_else(|| Err(down()))
}

async fn list_agents(services: &Services, params: ListParams) -> Answer {
    for agent in params.agents.iter().filter(|agent| !agent.contains(['*', '?'])) {
        known_agent(services, agent).await?;
    }
    let found = services
        .handle
        .ask(move |engine, _| {
            engine
                .agents(|id| params.agents.is_empty() || params.agents.iter().any(|wanted| glob(wanted, id)))
        })
        .await
        .ok_or_else(down)?;
    value(found.iter().map(views::agent).collect::<Vec<_>>())
}

async fn agent_status(services: &Services, id: &str) -> Answer {
    let now = known_agent(services, id).await?;
    let agent = now.spec.id.clone();
    let wanted = agent.clone();
    let next = services
        .handle
        .ask(move |engine, _| engine.coming(|id| id == wanted.as_str(), Timestamp::MAX, 3))
        .await
        .ok_or_else(down)?;
    let wanted = agent.clone();
    let (path, limits) = services
        .handle
        .ask(move |engine, now| {
            (engine.fleet().path.clone(), engine.budget_left(Some(wanted.as_str()), now.wall))
        })
        .await
        .ok_or_else(down)?;
    let since = Timestamp::now() - SignedDuration::from_hours(24);
    let history = services
        .store
        .read(move |reader| {
            let runs = reader.runs(&RunFilter { agent: Some(agent.clone()), status: None, limit: 100 })?;
            let verdicts = reader.verdicts_since(&agent, since)?;
            let incidents = reader
                .incidents(false, 1000)?
                .into_iter()
                .filter(|incident| incident.agent == agent)
                .collect();
            Ok(views::History { runs, verdicts, incidents, limits })
        })
        .await
        .map_err(store_error)?;
    value(views::detail(&now, &next, &history, &path))
}

async fn list_runs(services: &Services, params: ListRunsParams) -> Answer {
    let agent = match &params.agent_id {
        Some(id) => Some(agent_id(id)?),
        None => None,
    };
    let status = match params.status.as_deref() {
        Some(word) => Some(RunStatus::parse(word).ok_or_else(|| {
            let words: Vec<&str> = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
            invalid(format!("`{word}` is no status; use one of {}", words.join(", ")))
        })?),
        None => None,
    };
    let limit = usize::try_from(params.limit.unwrap_or(20)).unwrap_or(usize::MAX).min(10_000);
    let filter = RunFilter { agent, status, limit };
    let rows = services.store.read(move |reader| reader.runs(&filter)).await.map_err(store_error)?;
    if let (true, Some(id)) = (rows.is_empty(), &params.agent_id) {
        known_agent(services, id).await?;
    }
    value(rows.iter().map(views::run).collect::<Vec<_>>())
}

async fn find_run(services: &Services, text: &str) -> Result<RunRow, RpcError> {
    let wanted = text.to_owned();
    match services.store.read(move |reader| reader.find_run(&wanted)).await.map_err(store_error)? {
        FoundRun::One(row) => Ok(*row),
        FoundRun::None => {
            let error = RpcError::new(Code::NoSuchRun, format!("no run `{text}`"));
            if known_agent(services, text).await.is_ok() {
                let hint = format!("`{text}` is an agent: bgagent status {text}, or bgagent runs {text}");
                return Err(error.hint(hint));
            }
            let short = text.len() < 4 && text.bytes().all(|c| c.is_ascii_hexdigit());
            Err(error.hint(if short {
                "give at least the last 4 digits of its id; `bgagent runs` lists the newest"
            } else {
                "`bgagent runs` lists the newest"
            }))
        }
        FoundRun::Several(ids) => {
            let some: Vec<String> = ids.iter().take(5).map(RunId::to_string).collect();
            Err(RpcError::new(Code::NoSuchRun, format!("`{text}` names several runs: {}", some.join(", ")))
                .hint("give more digits"))
        }
    }
}

async fn get_run(services: &Services, text: &str) -> Answer {
    let row = find_run(services, text).await?;
    let run = row.claim.run;
    let (events, output, steps) = services
        .store
        .read(move |reader| {
            let filter = EventFilter { run: Some(run), ..EventFilter::default() };
            let mut events = Vec::new();
            let mut cursor = Seq(0);
            while events.len() < EVENTS_OF_RUN {
                let page = reader.events_after(cursor, &filter, EVENTS_OF_RUN)?;
                events.extend(page.events);
                if page.at_end || page.cursor <= cursor {
                    break;
                }
                cursor = page.cursor;
            }
            Ok((events, reader.output(run, 0, OUTPUT_BYTES)?, reader.steps(run)?))
        })
        .await
        .map_err(store_error)?;
    let steps = steps.into_iter().map(views::step).collect();
    value(RunDetail { run: views::run(&row), events, output: views::output(&row, output), steps })
}

async fn run_output(services: &Services, params: OutputParams) -> Answer {
    let row = match (params.run_id, params.agent_id) {
        (Some(run), _) => find_run(services, &run).await?,
        (None, Some(agent)) => {
            let id = agent_id(&agent)?;
            let filter = RunFilter { agent: Some(id), status: None, limit: 1 };
            let rows = services.store.read(move |reader| reader.runs(&filter)).await.map_err(store_error)?;
            match rows.into_iter().next() {
                Some(row) => row,
                None => {
                    known_agent(services, &agent).await?;
                    return value(OutputView::default());
                }
            }
        }
        (None, None) => return Err(invalid("missing field `run_id` or `agent_id`")),
    };
    let run = row.claim.run;
    let after = params.after.unwrap_or(0);
    let page = services
        .store
        .read(move |reader| reader.output(run, after, OUTPUT_BYTES))
        .await
        .map_err(store_error)?;
    value(views::output(&row, page))
}

async fn next_slots(services: &Services, params: NextParams) -> Answer {
    let most = usize::try_from(params.limit.unwrap_or(20)).unwrap_or(usize::MAX).min(10_000);
    let reach = i64::try_from(params.for_secs.unwrap_or(86_400)).unwrap_or(i64::MAX);
    let until = Timestamp::now().checked_add(SignedDuration::from_secs(reach)).unwrap_or(Timestamp::MAX);
    for agent in params.agents.iter().filter(|agent| !agent.contains(['*', '?'])) {
        known_agent(services, agent).await?;
    }
    let coming = services
        .handle
        .ask(move |engine, _| {
            let coming = engine.coming(
                |id| params.agents.is_empty() || params.agents.iter().any(|wanted| glob(wanted, id)),
                until,
                most,
            );
            coming.into_iter().map(|slot| views::slot(&slot, engine)).collect::<Vec<_>>()
        })
        .await
        .ok_or_else(down)?;
    value(coming)
}

async fn explain_slot(services: &Services, params: ExplainParams) -> Answer {
    let now = known_agent(services, &params.agent_id).await?;
    let asked = params.at;
    let at = asked.unwrap_or_else(Timestamp::now);
    let agent = now.spec.id.clone();
    let row = services.store.read(move |reader| reader.ledger_at(&agent, at)).await.map_err(store_error)?;
    let run = match row.as_ref().and_then(|row| row.run) {
        Some(run) => find_run(services, &run.to_string()).await.ok(),
        None => None,
    };
    value(explain::explain(&now, asked, row.as_ref(), run.as_ref(), Timestamp::now()))
}

async fn usage(services: &Services, params: UsageParams) -> Answer {
    let by = match params.by.as_deref() {
        None | Some("agent") => UsageBy::Agent,
        Some("model") => UsageBy::Model,
        Some("day") => UsageBy::Day,
        Some(other) => return Err(invalid(format!("`{other}`: use agent, model or day"))),
    };
    let (today, zone) = services
        .handle
        .ask(|engine, now| {
            let zone = engine.fleet().daemon.timezone.clone();
            (now.wall.to_zoned(zone.clone()).date(), zone)
        })
        .await
        .ok_or_else(down)?;
    let since = params.days.map(|days| {
        let back = jiff::Span::new().days(i64::from(days.clamp(1, 36_500)) - 1);
        today.checked_sub(back).unwrap_or(today)
    });
    let (spent, runs) = services
        .store
        .read(move |reader| Ok((reader.spent(by, since)?, reader.runs_by(by, since, &zone)?)))
        .await
        .map_err(store_error)?;
    let mut rows: BTreeMap<String, UsageView> = BTreeMap::new();
    let row = |key: &String| UsageView {
        key: key.clone(),
        runs: 0,
        usage: crate::domain::Usage::default(),
        limits: Vec::new(),
    };
    for (key, usage) in spent {
        rows.entry(key.clone()).or_insert_with(|| row(&key)).usage = usage;
    }
    for (key, count) in runs {
        if by != UsageBy::Model || key != "-" {
            rows.entry(key.clone()).or_insert_with(|| row(&key)).runs = count;
        }
    }
    if by == UsageBy::Agent {
        let names: Vec<String> = rows.keys().cloned().collect();
        let limits = services
            .handle
            .ask(move |engine, now| {
                names
                    .into_iter()
                    .map(|name| (engine.budget_left(Some(&name), now.wall), name))
                    .collect::<Vec<_>>()
            })
            .await
            .ok_or_else(down)?;
        for (left, name) in limits {
            if let Some(row) = rows.get_mut(&name) {
                row.limits = left.iter().map(views::limit).collect();
            }
        }
    }
    value(rows.into_values().collect::<Vec<_>>())
}

/// How the run that a client asks for goes about its work.
async fn run_mode(services: &Services, params: &RunParams) -> Result<RunMode, RpcError> {
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

async fn memory(services: &Services, id: &str) -> Answer {
    let now = known_agent(services, id).await?;
    let (agent, session) = (now.spec.id.clone(), now.spec.session());
    let (notes, said, seen) = services
        .store
        .read(move |reader| {
            Ok((reader.notes(&agent, None)?, reader.session(&session, 200)?, reader.seen_count(&agent)?))
        })
        .await
        .map_err(store_error)?;
    let mut all: Vec<MemoryView> =
        notes.into_iter().map(|note| MemoryView { key: note.key, value: note.text, at: note.at }).collect();
    for row in said {
        let (key, value) = match row.message {
            crate::domain::ChatMessage::User { text } => ("session: asked", text),
            crate::domain::ChatMessage::Model(turn) => ("session: answered", turn.text),
            crate::domain::ChatMessage::Tools { .. } => continue,
        };
        all.push(MemoryView { key: key.to_owned(), value, at: row.at });
    }
    if seen > 0 {
        let value = format!("{seen} item(s) of its gate");
        all.push(MemoryView { key: "seen".into(), value, at: Timestamp::now() });
    }
    value(all)
}

async fn clear_memory(services: &Services, id: &str) -> Answer {
    let now = known_agent(services, id).await?;
    let change = MemoryChange::Cleared { agent: now.spec.id.clone(), session: now.spec.session() };
    let entry = Entry { at: Timestamp::now(), fact: Fact::Remembered(Box::new(change)) };
    services.store.commit(vec![entry]).await.map_err(store_error)?;
    services.results.lock().expect("no holder panics").insert(now.spec.id.clone(), None);
    value(NoView {})
}

async fn daemon_status(services: &Services) -> Answer {
    let now = Timestamp::now();
    let stats = services.store.read(move |reader| reader.stats(now)).await.map_err(store_error)?;
    let (fleet_now, fleet) = services
        .handle
        .ask(|engine, _| (engine.fleet_now(), engine.fleet().clone()))
        .await
        .ok_or_else(down)?;
    let budget =
        services.handle.ask(|engine, now| engine.budget_left(None, now.wall)).await.ok_or_else(down)?;
    let condition = services.handle.condition.lock().expect("no holder panics");
    let state = match (&condition.storage, condition.stopping) {
        (_, true) => "stopping",
        (Some(_), _) => "degraded",
        _ => "ok",
    };
    value(DaemonView {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: services.started_at,
        state: state.into(),
        problem: condition.storage.clone(),
        socket: services.socket.display().to_string(),
        state_dir: services.paths.state_dir.display().to_string(),
        config_path: fleet.path.display().to_string(),
        config_hash: fleet.hash.to_string(),
        config_at: condition.config_at.unwrap_or(services.started_at),
        config_errors: condition.config_errors.clone(),
        agents: fleet_now.by_state,
        failing: fleet_now.failing,
        running: fleet_now.running,
        queued: fleet_now.queued,
        max_parallel_runs: fleet.daemon.max_parallel_runs as u64,
        newest_seq: stats.newest_seq,
        oldest_seq: stats.oldest_seq,
        events_per_second: stats.events_last_minute as f64 / 60.0,
        database_bytes: stats.bytes,
        clients: services.clients.load(Ordering::Relaxed),
        next_due: fleet_now.next_due,
        incidents: stats.incidents,
        outbox: stats.outbox,
        budget: budget.iter().map(views::limit).collect(),
        approvals: stats.approvals,
    })
}

/// All at a time: one that hangs does not keep the others waiting.
async fn list_mcp(services: &Services, params: ListMcpParams) -> Answer {
    let tools = services.tools.lock().expect("no holder panics").clone();
    let servers = tools.servers();
    let names: Vec<String> = match params.server {
        Some(name) => vec![name],
        None => servers.names().map(str::to_owned).collect(),
    };
    if let [name] = &names[..]
        && !servers.has(name)
    {
        return Err(
            invalid(format!("there is no MCP server `{name}`")).hint(format!("define it in [mcp.{name}]"))
        );
    }
    let asking = names.into_iter().map(|name| async move {
        let began = std::time::Instant::now();
        let listed = servers.list(&name, MCP_TIME).await;
        views::mcp(name, listed, began.elapsed())
    });
    value(futures_util::future::join_all(asking).await)
}

/// The archive of a tool, or of an agent that runs one.
async fn ask_archive(services: &Services, params: ArchiveParams) -> Answer {
    /// Long enough for any archive; what is broken off is settled by the next run.
    const BOUND: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let tools = services.tools.lock().expect("no holder panics").clone();
    let began = std::time::Instant::now();
    let name = params.archive.clone();
    let of_agent = services
        .handle
        .ask(move |engine, _| {
            let agent = engine.fleet().agents.iter().find(|agent| agent.id.as_str() == name)?;
            match &agent.body {
                Body::Tool(call) => Some(call.clone()),
                Body::Command(_) | Body::Query(_) => None,
            }
        })
        .await
        .flatten();
    let (tool, args) = match of_agent {
        Some(call) => (call.tool.clone(), call.args.clone()),
        None => (params.archive, json!({})),
    };
    let ask = match params.action {
        ArchiveAction::List => ArchiveAsk::List,
        ArchiveAction::Verify => ArchiveAsk::Verify,
        ArchiveAction::Restore => ArchiveAsk::Restore {
            range: ArchiveRange { from: params.from, to: params.to, key: params.key },
            dry_run: params.dry_run,
        },
    };
    let context =
        CallContext { timeout: Some(BOUND), store: Some(services.store.clone()), ..CallContext::default() };
    match tools.ask_archive(&tool, &args, &ask, &context).await {
        Ok(result) => value(ToolResultView {
            result,
            duration_ms: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
        }),
        Err(error) => Err(views::tool_error(&error)),
    }
}

async fn call_tool(services: &Services, params: CallToolParams) -> Answer {
    let tools = services.tools.lock().expect("no holder panics").clone();
    let began = std::time::Instant::now();
    let args = if params.args.is_null() { json!({}) } else { params.args };
    let context = CallContext {
        written: Some(args.clone()),
        store: Some(services.store.clone()),
        ..CallContext::default()
    };
    match tools.call(&params.tool, &args, &context).await {
        Ok(output) => value(ToolResultView {
            result: output.result,
            duration_ms: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
        }),
        Err(error) => Err(views::tool_error(&error)),
    }
}
