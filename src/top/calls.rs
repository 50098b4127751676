//! The calls to the daemon behind requests and changes.
use super::asks::{Act, MOST_RUNS, SpentToday, TopAnswer, TopRequest};
use crate::client::{ClientError, Connection};
use crate::domain::AgentId;
use crate::protocol::*;
use jiff::Timestamp;

/// Number of days of usage that are requested.
const USAGE_DAYS: u32 = 14;
/// Number of newest runs that are listed.
const MAX_LISTED_RUNS: u64 = 100;
/// Number of newest runs that an agent's strip shows.
const RECENT_RUN_COUNT: u64 = 20;
/// Number of parts of the widest strip.
const STRIP_PARTS: i64 = 240;
/// Ledger records per answer, and maximum number of answers per request.
const PAGE_ROWS: u64 = 5000;
const MAX_PAGES: usize = 6;

impl TopRequest {
    /// Sends the request.
    pub(super) fn ask(&self, connection: &mut Connection) -> Result<TopAnswer, ClientError> {
        Ok(match self {
            Self::Daemon => TopAnswer::Daemon(Box::new(connection.call::<GetDaemonStatus>(&NoParams {})?)),
            Self::Agents(names) => {
                let agents = names.iter().map(ToString::to_string).collect();
                // for all agents, that would be too much data
                let recent = (!names.is_empty()).then_some(RECENT_RUN_COUNT);
                TopAnswer::Agents(connection.call::<ListAgents>(&ListParams { agents, recent })?)
            }
            Self::Detail(agent) => {
                let params = AgentParams { agent_id: agent.to_string() };
                TopAnswer::Detail(Box::new(connection.call::<GetAgentStatus>(&params)?))
            }
            Self::Incidents(all) => TopAnswer::Incidents(
                connection.call::<ListIncidents>(&ListIncidentsParams { all: *all, ..Default::default() })?,
            ),
            Self::Approvals => {
                TopAnswer::Approvals(connection.call::<ListApprovals>(&ListApprovalsParams { all: false })?)
            }
            Self::Next => {
                let params = NextParams { agents: Vec::new(), for_secs: None, limit: Some(MOST_RUNS) };
                TopAnswer::Next(connection.call::<NextSlots>(&params)?)
            }
            Self::Slots(agents, from, to) => TopAnswer::Slots(slots(connection, agents, *from, *to)?),
            Self::Live => TopAnswer::Runs(live(connection)?),
            Self::Runs(agent) => {
                let agent_id = agent.as_ref().map(ToString::to_string);
                // in full, since a truncated result of a probe can't be parsed
                let params =
                    ListRunsParams { agent_id, limit: Some(MAX_LISTED_RUNS), ..ListRunsParams::default() };
                TopAnswer::Runs(connection.call::<ListRuns>(&params)?)
            }
            Self::Run(run) => {
                let params = GetRunParams { run_id: run.to_string(), ..GetRunParams::default() };
                TopAnswer::Run(Box::new(connection.call::<GetRun>(&params)?))
            }
            Self::Output(run, after) => {
                let params =
                    OutputParams { run_id: Some(run.to_string()), agent_id: None, after: Some(*after) };
                TopAnswer::Output(connection.call::<GetRunOutput>(&params)?)
            }
            Self::Usage => TopAnswer::Usage(Box::new(spent(connection)?)),
            Self::Why(agent, timezone) => {
                let params =
                    ExplainParams { agent_id: agent.to_string(), at: None, timezone: timezone.clone() };
                TopAnswer::Why(Box::new(connection.call::<ExplainSlot>(&params)?))
            }
        })
    }
}

fn live(connection: &mut Connection) -> Result<Vec<RunView>, ClientError> {
    let statuses = ["running", "retrying", "queued", "waiting_approval"].map(str::to_owned).to_vec();
    let params =
        ListRunsParams { statuses, limit: Some(MOST_RUNS), brief: true, ..ListRunsParams::default() };
    connection.call::<ListRuns>(&params)
}

