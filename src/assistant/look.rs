//! The read-only tools.
use super::reach::{CallDesk, CallTrouble, Reach};
use super::said::{ToolAnswer, page};
use crate::domain::assistant::{ListAgentsCall, NextCall, RunsCall, ShowCall, StatusCall, WhyCall};
use crate::overview::{by_need, standings};
use crate::protocol::*;
use crate::render::{Screen, agent_detail, daemon_view, needs_line, run_detail, run_list, standing_list};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// The answer of a tool, and a note if it did not come from the daemon.
type LookResult = Result<(ToolAnswer, Option<String>), CallTrouble>;

/// Default period of `next`.
const DEFAULT_PERIOD_SECS: u64 = 24 * 3600;

/// Returns a screen without colours and without a maximum width.
fn plain_screen() -> Screen {
    Screen { width: None, color: false, now: crate::clock::wall(), zone: TimeZone::system(), raw: false }
}

fn value(view: &impl serde::Serialize) -> Value {
    serde_json::to_value(view).unwrap_or_default()
}

fn clamp_limit(limit: Option<u64>, default: u64, most: u64) -> usize {
    usize::try_from(limit.unwrap_or(default).clamp(1, most)).unwrap_or(usize::MAX)
}

pub(super) fn list_agents<R: Reach>(reach: &R, call: ListAgentsCall) -> LookResult {
    let (mut desk, source) = reach.desk()?;
    let params = ListParams { agents: call.agents, ..ListParams::default() };
    let agents = desk.call::<ListAgents>(&params).map_err(|error| reach.trouble(error))?;
    let incidents =
        desk.call::<ListIncidents>(&ListIncidentsParams::default()).map_err(|error| reach.trouble(error))?;
    let approvals =
        desk.call::<ListApprovals>(&ListApprovalsParams::default()).map_err(|error| reach.trouble(error))?;
    let screen = plain_screen();
    let all = standings(&agents, &incidents, &approvals, screen.now);
    let limit = clamp_limit(call.limit, ListAgentsCall::LIMIT, ListAgentsCall::MOST);
    let (shown, standing): (Vec<AgentView>, Vec<_>) = by_need(&agents, &all)
        .into_iter()
        .take(limit)
        .map(|(agent, standing)| (agent.clone(), standing.clone()))
        .unzip();
    let text = match agents.len() {
        0 => "there is no such agent\n".to_owned(),
        _ => standing_list(&shown, &standing, &screen) + &needs_line(&all, &screen).unwrap_or_default(),
    };
    let data = json!({
        "agents": shown.iter().map(brief).collect::<Vec<_>>(), "total": agents.len(), "shown": shown.len(),
    });
    let note = (shown.len() < agents.len()).then(|| {
        format!(
            "{} of {} agents; `agents` with a pattern, or a larger `limit` (at most {}), shows others",
            shown.len(),
            agents.len(),
            ListAgentsCall::MOST
        )
    });
    Ok((ToolAnswer::others(text, data).with_note(note), source))
}

/// Returns the most important fields.
fn brief(agent: &AgentView) -> Value {
    const BRIEF_KEYS: &[&str] = &[
        "agent_id",
        "description",
        "state",
        "activity",
        "health",
        "schedule",
        "next_run",
        "last_run",
        "reason",
        "resume_at",
        "consecutive_errors",
        "cost_today_usd",
        "budget_used_up_until",
        "circuit_until",
        "open_incidents",
    ];
    let mut view = value(agent);
    if let Some(map) = view.as_object_mut() {
        map.retain(|key, value| BRIEF_KEYS.contains(&key.as_str()) && !value.is_null());
    }
    view
}

pub(super) fn status<R: Reach>(reach: &R, call: StatusCall) -> LookResult {
    let (mut desk, source) = reach.desk()?;
    let screen = plain_screen();
    let Some(agent) = call.agent else {
        if let Some(source) = source {
            return Ok((ToolAnswer::own("", json!({"running": false})), Some(source)));
        }
        let view = desk.call::<GetDaemonStatus>(&NoParams {}).map_err(|error| reach.trouble(error))?;
        let (text, note) = page(&daemon_view(&view, &screen), call.from);
        let data = json!({"running": true, "daemon": value(&view)});
        return Ok((ToolAnswer::others(text, data).with_note(note), None));
    };
    let params = AgentParams { agent_id: agent };
    let detail = desk.call::<GetAgentStatus>(&params).map_err(|error| reach.trouble(error))?;
    let (text, note) = page(&agent_detail(&detail, &screen), call.from);
    Ok((ToolAnswer::others(text, json!({"agent": value(&detail)})).with_note(note), source))
}

