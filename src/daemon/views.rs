//! From the words inside to the words on the wire. The only place that knows both.
pub(super) mod approvals;
pub(super) mod slots;

use crate::child::groups::GroupSupport;
use crate::daemon::inbox::{Answer, Condition, HookTrouble, SourceTrouble, WebhookStanding};
use crate::domain::{ToolError, ToolInfo, *};
use crate::engine::{
    AgentNow, BackfillNow, BudgetLeft, ChangedAgent, ComingSlot, Engine, OpenIncidents, Refusal, Reply,
};
use crate::export::ExportStanding;
use crate::mcp::{Difference, PinChange, PinState, ServerEvent, ServerTool};
use crate::protocol::*;
use crate::redis_memory::MemoryStanding;
use crate::store::{FleetLead, LedgerRow, OutboxTarget, OutputPage, RunEnd, RunRow, StepRow};
use crate::telemetry::{MetricsStanding, TraceStanding};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Runs in the strip of `status`.
const STRIP: usize = 30;

/// Characters of a result or an error in a brief list.
const BRIEF: usize = 200;

/// The answer to a command. `seq` is the newest event when it was done.
pub(super) fn answer(
    result: Result<Reply, Refusal>,
    seq: u64,
    warnings: Vec<String>,
    engine: &Engine,
) -> Answer {
    let reply = result.map_err(|refusal| refused(&refusal, engine))?;
    let view = match reply {
        Reply::Changed(one) => serde_json::to_value(changed(one, seq)),
        Reply::AllChanged(all) => serde_json::to_value(all_changed(all, seq)),
        Reply::RunClaimed { run, queued, note } => {
            let agent_id = engine.run(run).map(|record| record.agent.clone());
            let status = if queued { RunStatus::Queued } else { RunStatus::Running };
            Ok(json!({"run_id": run, "agent_id": agent_id, "status": status, "note": note, "seq": seq}))
        }
        Reply::BackfillBegan { backfill, note } => serde_json::to_value(backfill_began(&backfill, note, seq)),
        Reply::Cancelling { run, finished_at } => {
            serde_json::to_value(RunView { finished_at, ..claim(&run) })
        }
        Reply::Forgotten => Ok(json!({})),
        Reply::WillSkip { agent, slot, changed } => {
            Ok(json!({"slot": slot, "changed": changed, "agent_id": agent}))
        }
        Reply::Decided { run, agent, wanted, approved: _ } => {
            serde_json::to_value(approvals::asked(run, agent, &wanted))
        }
        Reply::Incident(record) => serde_json::to_value(incident(&record)),
        Reply::Reloaded { added, changed, removed } => serde_json::to_value(ReloadView {
            changed: !(added.is_empty() && changed.is_empty() && removed.is_empty()),
            added,
            modified: changed,
            removed,
            warnings,
            last: None,
        }),
    };
    view.map_err(|error| RpcError::new(Code::Internal, error.to_string()))
}

