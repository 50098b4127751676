//! Usage, memory of agents, and the status of the daemon.
use super::answers::{down, invalid, known_agent, store_error, value};
use crate::daemon::services::{Encoded, Role, Services};
use crate::daemon::views;
use crate::domain::{AgentSpec, Body, Memory, MemoryStore, Note, counted};
use crate::proposal::ProposalBook;
use crate::protocol::*;
use crate::redis_memory::{MemoryUnavailable, RedisMemory};
use crate::store::{UsageBy, UsageOf};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Maximum number of messages shown of a session.
const MAX_SESSION_MESSAGES: usize = 200;

pub(super) async fn usage(services: &Services, params: UsageParams) -> Encoded {
    let words = params.by.as_ref().map_or_else(|| vec!["agent"], UsageGroups::words);
    let by = match &words[..] {
        ["agent"] => UsageBy::Agent,
        ["model"] => UsageBy::Model,
        ["day"] => UsageBy::Day,
        [time @ ("day" | "hour"), of @ ..] => {
            let of = match of {
                [] => None,
                ["agent"] => Some(UsageOf::Agent),
                ["model"] => Some(UsageOf::Model),
                _ => return Err(unknown_groups(&words)),
            };
            return usage_over_time(services, *time == "day", of, params.days).await;
        }
        _ => return Err(unknown_groups(&words)),
    };
    let (today, zone, priced) = services
        .handle
        .ask(|engine, now| {
            let zone = engine.fleet().daemon.timezone.clone();
            let models = engine.fleet().models.iter();
            let priced: BTreeMap<String, bool> =
                models.map(|(name, spec)| (name.clone(), spec.price.is_some())).collect();
            (now.wall.to_zoned(zone.clone()).date(), zone, priced)
        })
        .await
        .ok_or_else(down)?;
    let since = params.days.map(|days| {
        let back = jiff::Span::new().days(i64::from(days.clamp(1, 36_500)) - 1);
        today.checked_sub(back).unwrap_or(today)
    });
    let (spent, models, runs, holds) = services
        .store
        .read(move |reader| {
            let (spent, models) = (reader.spent(by, since)?, reader.spent_by_model(by, since)?);
            Ok((spent, models, reader.runs_by(by, since, &zone)?, reader.holds()?))
        })
        .await
        .map_err(store_error)?;
    let mut rows: BTreeMap<String, UsageView> = BTreeMap::new();
    for (key, usage) in spent {
        rows.entry(key.clone()).or_insert_with(|| usage_row(&key)).usage = usage;
    }
    for (key, model, usd) in models {
        // for a model that is no longer configured, only the recorded costs are known
        let has_price = priced.get(&model).copied().unwrap_or(false) || usd > 0.0;
        if let Some(row) = rows.get_mut(&key).filter(|_| !has_price) {
            row.without_price.push(model);
        }
    }
    for (key, count) in runs {
        if by != UsageBy::Model || key != "-" {
            rows.entry(key.clone()).or_insert_with(|| usage_row(&key)).runs = count;
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
                row.limits = left.iter().map(|left| views::limit(left, &holds, today)).collect();
            }
        }
    }
    value(rows.into_values().collect::<Vec<_>>())
}

fn unknown_groups(words: &[&str]) -> RpcError {
    invalid(format!("`by`: {words:?}; use agent, model, day or hour, or day or hour and then agent or model"))
}

/// Returns usage by the day or hour in which runs ended, by agent or model, as far as runs are kept.
async fn usage_over_time(
    services: &Services,
    by_day: bool,
    of: Option<UsageOf>,
    days: Option<u32>,
) -> Encoded {
    let zone = services.handle.ask(|engine, _| engine.fleet().daemon.timezone.clone()).await;
    let zone = zone.ok_or_else(down)?;
    let today = crate::clock::wall().to_zoned(zone.clone()).date();
    let back = jiff::Span::new().days(i64::from(days.unwrap_or(36_500).clamp(1, 36_500)) - 1);
    let first = today.checked_sub(back).ok().and_then(|day| day.to_zoned(zone.clone()).ok());
    let since = first.map_or(jiff::Timestamp::MIN, |first| first.timestamp());
    let hours = services.store.read(move |reader| reader.used_by_hour(of, since, &zone)).await;
    let mut rows: BTreeMap<(String, String), UsageView> = BTreeMap::new();
    for hour in hours.map_err(store_error)? {
        let key = if by_day { hour.hour[..10].to_owned() } else { hour.hour };
        let row = rows
            .entry((key.clone(), hour.of.clone()))
            .or_insert_with(|| UsageView { of: Some(hour.of).filter(|_| of.is_some()), ..usage_row(&key) });
        row.runs += hour.runs;
        row.usage.add(&hour.usage);
    }
    value(rows.into_values().collect::<Vec<_>>())
}