pub(super) fn why<R: Reach>(reach: &R, call: WhyCall) -> LookResult {
    let (mut desk, source) = reach.desk()?;
    let timezone = TimeZone::system().iana_name().map(str::to_owned);
    let params = ExplainParams { agent_id: call.agent, at: call.at, timezone };
    let explanation = desk.call::<ExplainSlot>(&params).map_err(|error| reach.trouble(error))?;
    Ok((ToolAnswer::others(explanation.sentence.clone(), json!({"slot": value(&explanation)})), source))
}

pub(super) fn runs<R: Reach>(reach: &R, call: RunsCall) -> LookResult {
    let (mut desk, source) = reach.desk()?;
    let limit = clamp_limit(call.limit, RunsCall::LIMIT, RunsCall::MOST);
    let params = ListRunsParams {
        agent_id: call.agent,
        status: call.status.map(|status| status.to_string()),
        before: call.before,
        limit: Some(limit as u64),
        brief: true,
        ..ListRunsParams::default()
    };
    let runs = desk.call::<ListRuns>(&params).map_err(|error| reach.trouble(error))?;
    let screen = plain_screen();
    let text = if runs.is_empty() { "no such runs".to_owned() } else { run_list(&runs, &screen) };
    let note = runs
        .last()
        .filter(|_| runs.len() >= limit)
        .map(|last| format!("older ones: the same call with `before`: \"{}\"", last.run_id));
    Ok((ToolAnswer::others(text, json!({"runs": value(&runs)})).with_note(note), source))
}

pub(super) fn show<R: Reach>(reach: &R, call: ShowCall) -> LookResult {
    let (mut desk, source) = reach.desk()?;
    let params = |run: &str| GetRunParams { run_id: run.to_owned(), ..GetRunParams::default() };
    let detail = match desk.call::<GetRun>(&params(&call.run)) {
        Err(crate::client::ClientError::Refused(error)) if error.kind() == Some(Code::NoSuchRun) => {
            // it may be the name of an agent
            let newest = ListRunsParams {
                agent_id: Some(call.run.clone()),
                limit: Some(1),
                brief: true,
                ..ListRunsParams::default()
            };
            let newest =
                desk.call::<ListRuns>(&newest).ok().and_then(|runs| Some(runs.first()?.run_id.to_string()));
            match newest {
                Some(run) => desk.call::<GetRun>(&params(&run)),
                None => Err(error.into()),
            }
        }
        answer => answer,
    };
    let detail = detail.map_err(|error| reach.trouble(error))?;
    let (text, note) = page(&run_detail(&detail, &plain_screen()), call.from);
    Ok((ToolAnswer::others(text, json!({"run": value(&detail.run)})).with_note(note), source))
}

pub(super) fn next<R: Reach>(reach: &R, call: NextCall) -> LookResult {
    let (mut desk, source) = reach.desk()?;
    let limit = clamp_limit(call.limit, NextCall::LIMIT, NextCall::MOST);
    let for_secs = call.look.map_or(DEFAULT_PERIOD_SECS, |look| look.unsigned_abs().as_secs());
    let params = NextParams { agents: call.agents, for_secs: Some(for_secs), limit: Some(limit as u64) };
    let slots = desk.call::<NextSlots>(&params).map_err(|error| reach.trouble(error))?;
    let screen = plain_screen();
    let lines: Vec<String> = slots
        .iter()
        .map(|slot| {
            let note = slot.note.as_deref().map(|note| format!("   {note}")).unwrap_or_default();
            let held = match slot.state {
                crate::domain::Desired::Active => String::new(),
                state => format!("   (agent is {state})"),
            };
            format!("{}   {}{note}{held}", screen.full(slot.due), slot.agent_id)
        })
        .collect();
    let text = if lines.is_empty() { "nothing is due in that time".to_owned() } else { lines.join("\n") };
    let note = (slots.len() >= limit).then(|| {
        format!(
            "the first {limit}; a larger `limit` (at most {}), or one agent by name, shows more",
            NextCall::MOST
        )
    });
    Ok((ToolAnswer::own(text, json!({"slots": value(&slots)})).with_note(note), source))
}