/// Fetches ledger records, page by page up to a maximum.
fn slots(
    connection: &mut Connection,
    agents: &[AgentId],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<SlotRecordView>, ClientError> {
    let mut params = ListSlotsParams {
        agents: agents.iter().map(ToString::to_string).collect(),
        from: Some(from),
        to: Some(to),
        limit: Some(PAGE_ROWS),
        // the resolution of a strip
        merge_secs: u64::try_from(to.duration_since(from).as_secs() / STRIP_PARTS).ok(),
        ..ListSlotsParams::default()
    };
    let mut all: Vec<SlotRecordView> = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = connection.call::<ListSlots>(&params)?;
        let is_last = (page.len() as u64) < PAGE_ROWS;
        all.extend(page);
        params.after =
            all.last().map(|last| SlotPosition { agent_id: last.agent_id.to_string(), first: last.first });
        if is_last {
            break;
        }
    }
    Ok(all)
}

fn spent(connection: &mut Connection) -> Result<SpentToday, ClientError> {
    let by =
        |what: &str, days: u32| UsageParams { days: Some(days), by: Some(UsageGroups::One(what.to_owned())) };
    let all = [by("agent", 1), by("model", 1), by("day", USAGE_DAYS)];
    let mut answers = connection.call_many::<GetUsage>(&all)?.into_iter();
    let mut next = || answers.next().unwrap_or_else(|| Ok(Vec::new()));
    Ok(SpentToday { agents: next()?, models: next()?, days: next()? })
}

impl Act {
    /// Carries out the change, and describes its outcome.
    pub(super) fn perform(&self, connection: &mut Connection) -> Result<String, ClientError> {
        let target = |agent: &AgentId| TargetParams {
            agent_id: Some(agent.to_string()),
            reason: Some("in top".into()),
            ..TargetParams::default()
        };
        Ok(match self {
            Self::Run(agent) => {
                let params = RunParams { agent_id: agent.to_string(), ..RunParams::default() };
                let started = connection.call::<RunAgent>(&params)?;
                let note = started.note.map(|note| format!(" ({note})")).unwrap_or_default();
                format!("{agent}: run {} {}{note}", started.run_id.short(), started.status)
            }
            Self::Pause(agent, for_ms) => {
                let params = PauseParams {
                    agent_id: Some(agent.to_string()),
                    for_ms: *for_ms,
                    ..PauseParams::default()
                };
                changed(agent, &connection.call::<PauseAgent>(&params)?)
            }
            Self::Resume(agent) => changed(agent, &connection.call::<ResumeAgent>(&target(agent))?),
            Self::Start(agent) => changed(agent, &connection.call::<StartAgent>(&target(agent))?),
            Self::Stop(agent) => {
                let params = StopParams { agent_id: Some(agent.to_string()), ..StopParams::default() };
                changed(agent, &connection.call::<StopAgent>(&params)?)
            }
            Self::Skip(agent) => {
                let params = SkipParams { agent_id: agent.to_string(), request_id: None };
                let skipped = connection.call::<SkipAgent>(&params)?;
                let already = if skipped.changed { "" } else { " already" };
                format!("{agent}: its next slot is{already} left out")
            }
            Self::Cancel(agent, run) => {
                let params = CancelParams { run_id: run.to_string(), now: false, request_id: None };
                let view = connection.call::<CancelRun>(&params)?;
                match view.status.is_final() {
                    true => format!("{agent}: run {} {}", run.short(), view.status),
                    false => format!("{agent}: run {} is being ended", run.short()),
                }
            }
            Self::Approve(id) => decide(connection, id, true, None)?,
            Self::Deny(id, reason) => {
                decide(connection, id, false, Some(reason.clone()).filter(|reason| !reason.is_empty()))?
            }
            Self::Acknowledge(agent, key) => {
                let params = AckParams { key: key.clone(), agent_id: Some(agent.to_string()) };
                connection.call::<AckIncident>(&params)?;
                format!("{agent}: {key} acknowledged")
            }
        })
    }
}

fn changed(agent: &AgentId, changed: &Changed) -> String {
    let state = changed.state.map(|state| state.to_string()).unwrap_or_default();
    match &changed.note {
        Some(note) => format!("{agent}: {note}"),
        None => format!("{agent}: {state}"),
    }
}

fn decide(
    connection: &mut Connection,
    id: &str,
    approve: bool,
    reason: Option<String>,
) -> Result<String, ClientError> {
    let params = DecideParams { id: id.to_owned(), approve, reason };
    let decided = connection.call::<DecideApproval>(&params)?;
    let word = if approve { "approved" } else { "denied" };
    Ok(format!("{} of run {} {word}", decided.tool, decided.run_id.short()))
}