fn usage_row(key: &str) -> UsageView {
    UsageView {
        key: key.to_owned(),
        of: None,
        runs: 0,
        usage: crate::domain::Usage::default(),
        without_price: Vec::new(),
        limits: Vec::new(),
    }
}

pub(super) async fn memory(services: &Services, id: &str) -> Encoded {
    let now = known_agent(services, id).await?;
    let (agent, session) = (now.spec.id.clone(), now.spec.session());
    // whether the next run receives the last result
    let gets_last_result = match &now.spec.body {
        Body::Query(query) => query.memory == Memory::LastResult,
        Body::Command(_) => true,
        Body::Tool(_) | Body::Runner(_) => false,
    };
    let in_redis = remembers_in(services, &now.spec).await?;
    let (of, conversation) = (agent.clone(), session.clone());
    let here = in_redis.is_none();
    let (notes, said, seen, last) = services
        .store
        .read(move |reader| {
            let last = if gets_last_result { reader.last_result_at(&of)? } else { None };
            let (notes, said) = match here {
                true => (reader.notes(&of, None)?, reader.session(&conversation, MAX_SESSION_MESSAGES)?),
                false => Default::default(),
            };
            Ok((notes, said, reader.seen_count(&of)?, last))
        })
        .await
        .map_err(store_error)?;
    let (notes, said) = match &in_redis {
        None => (notes, said),
        Some(memory) => {
            let unread =
                |error: MemoryUnavailable| RpcError::new(Code::Refused, format!("agent `{agent}`: {error}"));
            let notes = memory.notes(&agent, None).await.map_err(unread)?;
            (notes, memory.session(&session, MAX_SESSION_MESSAGES).await.map_err(unread)?)
        }
    };
    let note =
        |note: Note| MemoryView { key: note.key, value: note.text, at: note.at, untrusted: note.untrusted };
    let mut all: Vec<MemoryView> = notes.into_iter().map(note).collect();
    for row in said {
        let (key, value) = match row.message {
            crate::domain::ChatMessage::User { text } => ("session: asked", text),
            crate::domain::ChatMessage::Model(turn) => ("session: answered", turn.text),
            crate::domain::ChatMessage::Tools { .. } => continue,
        };
        all.push(MemoryView { key: key.to_owned(), value, at: row.at, untrusted: row.untrusted });
    }
    if let Some((last, at)) = last {
        let (key, value, untrusted) = ("last result".into(), last.text.to_string(), last.untrusted);
        all.push(MemoryView { key, value, at, untrusted });
    }
    if let Some((count, newest)) = seen {
        let value = format!("{} of its gate", counted(count, "item"));
        all.push(MemoryView { key: "seen".into(), value, at: newest, untrusted: false });
    }
    value(all)
}

/// Returns the Redis memory of the agent, unless its memory is with the other records.
async fn remembers_in(services: &Services, spec: &AgentSpec) -> Result<Option<RedisMemory>, RpcError> {
    if spec.memory_store() != MemoryStore::Redis {
        return Ok(None);
    }
    let memory = services.handle.ask(|engine, _| engine.fleet().memory.clone()).await.ok_or_else(down)?;
    Ok(memory.map(|spec| RedisMemory::new(services.store.clone(), spec)))
}

