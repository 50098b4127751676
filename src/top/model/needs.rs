//! What needs a person, what is under way, what is well and what is held back: in the order in which it is looked at.
use super::known::{Known, is_own};
use super::rowkey::{RowGroup, RowKey};
use crate::domain::{Activity, Desired, Health, RunStatus, Severity};
use crate::protocol::{AgentView, IncidentView, RunView};
use jiff::Timestamp;

/// Agents that are listed by name where all is well with them; more are one line.
const MOST_WELL: usize = 500;

/// How much something needs a person, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::top) enum NeedUrgency {
    /// It waits for a decision.
    Decide,
    /// It does not work.
    Critical,
    /// It should be looked at.
    Warning,
}

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) struct NeedRow {
    /// How much.
    pub(in crate::top) urgency: NeedUrgency,
    /// Since when, if that is known.
    pub(in crate::top) since: Option<Timestamp>,
    /// What.
    pub(in crate::top) key: RowKey,
}

/// All that needs a person, the most urgent first, and of those the newest first.
pub(in crate::top) fn needs(known: &Known, now: Timestamp) -> Vec<NeedRow> {
    let mut needs: Vec<NeedRow> = Vec::new();
    needs.extend(known.approvals.iter().map(|one| NeedRow {
        urgency: NeedUrgency::Decide,
        since: one.requested_at,
        key: RowKey::Approval(one.id.clone()),
    }));
    needs.extend(known.incidents.iter().filter(|one| is_open(one) && !stands_for_agent(known, one)).map(
        |one| NeedRow {
            urgency: of_severity(one.severity),
            since: Some(one.since),
            key: RowKey::Incident(one.agent_id.clone(), one.key.clone()),
        },
    ));
    needs.extend(known.agents.values().filter_map(|agent| {
        let urgency = urgency_of(agent, known, now)?;
        let since = known.own_incident(&agent.agent_id).map(|one| one.since);
        let since = since.or(agent.last_run.as_ref().map(|last| last.finished_at));
        Some(NeedRow { urgency, since, key: RowKey::Agent(agent.agent_id.clone()) })
    }));
    needs.extend(of_the_daemon(known));
    needs.sort_by(|a, b| (a.urgency, b.since, &a.key).cmp(&(b.urgency, a.since, &b.key)));
    needs
}

fn of_the_daemon(known: &Known) -> Vec<NeedRow> {
    let Some(daemon) = &known.daemon else { return Vec::new() };
    let need = |urgency, since, key| NeedRow { urgency, since, key };
    let mut needs = Vec::new();
    if daemon.problem.is_some() {
        needs.push(need(NeedUrgency::Critical, None, RowKey::Daemon));
    }
    if !daemon.config_errors.is_empty() || daemon.config_missing || daemon.config_waits {
        needs.push(need(NeedUrgency::Warning, None, RowKey::Config));
    }
    for server in &daemon.untrusted {
        needs.push(need(NeedUrgency::Warning, None, RowKey::Server(server.server.clone())));
    }
    for target in daemon.deliveries.iter().filter(|one| one.error.is_some() || one.given_up > 0) {
        needs.push(need(NeedUrgency::Warning, Some(target.oldest), RowKey::Target(target.target.clone())));
    }
    needs
}

/// Is it open, and has nobody acknowledged it?
pub(in crate::top) fn is_open(incident: &IncidentView) -> bool {
    incident.resolved_at.is_none() && incident.opened_at.is_some() && incident.acked_at.is_none()
}

/// Is the agent's own line there for it?
fn stands_for_agent(known: &Known, incident: &IncidentView) -> bool {
    is_own(incident) && known.agents.get(&incident.agent_id).is_some_and(|agent| agent.health != Health::Ok)
}

fn of_severity(severity: Severity) -> NeedUrgency {
    match severity {
        Severity::Critical => NeedUrgency::Critical,
        Severity::Warning => NeedUrgency::Warning,
    }
}

/// How much an agent itself needs a person.
pub(in crate::top) fn urgency_of(agent: &AgentView, known: &Known, now: Timestamp) -> Option<NeedUrgency> {
    if agent.state == Desired::Stopped {
        return None;
    }
    let is_noted = || known.own_incident(&agent.agent_id).is_some_and(|one| one.acked_at.is_some());
    match agent.health {
        Health::CircuitOpen | Health::Failing if is_noted() => Some(NeedUrgency::Warning),
        Health::CircuitOpen | Health::Failing => Some(NeedUrgency::Critical),
        Health::Ok if agent.state == Desired::Paused => None,
        Health::Ok if is_ahead(agent.budget_used_up_until, now) => Some(NeedUrgency::Warning),
        Health::Ok if is_ahead(agent.silent_until, now) => Some(NeedUrgency::Warning),
        Health::Ok => None,
    }
}

fn is_ahead(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_some_and(|until| until > now)
}

/// Agents that need nobody: those that are held back, or the others.
pub(in crate::top) fn calm(known: &Known, held: bool, now: Timestamp) -> impl Iterator<Item = &AgentView> {
    known.agents.values().filter(move |agent| {
        let waits = agent.activity == Activity::WaitingApproval;
        (agent.state != Desired::Active) == held && !waits && urgency_of(agent, known, now).is_none()
    })
}

/// Runs that have not ended and wait for nobody.
pub(in crate::top) fn under_way(known: &Known) -> impl Iterator<Item = &RunView> {
    known.live.iter().filter(|run| run.status != RunStatus::WaitingApproval)
}

/// Is it under way?
pub(in crate::top) fn is_busy(agent: &AgentView) -> bool {
    !matches!(agent.activity, Activity::Idle)
}

/// The first view: what needs a person, what is under way, what is well, what is held back.
pub(in crate::top) fn now_rows(known: &Known, needs: &[NeedRow], now: Timestamp) -> Vec<RowKey> {
    let mut rows = vec![RowKey::Title(RowGroup::Needs)];
    rows.extend(needs.iter().map(|need| need.key.clone()));
    let mut live: Vec<_> = under_way(known).collect();
    if !live.is_empty() {
        rows.push(RowKey::Title(RowGroup::Running));
        live.sort_by_key(|run| (run.status, run.started_at.unwrap_or(run.queued_at), run.run_id));
        rows.extend(live.iter().map(|run| RowKey::Run(run.run_id)));
    }
    for group in [RowGroup::Well, RowGroup::Held] {
        let agents: Vec<_> = calm(known, group == RowGroup::Held, now).collect();
        if agents.is_empty() {
            continue;
        }
        rows.push(RowKey::Title(group));
        if agents.len() > MOST_WELL {
            rows.push(RowKey::Rest(group));
        } else {
            rows.extend(agents.iter().map(|agent| RowKey::Agent(agent.agent_id.clone())));
        }
    }
    rows
}
