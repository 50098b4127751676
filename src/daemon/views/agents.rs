//! Views of an agent: its state, and its details.
use super::incidents::{incident, incident_counts};
use super::runs::{claim, millis};
use super::settings::settings;
use crate::daemon::inbox::Condition;
use crate::domain::{AgentSpec, Body, Desired, IncidentRecord, LastRun, RunStatus, Schedule, Verdict};
use crate::engine::{AgentNow, BackfillNow, ComingSlot};
use crate::protocol::{
    AgentDetail, AgentView, AllWellView, LastRunView, LimitView, OpenBackfillView, RecentRun,
};
use crate::store::{LedgerRow, RunEnd, RunRow};
use std::collections::BTreeMap;

/// Number of runs in the strip of `status`.
const STRIP_RUN_COUNT: usize = 30;

/// Converts an agent for `list`.
///
/// Problems of its source are known elsewhere: see [`source_problem`].
pub(in crate::daemon) fn agent(now: &AgentNow) -> AgentView {
    let record = &now.record;
    AgentView {
        agent_id: now.spec.id.clone(),
        description: now.spec.description.as_deref().map(str::to_owned),
        accept_risk: now.spec.accept_risk.as_deref().map(str::to_owned),
        sandbox: now.walled.clone(),
        state: record.desired,
        activity: now.activity,
        health: now.health,
        schedule: now.spec.schedule.describe(),
        next_run: now.next_start.filter(|_| record.desired == Desired::Active),
        reason: record.reason.clone(),
        resume_at: record.resume_at,
        last_run: record.last_run.as_ref().map(last_run),
        runs_in_flight: now.live.iter().map(|run| run.run).collect(),
        run_count: record.counters.runs,
        success_count: record.counters.successes,
        error_count: record.counters.errors,
        consecutive_errors: record.counters.errors_in_row,
        skipped_count: record.counters.skipped,
        cost_today_usd: now.usd_today,
        budget_used_up_until: out_of_budget(now).map(|(until, _)| *until),
        source_problem: None,
        silent_since: now.silent.map(|(since, _)| since),
        silent_until: now.silent.map(|(_, until)| until),
        backfill: now.backfill.as_ref().map(open_backfill),
        node_labels: now.spec.on_nodes.as_ref().map(|wanted| wanted.labels().clone()).unwrap_or_default(),
        waits_for_node: now.no_node.clone(),
        circuit_until: now.record.circuit.map(|circuit| circuit.until),
        open_incidents: incident_counts(now.incidents),
        recent: Vec::new(),
    }
}

/// Converts the newest runs of an agent, oldest first.
pub(in crate::daemon) fn strip(newest_first: Vec<RunEnd>) -> Vec<RecentRun> {
    let view = |end: RunEnd| RecentRun {
        run_id: end.run,
        status: end.status,
        duration_ms: end.duration.map_or(0, millis),
    };
    newest_first.into_iter().rev().map(view).collect()
}

fn open_backfill(now: &BackfillNow) -> OpenBackfillView {
    OpenBackfillView {
        backfill_id: now.id.to_string(),
        started: now.claimed as u64,
        count: now.count as u64,
        next: now.next,
        usd: now.usd,
        max_usd: now.max_usd,
    }
}

/// Returns the exhausted budget, unless its period is over: the engine may have read the clock
/// before midnight.
fn out_of_budget(now: &AgentNow) -> Option<&(jiff::Timestamp, String)> {
    now.out_of_budget.as_ref().filter(|(until, _)| *until > crate::clock::wall())
}

fn last_run(last: &LastRun) -> LastRunView {
    LastRunView {
        run_id: last.kept.then_some(last.run),
        status: last.status,
        started_at: last.started_at,
        finished_at: last.finished_at,
        duration_ms: millis(last.duration),
        error: last.error.clone(),
    }
}

/// What the store knows of one agent.
pub(in crate::daemon) struct History {
    pub(in crate::daemon) runs: Vec<RunRow>,
    pub(in crate::daemon) newest: Option<LedgerRow>,
    pub(in crate::daemon) verdicts: BTreeMap<Verdict, u64>,
    pub(in crate::daemon) incidents: Vec<IncidentRecord>,
    pub(in crate::daemon) limits: Vec<LimitView>,
}

