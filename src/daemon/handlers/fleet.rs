//! Agents, runs and slots: past, present and future.
use super::answers::{agent_id, down, invalid, known_agent, store_error, value};
use crate::daemon::explain::event::Awaited;
use crate::daemon::services::{Encoded, Services};
use crate::daemon::{explain, views};
use crate::domain::{AgentId, RunId, Schedule, Seq, Verdict, glob};
use crate::engine::AgentNow;
use crate::protocol::*;
use crate::store::{EventFilter, FoundRun, OutputPage, Reader, RunFilter, RunRow};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Maximum number of events that `get_run` returns.
const MAX_RUN_EVENTS: usize = 500;

/// Maximum number of recent runs per agent that `list_agents` returns.
const MAX_RECENT_RUNS: usize = 60;

/// Maximum output per answer, in bytes; further calls return the rest.
const MAX_OUTPUT_BYTES: usize = 512 << 10;

pub(super) async fn list_agents(services: &Services, params: ListParams) -> Encoded {
    for agent in params.agents.iter().filter(|agent| !agent.contains(['*', '?'])) {
        known_agent(services, agent).await?;
    }
    let params_recent = params.recent;
    let found = services
        .handle
        .ask(move |engine, _| {
            let is_wanted = |id: &AgentId| params.agents.iter().any(|wanted| glob(wanted, id.as_str()));
            engine.agents(|spec| params.agents.is_empty() || is_wanted(&spec.id))
        })
        .await
        .ok_or_else(down)?;
    let mut agents: Vec<AgentView> = {
        let condition = services.handle.condition.lock().expect("no holder panics");
        let view = |agent: &AgentNow| AgentView {
            source_problem: views::source_problem(agent, &condition),
            ..views::agent(agent)
        };
        found.iter().map(view).collect()
    };
    let Some(recent) = params_recent else { return value(agents) };
    let most = usize::try_from(recent).unwrap_or(usize::MAX).min(MAX_RECENT_RUNS);
    let ids: Vec<AgentId> = agents.iter().map(|agent| agent.agent_id.clone()).collect();
    let strips = services
        .store
        .read(move |reader| ids.iter().map(|id| reader.recent_ends(id, most)).collect::<Result<Vec<_>, _>>());
    for (agent, ends) in agents.iter_mut().zip(strips.await.map_err(store_error)?) {
        agent.recent = views::strip(ends);
    }
    value(agents)
}

pub(super) async fn agent_status(services: &Services, id: &str) -> Encoded {
    let now = known_agent(services, id).await?;
    let agent = now.spec.id.clone();
    let wanted = agent.clone();
    let next = services
        .handle
        .ask(move |engine, _| engine.coming(|id| id == wanted.as_str(), Timestamp::MAX, 3))
        .await
        .ok_or_else(down)?;
    let wanted = agent.clone();
    let (source, limits, today) = services
        .handle
        .ask(move |engine, now| {
            let today = now.wall.to_zoned(engine.fleet().daemon.timezone.clone()).date();
            (engine.fleet().source(), engine.budget_left(Some(wanted.as_str()), now.wall), today)
        })
        .await
        .ok_or_else(down)?;
    let now_wall = crate::clock::wall();
    let since = now_wall - SignedDuration::from_hours(24);
    let live: Vec<RunId> = now.live.iter().map(|run| run.run).collect();
    let history = services
        .store
        .read(move |reader| {
            let runs = reader.runs(&RunFilter::newest_of(agent.clone(), 100))?;
            let newest = match reader.ledger_at(&agent, now_wall)? {
                // the slot of a run in flight has no outcome yet
                Some(row) if row.run.is_some_and(|run| live.contains(&run)) => {
                    reader.ledger_at(&agent, row.first - SignedDuration::from_micros(1))?
                }
                newest => newest,
            };
            let verdicts = reader.verdicts_since(&agent, since)?;
            let incidents = reader
                .incidents(false, 1000)?
                .into_iter()
                .filter(|incident| incident.agent == agent)
                .collect();
            let holds = reader.holds()?;
            let limits = limits.iter().map(|left| views::limit(left, &holds, today)).collect();
            Ok(views::History { runs, newest, verdicts, incidents, limits })
        })
        .await
        .map_err(store_error)?;
    let problem = source_problem(services, &now);
    let mut detail = views::detail(&now, &next, &history, &source);
    detail.notes.extend(problem.as_ref().map(|problem| format!("nothing can start it: {problem}")));
    detail.agent.source_problem = problem;
    value(detail)
}