fn backfill_began(backfill: &BackfillRecord, note: Option<String>, seq: u64) -> BackfillView {
    BackfillView {
        backfill_id: Some(backfill.id.to_string()),
        agent_id: backfill.agent.clone(),
        first: backfill.slots.first().copied(),
        last: backfill.slots.last().copied(),
        count: backfill.slots.len() as u64,
        slots: Vec::new(),
        left_out: None,
        max_usd: backfill.max_usd,
        worst_usd: None,
        usual_usd: None,
        note,
        seq: Some(seq),
    }
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

fn changed(one: ChangedAgent, seq: u64) -> Changed {
    Changed {
        agent_id: Some(one.agent),
        previous: Some(one.previous),
        state: Some(one.state),
        changed: one.changed,
        seq,
        note: one.note,
        agents: Vec::new(),
    }
}

fn all_changed(all: Vec<(AgentId, Result<ChangedAgent, Refusal>)>, seq: u64) -> Changed {
    let agents: Vec<ChangedOne> = all
        .into_iter()
        .map(|(id, result)| match result {
            Ok(one) => ChangedOne {
                agent_id: id,
                previous: one.previous,
                state: one.state,
                changed: one.changed,
                error: None,
                note: one.note,
            },
            Err(refusal) => ChangedOne {
                agent_id: id,
                previous: Desired::Stopped,
                state: Desired::Stopped,
                changed: false,
                error: Some(refusal.to_string()),
                note: None,
            },
        })
        .collect();
    let changed = agents.iter().any(|agent| agent.changed);
    Changed { agent_id: None, previous: None, state: None, changed, seq, note: None, agents }
}

/// What a client hears of a refusal.
pub(super) fn refused(refusal: &Refusal, engine: &Engine) -> RpcError {
    let message = refusal.to_string();
    match refusal {
        Refusal::NoSuchAgent(id) => no_such_agent(id.as_str(), engine),
        Refusal::NoSuchRun(_) => RpcError::new(Code::NoSuchRun, message),
        Refusal::NoSuchIncident(_) => RpcError::new(Code::WrongState, message)
            .hint("`bgagent incidents` lists the open ones with their keys"),
        Refusal::NoSuchApproval(_) => {
            RpcError::new(Code::WrongState, message).hint("`bgagent approvals` lists those that wait")
        }
        Refusal::WrongState(_) => RpcError::new(Code::WrongState, message),
        Refusal::Params(_) => {
            RpcError::new(Code::InvalidParams, message).hint("give each as `--param NAME=VALUE`")
        }
        Refusal::Budget(_) => {
            RpcError::new(Code::Refused, message).hint("`bgagent usage` shows what was used and what is left")
        }
        Refusal::ShuttingDown => RpcError::new(Code::ShuttingDown, message),
    }
}

/// An answer as it is kept for a mutation that is sent again; the inverse of [`restored`].
pub(super) fn stored(answer: &Answer) -> Value {
    match answer {
        Ok(result) => json!({"result": result}),
        Err(error) => json!({"error": error}),
    }
}

/// A refusal that may pass by itself: the same mutation, sent again, may find things otherwise.
pub(super) fn passes(answer: &Answer) -> bool {
    let kind = answer.as_ref().err().and_then(RpcError::kind);
    kind.is_some_and(Code::passes)
}

/// What a database was a copy of.
pub(super) fn ancestor(one: &crate::store::Ancestor) -> AncestorView {
    AncestorView { database: one.database.clone(), until: one.until }
}

pub(super) fn delivery(target: OutboxTarget) -> DeliveryView {
    let OutboxTarget { target, waiting, given_up, oldest, next_try, tries, error } = target;
    DeliveryView { target, waiting, given_up, oldest, tries, next_try, error }
}

/// Where metrics are read.
pub(super) fn metrics(standing: MetricsStanding) -> MetricsView {
    let MetricsStanding { address, problem } = standing;
    MetricsView { address, problem }
}

/// How sending traces goes; `None`: none are sent.
pub(super) fn traces(standing: TraceStanding) -> Option<TracesView> {
    let TraceStanding { url, sent, dropped, waiting, problem } = standing;
    (!url.is_empty()).then_some(TracesView { url, sent, dropped, waiting, problem })
}

/// The node that leads, and the others.
pub(super) fn fleet_lead(lead: FleetLead, nodes: Vec<NodeView>) -> FleetLeadView {
    let FleetLead { epoch, leader, node, since, .. } = lead;
    FleetLeadView { leader: node.or_else(|| leader.clone()), place: leader, epoch, since, nodes }
}

/// How it stands with what agents remember in Redis.
pub(super) fn redis_memory(spec: &RedisMemorySpec, standing: MemoryStanding) -> RedisMemoryView {
    let MemoryStanding { state, problem, since, waiting } = standing;
    RedisMemoryView { url: spec.server.place(), prefix: spec.prefix.clone(), state, since, problem, waiting }
}

/// The copy of the log in Redis.
pub(super) fn redis(spec: &RedisSpec, standing: &ExportStanding, newest: u64, now: Timestamp) -> RedisView {
    let position = standing.position.map(|seq| seq.0);
    let lag = standing.behind_since.map(|since| now.duration_since(since));
    RedisView {
        url: spec.server.place(),
        stream: spec.stream.clone(),
        format: spec.format,
        state: standing.state,
        since: standing.since,
        problem: standing.problem.clone(),
        position,
        // one that was committed a moment ago may be there already
        lag_events: position.map(|position| newest.saturating_sub(position)),
        lag_secs: lag.map_or(0, |lag| u64::try_from(lag.as_secs()).unwrap_or(0)),
    }
}

/// A kept answer.
pub(super) fn restored(text: &str) -> Answer {
    let broken = |what: String| RpcError::new(Code::Internal, format!("a kept answer can't be read: {what}"));
    let mut value: Value = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    match value.get_mut("error") {
        Some(error) => Err(serde_json::from_value(error.take()).map_err(|error| broken(error.to_string()))?),
        None => Ok(value.get_mut("result").map(Value::take).unwrap_or_default()),
    }
}

/// An agent that was there once. Its history is.
pub(super) fn removed_agent(id: &str, at: Option<Timestamp>) -> RpcError {
    let when = at.map(|at| format!(" at {at:.0}")).unwrap_or_default();
    let what = format!("the agent `{id}` was removed from the configuration{when}");
    RpcError::new(Code::NoSuchAgent, what).hint(format!(
        "its history is still there: `bgagent runs {id}`, `bgagent logs {id}`, `bgagent tail {id}`; written into the \
         configuration again, it goes on with it"
    ))
}

/// An error that suggests the nearest name.
pub(super) fn no_such_agent(id: &str, engine: &Engine) -> RpcError {
    if engine.was_removed(id) {
        return removed_agent(id, None);
    }
    let error = RpcError::new(Code::NoSuchAgent, format!("no agent named `{id}`"));
    let names = || engine.names().map(AgentId::as_str);
    match nearest(id, names()).or_else(|| names().find(|name| name.starts_with(id))) {
        Some(name) => error.hint(format!("did you mean `{name}`?")),
        None if engine.outdated() => {
            error.hint("the newest configuration was not applied, an older one is in force: `bgagent check`")
        }
        None => error.hint("`bgagent list` shows all agents"),
    }
}

/// What hinders control groups.
pub(super) fn control_groups(support: GroupSupport) -> ControlGroupsView {
    let GroupSupport { none_because, no_memory_because, no_processes_because } = support;
    ControlGroupsView { none_because, no_memory_because, no_processes_because }
}

/// The limits of programs that can't be held here.
pub(super) fn unheld_limits(fleet: &Fleet, support: &GroupSupport) -> Vec<UnheldLimitView> {
    let limited = fleet.programs().into_iter().filter_map(|program| {
        let (limit, why) = support.lacks(&program.sandbox.as_ref()?.limits)?;
        Some(UnheldLimitView { program: program.place(), limit: limit.into(), because: why.into() })
    });
    limited.collect()
}

/// One agent in `list`.
///
/// What is wrong with what it waits for is known elsewhere: see [`source_problem`].
pub(super) fn agent(now: &AgentNow) -> AgentView {
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

/// The newest runs of an agent, oldest first.
pub(super) fn strip(newest_first: Vec<RunEnd>) -> Vec<RecentRun> {
    let view = |end: RunEnd| RecentRun {
        run_id: end.run,
        status: end.status,
        duration_ms: end.duration.map_or(0, millis),
    };
    newest_first.into_iter().rev().map(view).collect()
}

fn incident_counts(open: OpenIncidents) -> IncidentCounts {
    let OpenIncidents { critical, warning, acknowledged } = open;
    IncidentCounts { critical, warning, acknowledged }
}

/// The engine may have last looked at the clock before midnight.
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

fn millis(span: jiff::SignedDuration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// What the store knows of one agent.
pub(super) struct History {
    pub(super) runs: Vec<RunRow>,
    pub(super) newest: Option<LedgerRow>,
    pub(super) verdicts: BTreeMap<Verdict, u64>,
    pub(super) incidents: Vec<IncidentRecord>,
    pub(super) limits: Vec<LimitView>,
}

/// Everything of one agent.
pub(super) fn detail(now: &AgentNow, next: &[ComingSlot], history: &History, path: &Path) -> AgentDetail {
    let ended = || history.runs.iter().filter(|row| row.claim.status.is_final());
    let mut durations: Vec<i64> = ended()
        .filter(|row| row.claim.status == RunStatus::Completed)
        .filter_map(|row| row.duration.map(millis))
        .collect();
    durations.sort_unstable();
    let percentile = |p: usize| durations.get((durations.len() * p).div_ceil(100).saturating_sub(1)).copied();
    let mut recent: Vec<RecentRun> = ended()
        .take(STRIP)
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
        runs: runs_what(&now.spec),
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
        defined_at: format!("{}:{}", path.display(), now.spec.line),
        config_hash: now.spec.config_hash.to_string(),
        notes: notes(now),
    }
}

fn runs_what(spec: &AgentSpec) -> String {
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

fn settings(spec: &AgentSpec) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |key: &str, text: String| {
        all.insert(key.to_owned(), text);
    };
    if spec.body.asks_models() {
        put("request_limit", spec.limits.request_limit.to_string());
        put("total_tokens_limit", spec.limits.total_tokens_limit.to_string());
        if let Some(usd) = spec.limits.max_usd_per_run {
            put("max_usd_per_run", format!("${usd}"));
        }
    }
    if let Body::Runner(query) = &spec.body {
        put("resume", query.resume.to_string());
        match &query.workspace {
            Workspace::Empty => {}
            Workspace::Folder(path) => put("workspace", path.display().to_string()),
            Workspace::Repository(spec) => {
                put("workspace", format!("a clone of {} (keep {})", spec.path.display(), spec.keep));
            }
        }
        if let Some(permissions) = &query.permissions {
            let named = |rules: &[PermissionRule]| {
                rules.iter().map(PermissionRule::to_string).collect::<Vec<_>>().join(", ")
            };
            let mut shown = vec![format!("{} by default", permissions.default)];
            for (what, rules) in [("allow", &permissions.allow), ("ask", &permissions.ask)] {
                shown.extend((!rules.is_empty()).then(|| format!("{what} {}", named(rules))));
            }
            put("permissions", shown.join("; "));
        }
    }
    if let Some(uses) = spec.body.tool_use() {
        if !uses.tools.is_empty() {
            put("tools", uses.tools.join(", "));
        }
        if !uses.approve.is_empty() {
            let then = match (uses.route, uses.approval) {
                (Some(route), _) => {
                    let wait = route.wait.map(|wait| format!(" {}", human_duration(wait)));
                    let via =
                        (!route.via.is_empty()).then(|| format!(", answered at {}", route.via.join(", ")));
                    format!("wait{}{}", wait.unwrap_or_default(), via.unwrap_or_default())
                }
                (None, Approval::Wait) => "wait".to_owned(),
                (None, Approval::Deny) => "denied".to_owned(),
            };
            put("approve", format!("{} ({then})", uses.approve.join(", ")));
        }
        if !uses.sinks.is_empty() {
            put("sinks", uses.sinks.join(", "));
        }
    }
    if let Body::Query(query) = &spec.body {
        match query.memory {
            Memory::None => {}
            Memory::LastResult => put("memory", query.memory.mode().to_string()),
            Memory::Session { max_tokens, store } => {
                let place = if store == MemoryStore::Redis { ", in [memory.redis]" } else { "" };
                put("memory", format!("{}, up to {max_tokens} tokens{place}", query.memory.mode()));
            }
        }
    }
    put("timeout", human_duration(spec.limits.timeout));
    if let Some(total) = spec.limits.total_timeout {
        put("total_timeout", human_duration(total));
    }
    put("overlap", spec.overlap.to_string());
    let catch_up = match spec.catch_up.policy {
        CatchUpPolicy::All => format!("{}, at most {}", CatchUpPolicy::All, spec.catch_up.max),
        policy => policy.to_string(),
    };
    let age = spec
        .catch_up
        .max_age
        .map_or(String::new(), |age| format!(", not older than {}", human_duration(age)));
    if !matches!(
        spec.schedule,
        Schedule::Manual | Schedule::On(_) | Schedule::Join(_) | Schedule::File(_) | Schedule::Webhook(_)
    ) {
        put("catch_up", catch_up + &age);
    }
    if !spec.jitter.is_zero() {
        put("jitter", format!("up to {}", human_duration(spec.jitter)));
    }
    if spec.retry.max > 0 {
        put(
            "retry",
            format!("{} more, the first within {}", spec.retry.max, human_duration(spec.retry.initial)),
        );
    }
    if spec.circuit.open_after > 0 {
        let rule = format!(
            "opens after {} failures for {}",
            spec.circuit.open_after,
            human_duration(spec.circuit.cooldown)
        );
        put("circuit_breaker", rule);
    }
    if let Some(wanted) = &spec.on_nodes {
        put("where", wanted.to_string());
    }
    if let Some(lock) = &spec.lock {
        put("lock", lock.to_string());
    }
    if let Some(params) = &spec.params {
        put("params", params.describe());
    }
    if spec.gate.is_some() {
        put("gate", "yes".into());
    }
    if spec.history == crate::domain::History::Changes {
        put("history", spec.history.to_string());
    }
    if !spec.success_when.is_empty() {
        put("success_when", counted(spec.success_when.len(), "check"));
    }
    if let Some(notify) = &spec.notify {
        put("notify", notify.to.join(", "));
    }
    if let Some(deliver) = &spec.deliver {
        put("deliver", deliver.to.join(", "));
    }
    for (key, after) in [("late_after", spec.late_after), ("slow_after", spec.slow_after)] {
        if let Some(after) = after {
            put(key, human_duration(after));
        }
    }
    all
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

/// Why an agent with a schedule starts nothing for a while.
pub(super) fn silence(since: jiff::Timestamp, until: jiff::Timestamp) -> String {
    format!(
        "silent since {since:.0} until {until:.0}: the clock was ahead and was set back, and its slots until then ran already"
    )
}

/// A run that has not ended.
fn claim(record: &RunRecord) -> RunView {
    RunView {
        run_id: record.run,
        agent_id: record.agent.clone(),
        slot: record.any_slot(),
        backfill_id: record.past.as_ref().map(|past| past.backfill.to_string()),
        trigger: record.trigger,
        event: record.event.as_ref().map(|event| event.reference()),
        status: record.status,
        attempt: record.attempt,
        queued_at: record.queued_at,
        started_at: record.started_at,
        finished_at: None,
        not_before: record.not_before,
        duration_ms: None,
        result: None,
        error: None,
        exit_code: None,
        usage: Usage::default(),
        config_hash: record.config_hash.to_string(),
        session_id: record.session.as_deref().map(str::to_owned),
        params: record.params.as_deref().cloned().unwrap_or_default(),
        model: None,
        node: record.node.as_ref().map(|at| at.node.to_string()),
        mode: match record.mode {
            RunMode::Normal => None,
            RunMode::Rehearsal => Some("rehearsal".into()),
            RunMode::Replay { .. } => Some("replay".into()),
        },
        warnings: Vec::new(),
    }
}

/// A run as history keeps it.
pub(super) fn run(row: &RunRow) -> RunView {
    RunView {
        finished_at: row.finished_at,
        not_before: row.claim.not_before.filter(|_| !row.claim.status.is_final()),
        duration_ms: row.duration.map(millis),
        result: row.result.clone(),
        error: row.error.clone(),
        exit_code: row.exit_code,
        usage: row.usage,
        model: row.model.clone(),
        warnings: row.warnings.clone(),
        ..claim(&row.claim)
    }
}

/// A run in a list, with the beginning of what it said.
pub(super) fn brief_run(row: &RunRow) -> RunView {
    let mut view = run(row);
    view.result = view.result.map(|text| shortened(&text, LengthUnit::Chars, BRIEF).into_owned());
    if let Some(error) = &mut view.error {
        error.message = shortened(&error.message, LengthUnit::Chars, BRIEF).into_owned();
    }
    view
}

/// Output of a run.
pub(super) fn output(row: &RunRow, page: OutputPage) -> OutputView {
    OutputView {
        run_id: Some(row.claim.run),
        status: Some(row.claim.status),
        chunks: page
            .chunks
            .into_iter()
            .map(|(attempt, chunk)| ChunkView {
                attempt,
                n: chunk.n,
                stream: chunk.stream,
                at: chunk.at,
                text: chunk.text,
            })
            .collect(),
        position: page.position,
        dropped_bytes: page.dropped_bytes,
    }
}

/// A limit, and what is left of it.
pub(super) fn limit(left: &BudgetLeft, holds: &[HoldRecord], today: Date) -> LimitView {
    let monthly = left.limit.ends_with("_per_month");
    let counts = |hold: &&HoldRecord| {
        left.agent.as_ref().is_none_or(|agent| *agent == hold.agent)
            && (hold.day == today || monthly && hold.day.first_of_month() == today.first_of_month())
    };
    let amount = |hold: &HoldRecord| match left.limit.split_once('_') {
        Some(("usd", _)) => hold.worst.usd,
        Some(("tokens", _)) => hold.worst.tokens as f64,
        _ => 1.0,
    };
    let held: f64 = holds.iter().filter(counts).map(amount).sum();
    LimitView {
        limit: left.limit.to_owned(),
        allowed: left.allowed,
        used: left.used,
        // read a moment later than what is used
        held: held.min(left.used),
        left: (left.allowed - left.used).max(0.0),
    }
}

/// An entry of a journal.
pub(super) fn step(row: StepRow) -> StepView {
    StepView {
        n: row.n,
        at: row.at,
        tool: row.tool,
        args: row.args,
        duration_ms: row.took_ms,
        step: row.step,
    }
}

/// A coming slot.
pub(super) fn slot(slot: &ComingSlot, engine: &Engine) -> SlotView {
    let refused = || {
        let circuit = engine.agent(slot.agent.as_str())?.record.circuit?;
        (slot.due < circuit.until).then(|| "its circuit is open".to_owned())
    };
    let silent = || {
        let agent = engine.agent(slot.agent.as_str()).filter(|agent| agent.next_slot == Some(slot.slot))?;
        agent.silent.map(|(since, until)| silence(since, until))
    };
    let note = match (slot.state, slot.skipped) {
        (_, true) => Some("will be left out".to_owned()),
        (Desired::Paused, _) => Some("paused".to_owned()),
        _ => refused().or_else(silent),
    };
    SlotView { agent_id: slot.agent.clone(), slot: slot.slot, due: slot.due, state: slot.state, note }
}

/// An incident.
pub(super) fn incident(record: &IncidentRecord) -> IncidentView {
    IncidentView {
        agent_id: record.agent.clone(),
        key: record.key.clone(),
        severity: record.severity,
        title: record.title.clone(),
        state: if record.is_open() {
            "open".into()
        } else if record.resolved_at.is_some() {
            "resolved".into()
        } else {
            "pending".into()
        },
        since: record.since,
        opened_at: record.opened_at,
        seen_at: record.seen_at,
        count: record.count,
        resolved_at: record.resolved_at,
        acked_at: record.acked_at,
        untrusted: record.by.is_untrusted(),
        finding: record.diagnosis.as_ref().map(|found| FindingView {
            agent_id: found.by.clone(),
            run_id: found.run,
            at: found.at,
            text: found.text.clone(),
        }),
    }
}

/// A tool.
pub(super) fn tool(info: ToolInfo) -> ToolView {
    ToolView {
        name: info.name,
        kind: info.kind,
        effect: info.effect.as_str().into(),
        description: info.description,
        schema: info.schema,
        available: info.available,
    }
}

/// So many deliveries to a webhook in a row that were not taken are worth to be told. Fewer may come from strangers.
const MANY_REFUSED: u64 = 5;

/// How it stands with the listener for webhooks.
pub(super) fn webhooks(standing: &WebhookStanding, hooks: &BTreeMap<String, HookTrouble>) -> WebhooksView {
    let worth = |trouble: &HookTrouble| trouble.is_blind || trouble.refused >= MANY_REFUSED;
    let refused = hooks.iter().filter(|(_, trouble)| worth(trouble)).map(|(name, trouble)| HookTroubleView {
        webhook: name.clone(),
        refused: trouble.refused,
        last: trouble.last.clone(),
        since: trouble.since,
        blind: trouble.is_blind,
    });
    WebhooksView {
        address: standing.address.to_string(),
        problem: standing.problem.as_ref().map(|(problem, _)| problem.clone()),
        refused: refused.collect(),
    }
}

/// Why what an agent waits for can't come from outside, if it can't.
pub(super) fn source_problem(now: &AgentNow, condition: &Condition) -> Option<String> {
    if now.record.desired == Desired::Stopped {
        return None;
    }
    if let Schedule::Webhook(_) = now.spec.schedule {
        let (problem, _) = condition.webhooks.as_ref()?.problem.as_ref()?;
        return Some(format!("webhooks can't be taken: {problem}"));
    }
    condition.sources.get(&now.spec.id).map(|trouble| trouble.problem.clone())
}

/// What is wrong with what an agent waits for.
pub(super) fn source((agent, trouble): (&AgentId, &SourceTrouble)) -> InboxView {
    InboxView { agent_id: agent.clone(), problem: trouble.problem.clone(), since: Some(trouble.since) }
}

/// An MCP server with its tools, or why it does not answer.
pub(super) fn mcp(
    server: String,
    listed: Result<Vec<ServerTool>, ToolError>,
    events: Result<Option<Vec<ServerEvent>>, ToolError>,
    mut notes: Vec<String>,
    took: std::time::Duration,
) -> McpView {
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let (error, tools) = match listed {
        Ok(tools) => (None, tools),
        Err(error) => (Some(error.to_string()), Vec::new()),
    };
    let mut tools: Vec<McpToolView> = tools
        .into_iter()
        .map(|tool| McpToolView {
            usable: tool.is_usable(),
            allowed: tool.allowed,
            pin: pin_word(tool.pin),
            name: tool.info.name,
            effect: tool.info.effect.as_str().into(),
            description: tool.info.description,
            hash: tool.hash,
            changed: tool.changed.into_iter().map(difference).collect(),
            why_not: tool.why_not,
            schema: tool.info.schema,
        })
        .collect();
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    let events = events.unwrap_or_else(|why| {
        notes.push(why.to_string());
        None
    });
    let events = events.map(|events| {
        let view = |event: ServerEvent| McpEventView {
            name: event.name,
            label: event.label,
            description: event.description,
            awaited: event.awaited,
            pin: pin_word(event.pin),
            hash: event.hash,
            changed: event.changed.into_iter().map(difference).collect(),
            why_not: event.why_not,
            schema: event.schema,
        };
        events.into_iter().map(view).collect()
    });
    McpView { server, error, took_ms, notes, tools, events }
}

fn pin_word(pin: PinState) -> String {
    match pin {
        PinState::New => "new",
        PinState::Same => "same",
        PinState::Changed => "changed",
    }
    .to_owned()
}

fn difference(one: Difference) -> DifferenceView {
    DifferenceView { part: one.part.to_owned(), old: one.old, new: one.new }
}

/// An MCP server that nobody has trusted yet, with the agents that name tools of it.
pub(super) fn untrusted((server, agents): (&str, Vec<&AgentId>)) -> UntrustedServerView {
    UntrustedServerView { server: server.to_owned(), agents: agents.into_iter().cloned().collect() }
}

/// What a person has accepted of an MCP server.
pub(super) fn trusted(server: String, changes: Vec<PinChange>) -> TrustView {
    let changed = |change: PinChange| (change.tool, change.changed.into_iter().map(difference).collect());
    TrustView {
        server,
        tools: changes.iter().map(|change| change.tool.clone()).collect(),
        changed: changes.into_iter().map(changed).collect(),
    }
}

/// Why a call of this tool (or of this agent's) by hand failed.
pub(super) fn tool_error(error: &ToolError, tool: &str) -> RpcError {
    let code = match error {
        ToolError::Unknown(_) | ToolError::Arguments(_) => Code::InvalidParams,
        ToolError::Untrusted(_) => Code::Refused,
        ToolError::Timeout { .. } | ToolError::Failed(_) | ToolError::Unsure(_) => Code::Internal,
    };
    let told = RpcError::new(code, error.to_string());
    match error {
        ToolError::Arguments(_) => told.hint(format!("`bgagent tool show {tool}` says what it takes")),
        _ => told,
    }
}