pub(super) async fn daemon_status(services: &Services) -> Encoded {
    let now = crate::clock::wall();
    // an unreadable database must not hide the status
    let stats = services
        .store
        .read(move |reader| Ok((reader.stats(now)?, reader.holds()?, reader.outbox_targets(now)?)))
        .await;
    let unread = stats.as_ref().err().map(ToString::to_string);
    let (stats, holds, targets) = stats.unwrap_or_default();
    let (fleet_now, fleet) = services
        .handle
        .ask(|engine, _| (engine.fleet_now(), engine.fleet().clone()))
        .await
        .ok_or_else(down)?;
    let budget =
        services.handle.ask(|engine, now| engine.budget_left(None, now.wall)).await.ok_or_else(down)?;
    let today = now.to_zoned(fleet.daemon.timezone.clone()).date();
    let tools = services.tools.lock().expect("no holder panics").clone();
    let users = fleet.users_of_servers().into_iter();
    let untrusted = users.filter(|(server, _)| !tools.servers().pins().trusts(server)).map(views::untrusted);
    let untrusted = untrusted.collect();
    let groups = crate::child::groups::support();
    let with_skills = fleet.clone();
    let skills =
        tokio::task::spawn_blocking(move || views::unused_skills(&with_skills)).await.unwrap_or_default();
    let book = ProposalBook::of(&services.paths.state_dir);
    // unreadable proposals are reported by the commands that list them
    let proposals =
        tokio::task::spawn_blocking(move || book.waiting(now).map_or(0, |(waiting, _)| waiting.len() as u64));
    let proposals = proposals.await.unwrap_or(0);
    let lead = super::nodes::fleet_lead(services).await;
    let is_standby = matches!(services.role, Role::StandsBy(_));
    let condition = services.handle.condition.lock().expect("no holder panics");
    let problem = [&condition.storage, &condition.files, &condition.unread]
        .into_iter()
        .find_map(Clone::clone)
        .or(unread);
    let state = match (&problem, condition.stopping) {
        (_, true) => "stopping",
        (Some(_), _) => "degraded",
        _ if is_standby => "standby",
        _ => "ok",
    };
    value(DaemonView {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: services.started_at,
        state: state.into(),
        problem,
        socket: services.socket.display().to_string(),
        state_dir: services.paths.state_dir.display().to_string(),
        config_path: fleet.path.display().to_string(),
        config_hash: fleet.hash.to_string(),
        config_at: condition.config_at.unwrap_or(services.started_at),
        config_revision: fleet.revision_in_force().map(|applied| views::config(applied)),
        config_errors: condition.config_errors.clone(),
        config_missing: condition.config_missing,
        config_waits: condition.config_waits,
        agents: fleet_now.by_state,
        failing: fleet_now.failing,
        running: fleet_now.running,
        queued: fleet_now.queued,
        max_parallel_runs: fleet.daemon.max_parallel_runs as u64,
        newest_seq: stats.newest_seq,
        oldest_seq: stats.oldest_seq,
        events_per_second: stats.events_last_minute as f64 / 60.0,
        database_bytes: stats.bytes,
        workspaces: condition.workspaces.as_ref().map(views::workspaces),
        store: services.records.place(),
        // a read error is reported as the problem
        fleet: lead.and_then(Result::ok),
        clients: services.clients.load(Ordering::Relaxed),
        next_due: fleet_now.next_due,
        incidents: stats.incidents,
        outbox: stats.outbox,
        deliveries: targets.into_iter().map(views::delivery).collect(),
        redis: fleet
            .redis
            .as_deref()
            .zip(services.exported.now())
            .map(|(spec, standing)| views::redis(spec, &standing, stats.newest_seq, now)),
        memory: fleet
            .memory
            .as_deref()
            .zip(services.remembering.now())
            .map(|(spec, standing)| views::redis_memory(spec, standing)),
        metrics: services.listening.now().map(views::metrics),
        traces: services.traces.now().and_then(views::traces),
        budget: budget.iter().map(|left| views::limit(left, &holds, today)).collect(),
        unwatched: condition.unwatched.clone(),
        webhooks: condition.webhooks.as_ref().map(|standing| views::webhooks(standing, &condition.hooks)),
        inboxes: condition.sources.iter().map(views::source).collect(),
        approvals: stats.approvals,
        proposals,
        untrusted,
        skills,
        unheld_limits: views::unheld_limits(&fleet, &groups),
        control_groups: views::control_groups(groups),
    })
}