pub(super) async fn find_run(services: &Services, text: &str) -> Result<RunRow, RpcError> {
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

pub(super) async fn get_run(services: &Services, params: GetRunParams) -> Encoded {
    let row = find_run(services, &params.run_id).await?;
    let run = row.claim.run;
    let GetRunParams { brief, steps_after, steps_limit, .. } = params;
    let most_steps = steps_limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (events, output, steps) = services
        .store
        .read(move |reader| {
            let filter = EventFilter { run: Some(run), ..EventFilter::default() };
            let mut events = Vec::new();
            let mut cursor = Seq(0);
            while !brief && events.len() < MAX_RUN_EVENTS {
                let page = reader.events_after(cursor, &filter, MAX_RUN_EVENTS)?;
                events.extend(page.events);
                if page.at_end || page.cursor <= cursor {
                    break;
                }
                cursor = page.cursor;
            }
            let output =
                if brief { OutputPage::default() } else { reader.output(run, 0, MAX_OUTPUT_BYTES)? };
            Ok((events, output, reader.steps_after(run, steps_after, most_steps)?))
        })
        .await
        .map_err(store_error)?;
    let steps = steps.into_iter().map(views::step).collect();
    value(RunDetail { run: views::run(&row), events, output: views::output(&row, output), steps })
}

pub(super) async fn run_output(services: &Services, params: OutputParams) -> Encoded {
    let row = match (params.run_id, params.agent_id) {
        (Some(run), _) => find_run(services, &run).await?,
        (None, Some(agent)) => {
            let id = agent_id(&agent)?;
            let filter = RunFilter::newest_of(id, 1);
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
        .read(move |reader| reader.output(run, after, MAX_OUTPUT_BYTES))
        .await
        .map_err(store_error)?;
    value(views::output(&row, page))
}

pub(super) async fn next_slots(services: &Services, params: NextParams) -> Encoded {
    let most = usize::try_from(params.limit.unwrap_or(20)).unwrap_or(usize::MAX).min(10_000);
    let reach = i64::try_from(params.for_secs.unwrap_or(86_400)).unwrap_or(i64::MAX);
    let until = crate::clock::wall().checked_add(SignedDuration::from_secs(reach)).unwrap_or(Timestamp::MAX);
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

pub(super) async fn explain_slot(services: &Services, params: ExplainParams) -> Encoded {
    let now = known_agent(services, &params.agent_id).await?;
    let asked = params.at;
    let zone = params.timezone.as_deref().map_or_else(|| Ok(TimeZone::system()), zone_of)?;
    let at = asked.unwrap_or_else(crate::clock::wall);
    let agent = now.spec.id.clone();
    let retention =
        services.handle.ask(|engine, _| engine.fleet().daemon.retention).await.ok_or_else(down)?;
    let awaited = match &now.spec.schedule {
        Schedule::On(on) => Some(Awaited::Event(on)),
        Schedule::Join(join) => Some(Awaited::Join(join)),
        Schedule::File(file) => Some(Awaited::File(file)),
        Schedule::Webhook(name) => Some(Awaited::Webhook(name)),
        Schedule::Mcp(mcp) => Some(Awaited::Mcp(mcp)),
        _ => None,
    };
    if let Some(awaited) = awaited {
        let outcome =
            services.store.read(move |reader| reader.event_outcome(&agent, at)).await.map_err(store_error)?;
        let mut explanation = explain::event::explain(
            &now,
            &awaited,
            outcome.as_ref(),
            asked,
            retention.events,
            &crate::clock::wall().to_zoned(zone),
        );
        if let Some(problem) = source_problem(services, &now).filter(|_| asked.is_none()) {
            explanation.sentence.push_str(&format!(" Nothing can start it now: {problem}."));
        }
        return value(explanation);
    }
    let read = move |reader: &Reader| {
        let row = reader.ledger_at(&agent, at)?;
        let ahead = match row.is_none() && asked.is_none() {
            true => reader.ledger_at(&agent, Timestamp::MAX)?.filter(|ahead| ahead.verdict == Verdict::Ran),
            false => None,
        };
        let ran_ahead = ahead.map(|ahead| ahead.last);
        Ok((row, reader.oldest_slot(&agent)?, ran_ahead, reader.backfilled(&agent, at)?))
    };
    let (row, oldest, ran_ahead, backfilled) = services.store.read(read).await.map_err(store_error)?;
    let kept = explain::Kept { retention, oldest, ran_ahead };
    let run = match row.as_ref().and_then(|row| row.run) {
        Some(run) => find_run(services, &run.to_string()).await.ok().map(|mut row| {
            // a status that is not recorded: the gate is still being checked
            if let Some(live) = now.live.iter().find(|live| live.run == run) {
                row.claim.status = live.status;
            }
            row
        }),
        None => None,
    };
    let clock = crate::clock::wall().to_zoned(zone);
    let mut explanation = explain::explain(&now, asked, row.as_ref(), run.as_ref(), &kept, &clock);
    if let Some(run) = backfilled {
        explain::add_backfill(&mut explanation, asked, &run, &clock);
    }
    value(explanation)
}

/// Returns why the agent's source can't deliver, if so.
fn source_problem(services: &Services, now: &AgentNow) -> Option<String> {
    views::source_problem(now, &services.handle.condition.lock().expect("no holder panics"))
}

/// Parses the time zone of a client: a name, a POSIX rule or an offset.
fn zone_of(text: &str) -> Result<TimeZone, RpcError> {
    TimeZone::get(text)
        .or_else(|_| TimeZone::posix(text))
        .map_err(|_| invalid(format!("`timezone`: `{text}` is not a time zone")))
}