/// Converts all details of an agent.
pub(in crate::daemon) fn detail(
    now: &AgentNow,
    next: &[ComingSlot],
    history: &History,
    source: &str,
) -> AgentDetail {
    let ended = || history.runs.iter().filter(|row| row.claim.status.is_final());
    let mut durations: Vec<i64> = ended()
        .filter(|row| row.claim.status == RunStatus::Completed)
        .filter_map(|row| row.duration.map(millis))
        .collect();
    durations.sort_unstable();
    let percentile = |p: usize| durations.get((durations.len() * p).div_ceil(100).saturating_sub(1)).copied();
    let mut recent: Vec<RecentRun> = ended()
        .take(STRIP_RUN_COUNT)
        .map(|row| RecentRun {
            run_id: row.claim.run,
            status: row.claim.status,
            duration_ms: row.duration.map_or(0, millis),
        })
        .collect();
    recent.reverse();
    let last_error = ended().find(|row| row.claim.status.is_failure()).map(|row| LastRunView {
        run_id: Some(row.claim.run),
        status: row.claim.status,
        started_at: row.claim.started_at,
        finished_at: row.finished_at.unwrap_or(row.claim.queued_at),
        duration_ms: row.duration.map_or(0, millis),
        error: row.error.clone(),
    });
    AgentDetail {
        agent: AgentView { recent, ..agent(now) },
        runs: body_text(&now.spec),
        next_slots: if now.record.desired == Desired::Stopped {
            Vec::new()
        } else {
            next.iter().map(|slot| slot.due).collect()
        },
        last_success: now.record.last_success,
        last_error,
        p50_ms: percentile(50),
        p95_ms: percentile(95),
        all_well: history
            .newest
            .as_ref()
            .filter(|row| row.is_all_well() && now.record.last_run.as_ref().is_some_and(|last| !last.kept))
            .map(|row| AllWellView { since: row.first, until: row.last, count: row.count }),
        in_flight: now.live.iter().map(claim).collect(),
        slots_24h: history.verdicts.clone(),
        settings: settings(&now.spec),
        incidents: history.incidents.iter().map(incident).collect(),
        limits: history.limits.clone(),
        defined_at: format!("{source}:{}", now.spec.line),
        config_hash: now.spec.config_hash.to_string(),
        notes: notes(now),
    }
}

fn body_text(spec: &AgentSpec) -> String {
    match &spec.body {
        Body::Command(command) => match &command.argv[..] {
            [shell, flag, text] if shell == "/bin/sh" && flag == "-c" => format!("command {text}"),
            argv => format!("command {}", argv.join(" ")),
        },
        Body::Tool(call) => format!("tool {}", call.tool),
        Body::Query(query) => format!("query (model {})", query.model),
        Body::Runner(query) => format!("query (runner {})", query.runner),
    }
}

fn notes(now: &AgentNow) -> Vec<String> {
    let mut notes = now.overdue.clone();
    if let Some((since, until)) = now.silent {
        notes.push(silence(since, until));
    }
    if now.record.skip_next {
        notes.push("its next slot will be left out".into());
    }
    if let Some(why) = &now.no_node {
        notes.push(format!("its run waits: {why}"));
    }
    if let Some((_, why)) = out_of_budget(now) {
        notes.push(format!("its slots are refused: {why}"));
    }
    notes
}

/// Explains why an agent with a schedule starts nothing for a while.
pub(super) fn silence(since: jiff::Timestamp, until: jiff::Timestamp) -> String {
    format!(
        "silent since {since:.0} until {until:.0}: the clock was ahead and was set back, and its slots until then ran already"
    )
}

/// Returns why the agent's source can't deliver, if so.
pub(in crate::daemon) fn source_problem(now: &AgentNow, condition: &Condition) -> Option<String> {
    if now.record.desired == Desired::Stopped {
        return None;
    }
    if let Schedule::Webhook(_) = now.spec.schedule {
        let (problem, _) = condition.webhooks.as_ref()?.problem.as_ref()?;
        return Some(format!("webhooks can't be taken: {problem}"));
    }
    condition.sources.get(&now.spec.id).map(|trouble| trouble.problem.clone())
}
