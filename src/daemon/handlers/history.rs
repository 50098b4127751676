//! Pages of history: runs, ledger records, and calls that needed a person.
use super::answers::{agent_id, down, invalid, known_agent, store_error, value};
use super::fleet::find_run;
use crate::daemon::services::{Encoded, Services};
use crate::daemon::views::{self, approvals::Circumstances};
use crate::domain::{AgentId, RunStatus, Trigger, glob};
use crate::protocol::*;
use crate::store::{LedgerEntry, LedgerPage, Reader, RunFilter, StoreError};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Maximum number of rows per answer.
const MAX_ROWS: usize = 10_000;

/// Maximum number of decided calls per answer.
const MAX_DECIDED_ROWS: usize = 100;

fn most(limit: Option<u64>, default: usize) -> usize {
    limit.map_or(default, |limit| usize::try_from(limit).unwrap_or(usize::MAX)).min(MAX_ROWS)
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
    let Some(agents) = resolve_agents(services, &patterns).await? else {
        return value(Vec::<RunView>::new());
    };
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
    if params.newest_first && (params.after.is_some() || params.merge_secs.is_some()) {
        return Err(invalid("`newest_first` goes neither with `after` nor with `merge_secs`"));
    }
    let mut agents = match resolve_agents(services, &params.agents).await? {
        Some(agents) if agents.is_empty() => all_agents(services).await?,
        Some(agents) => agents,
        None => Vec::new(),
    };
    agents.sort();
    let patterns = params.agents.clone();
    let pages = LedgerPages {
        range: (from, to),
        limit: most(params.limit, 1000),
        after: params.after,
        merge: params
            .merge_secs
            .map(|secs| SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX))),
        newest_first: params.newest_first,
    };
    let found = services.store.read(move |reader| pages.read(reader, agents)).await.map_err(store_error)?;
    if found.is_empty() {
        // removed agents may have left records; a name that never existed is a typo
        for name in patterns.iter().filter(|name| !is_pattern(name)) {
            known_agent(services, name).await?;
        }
    }
    value(found.into_iter().map(views::slots::record).collect::<Vec<_>>())
}

/// Selects pages of ledger records.
struct LedgerPages {
    range: (Timestamp, Timestamp),
    limit: usize,
    after: Option<SlotPosition>,
    merge: Option<SignedDuration>,
    newest_first: bool,
}

impl LedgerPages {
    fn read(&self, reader: &Reader, agents: Vec<AgentId>) -> Result<Vec<LedgerEntry>, StoreError> {
        let mut found = Vec::new();
        for agent in agents {
            let is_next = |after: &SlotPosition| agent.as_str() > after.agent_id.as_str();
            let begun = match &self.after {
                Some(after) if agent.as_str() == after.agent_id && self.merge.is_none() => Some(after.first),
                Some(after) if !is_next(after) => continue,
                _ => None,
            };
            match self.merge {
                Some(within) => found.extend(self.merged(reader, &agent, within)?),
                None => {
                    let left = self.limit - found.len();
                    let page = match self.newest_first {
                        true => LedgerPage::Newest(left),
                        false => LedgerPage::After(begun, left),
                    };
                    found.extend(reader.ledger_between(&agent, self.range, page)?);
                }
            }
            if found.len() >= self.limit {
                break;
            }
        }
        Ok(found)
    }

    /// Returns all records of an agent, merged page by page.
    fn merged(
        &self,
        reader: &Reader,
        agent: &AgentId,
        within: SignedDuration,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let (mut kept, mut after) = (Vec::new(), None);
        loop {
            let page = reader.ledger_between(agent, self.range, LedgerPage::After(after, MERGE_PAGE_ROWS))?;
            let is_last = page.len() < MERGE_PAGE_ROWS;
            after = page.last().map(|entry| entry.row.first);
            merge_into(&mut kept, page, within);
            if is_last {
                return Ok(kept);
            }
        }
    }
}

/// Maximum number of records of one agent read at once for merging.
const MERGE_PAGE_ROWS: usize = 20_000;

/// Merges adjacent records that are alike, if they begin within `within` of the first of them.
fn merge_into(kept: &mut Vec<LedgerEntry>, records: Vec<LedgerEntry>, within: SignedDuration) {
    for next in records {
        let alike = |last: &&mut LedgerEntry| {
            last.row.verdict == next.row.verdict
                && last.run.map(|run| run.status) == next.run.map(|run| run.status)
                && last.row.is_all_well() == next.row.is_all_well()
                && next.row.first.duration_since(last.row.first) <= within
        };
        // others may be between them: an agent that alternately runs and is skipped
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
}

pub(super) async fn list_approvals(services: &Services, params: ListApprovalsParams) -> Encoded {
    let read = services.store.read(move |reader| {
        let records = reader.approvals()?;
        let mut outside = HashMap::new();
        for record in &records {
            if let Entry::Vacant(place) = outside.entry(record.run) {
                place.insert(reader.read_from_outside(record.run)?);
            }
        }
        let waiting: Vec<_> = records
            .into_iter()
            .map(|record| {
                let read_before = outside.get(&record.run).cloned().unwrap_or_default();
                (record, read_before)
            })
            .collect();
        let decided = if params.all { reader.decided_approvals(MAX_DECIDED_ROWS)? } else { Vec::new() };
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

/// Resolves names and patterns to agents. No names at all give an empty list, which stands for all
/// agents. `None`: no agent matches the patterns.
async fn resolve_agents(services: &Services, patterns: &[String]) -> Result<Option<Vec<AgentId>>, RpcError> {
    let mut agents = Vec::new();
    for name in patterns.iter().filter(|name| !is_pattern(name)) {
        agents.push(agent_id(name)?);
    }
    let globs: Vec<String> = patterns.iter().filter(|name| is_pattern(name)).cloned().collect();
    if !globs.is_empty() {
        let all = all_agents(services).await?;
        agents.extend(all.into_iter().filter(|id| globs.iter().any(|pattern| glob(pattern, id.as_str()))));
    }
    agents.sort();
    agents.dedup();
    Ok((patterns.is_empty() || !agents.is_empty()).then_some(agents))
}

async fn all_agents(services: &Services) -> Result<Vec<AgentId>, RpcError> {
    let names = services.handle.ask(|engine, _| engine.names().cloned().collect::<Vec<_>>());
    names.await.ok_or_else(down)
}
