//! Pages of history: runs, records of the ledger, calls that needed a person.
use super::answers::{agent_id, down, invalid, known_agent, store_error, value};
use super::fleet::find_run;
use crate::daemon::services::{Encoded, Services};
use crate::daemon::views::{self, approvals::Circumstances};
use crate::domain::{AgentId, RunStatus, Trigger, glob};
use crate::protocol::*;
use crate::store::{LedgerEntry, RunFilter};
use jiff::{SignedDuration, Timestamp};

/// Rows of one answer, at the most.
const MOST_ROWS: usize = 10_000;

/// Decided calls of one answer.
const DECIDED: usize = 100;

fn most(limit: Option<u64>, default: usize) -> usize {
    limit.map_or(default, |limit| usize::try_from(limit).unwrap_or(usize::MAX)).min(MOST_ROWS)
}

pub(super) async fn list_runs(services: &Services, params: ListRunsParams) -> Encoded {
    let mut statuses = Vec::new();
    for word in params.status.iter().chain(&params.statuses) {
        statuses.push(RunStatus::parse(word).ok_or_else(|| {
            let words: Vec<&str> = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
            invalid(format!("`{word}` is not a status; use one of {}", words.join(", ")))
        })?);
    }
    let mut triggers = Vec::new();
    for word in &params.triggers {
        triggers.push(Trigger::parse(word).ok_or_else(|| {
            let words: Vec<&str> = Trigger::ALL.iter().map(|trigger| trigger.as_str()).collect();
            invalid(format!("`{word}` starts no run; use one of {}", words.join(", ")))
        })?);
    }
    let patterns: Vec<String> = params.agent_id.iter().chain(&params.agents).cloned().collect();
    let Some(agents) = named(services, &patterns).await? else { return value(Vec::<RunView>::new()) };
    let before = match &params.before {
        Some(text) => Some(find_run(services, text).await?.claim.run),
        None => None,
    };
    let (since, until, limit) = (params.since, params.until, most(params.limit, 20));
    let filter = RunFilter { agents, statuses, triggers, before, since, until, limit };
    let rows = services.store.read(move |reader| reader.runs(&filter)).await.map_err(store_error)?;
    if rows.is_empty() {
        for name in patterns.iter().filter(|name| !is_pattern(name)) {
            known_agent(services, name).await?;
        }
    }
    let view = if params.brief { views::brief_run } else { views::run };
    value(rows.iter().map(view).collect::<Vec<_>>())
}

pub(super) async fn list_slots(services: &Services, params: ListSlotsParams) -> Encoded {
    let now = crate::clock::wall();
    let to = params.to.unwrap_or(now);
    let from = params
        .from
        .unwrap_or_else(|| to.checked_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN));
    if from > to {
        return Err(invalid(format!("`from` ({from}) is after `to` ({to})")));
    }
    let mut agents = match named(services, &params.agents).await? {
        Some(agents) if agents.is_empty() => everyone(services).await?,
        Some(agents) => {
            for agent in &agents {
                known_agent(services, agent.as_str()).await?;
            }
            agents
        }
        None => Vec::new(),
    };
    agents.sort();
    let limit = most(params.limit, 1000);
    let after = params.after;
    let merge =
        params.merge_secs.map(|secs| SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX)));
    let read = services.store.read(move |reader| {
        let mut found = Vec::new();
        for agent in agents {
            let begun = match &after {
                Some(after) if agent.as_str() < after.agent_id.as_str() => continue,
                Some(after) if agent.as_str() == after.agent_id => Some(after.first),
                _ => None,
            };
            let most = if merge.is_some() { MOST_MERGED } else { limit - found.len() };
            let mut records = reader.ledger_between(&agent, (from, to), begun, most)?;
            if let Some(within) = merge {
                records = merged(records, within);
                records.truncate(limit - found.len());
            }
            found.extend(records);
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    });
    value(read.await.map_err(store_error)?.into_iter().map(views::slots::record).collect::<Vec<_>>())
}

/// Records that are looked at of one agent where they are merged.
const MOST_MERGED: usize = 100_000;

/// Neighbours that look alike become one, if they begin within so long of the first of them.
fn merged(records: Vec<LedgerEntry>, within: SignedDuration) -> Vec<LedgerEntry> {
    let mut kept: Vec<LedgerEntry> = Vec::new();
    for next in records {
        let alike = |last: &&mut LedgerEntry| {
            last.row.verdict == next.row.verdict
                && last.run.map(|run| run.status) == next.run.map(|run| run.status)
                && last.row.is_all_well() == next.row.is_all_well()
                && next.row.first.duration_since(last.row.first) <= within
        };
        // others lie between them: an agent that runs and is skipped in turn
        match kept.iter_mut().rev().take(8).find(alike) {
            Some(last) => {
                last.row.last = next.row.last;
                last.row.count += next.row.count;
                last.row.run = next.row.run;
                if let (Some(run), Some(newest)) = (&mut last.run, next.run) {
                    run.finished_at = newest.finished_at;
                    run.duration = newest.duration;
                }
            }
            None => kept.push(next),
        }
    }
    kept
}

pub(super) async fn list_approvals(services: &Services, params: ListApprovalsParams) -> Encoded {
    let read = services.store.read(move |reader| {
        let mut waiting = Vec::new();
        for record in reader.approvals()? {
            let steps = reader.steps(record.run)?;
            waiting.push((record, Circumstances::read_before(&steps)));
        }
        let decided = if params.all { reader.decided_approvals(DECIDED)? } else { Vec::new() };
        Ok((waiting, decided))
    });
    let (waiting, decided) = read.await.map_err(store_error)?;
    let runs: Vec<_> = waiting.iter().map(|(record, _)| record.run).collect();
    let deadlines = services
        .handle
        .ask(move |engine, now| runs.iter().map(|run| engine.waits_until(*run, now)).collect::<Vec<_>>())
        .await
        .ok_or_else(down)?;
    let tools = services.tools.lock().expect("no holder panics").clone();
    let mut all = Vec::new();
    for ((record, (untrusted, read_before)), waits_until) in waiting.into_iter().zip(deadlines) {
        let args = serde_json::from_str(&record.wanted.args).unwrap_or_default();
        let effect = tools.effect_of(&record.wanted.tool, &args);
        all.push(views::approvals::waiting(
            record,
            Circumstances { effect, waits_until, untrusted, read_before },
        ));
    }
    all.extend(decided.into_iter().map(views::approvals::decided));
    value(all)
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// The agents of these names and patterns; none are named: empty, and all are meant. `None`: patterns were given, and no
/// agent is of them.
async fn named(services: &Services, patterns: &[String]) -> Result<Option<Vec<AgentId>>, RpcError> {
    let mut agents = Vec::new();
    for name in patterns.iter().filter(|name| !is_pattern(name)) {
        agents.push(agent_id(name)?);
    }
    let globs: Vec<String> = patterns.iter().filter(|name| is_pattern(name)).cloned().collect();
    if !globs.is_empty() {
        let all = everyone(services).await?;
        agents.extend(all.into_iter().filter(|id| globs.iter().any(|pattern| glob(pattern, id.as_str()))));
    }
    agents.sort();
    agents.dedup();
    Ok((patterns.is_empty() || !agents.is_empty()).then_some(agents))
}

async fn everyone(services: &Services) -> Result<Vec<AgentId>, RpcError> {
    let names = services.handle.ask(|engine, _| engine.names().cloned().collect::<Vec<_>>());
    names.await.ok_or_else(down)
}
