//! The items that need a person: calls, incidents, failing agents, undelivered messages.
use super::standing::{Rank, Standing, StandingSection, is_unseen, says_it_fails, standings};
use crate::domain::{AgentId, RunId, Severity, counted};
use crate::protocol::{AgentView, ApprovalView, DaemonView, IncidentView};
use jiff::Timestamp;

/// The subject of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeedKind {
    /// A pending approval.
    Approval {
        id: String,
        /// The run that waits.
        run: RunId,
        agent: Option<AgentId>,
    },
    /// An incident that is not acknowledged.
    Incident { agent: AgentId, key: String },
    /// An agent that fails, has no budget, or is silent.
    Agent(AgentId),
    /// A notification target whose messages can't be delivered.
    Target(String),
    /// The daemon itself.
    Daemon,
    /// Agents that assistants have proposed.
    Proposals,
}

/// An item that needs a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    pub kind: NeedKind,
    pub rank: Rank,
    /// Its name in a line.
    pub name: String,
    /// Its state, in a word or two.
    pub word: String,
    pub since: Option<Timestamp>,
    /// The cause, in one line of untrusted text.
    pub cause: String,
}

impl Need {
    /// Returns the agent that it is about.
    pub fn agent(&self) -> Option<&AgentId> {
        match &self.kind {
            NeedKind::Approval { agent, .. } => agent.as_ref(),
            NeedKind::Incident { agent, .. } | NeedKind::Agent(agent) => Some(agent),
            NeedKind::Target(_) | NeedKind::Daemon | NeedKind::Proposals => None,
        }
    }
}

/// Returns all items that need a person, most urgent first, newest first among equals.
pub fn needs(
    agents: &[AgentView],
    incidents: &[IncidentView],
    approvals: &[ApprovalView],
    daemon: Option<&DaemonView>,
    now: Timestamp,
) -> Vec<Need> {
    let mut all: Vec<Need> = daemon.and_then(of_daemon).into_iter().collect();
    all.extend(daemon.and_then(of_proposals));
    all.extend(approvals.iter().filter(|call| call.decided_at.is_none()).map(of_approval));
    let probed = incidents.iter().filter(|incident| is_unseen(incident) && !says_it_fails(incident));
    all.extend(probed.map(of_incident));
    // approvals and incidents are items of their own: here only the state of the agent itself counts
    let own: Vec<IncidentView> = incidents.iter().filter(|one| says_it_fails(one)).cloned().collect();
    for (agent, standing) in agents.iter().zip(standings(agents, &own, &[], now)) {
        let has_line = standing.rank.section() == StandingSection::NeedsYou && standing.rank != Rank::Asks;
        all.extend(has_line.then(|| of_agent(agent, standing)));
    }
    all.extend(daemon.into_iter().flat_map(|daemon| &daemon.deliveries).map(|target| Need {
        kind: NeedKind::Target(target.target.clone()),
        rank: Rank::Undelivered,
        name: target.target.clone(),
        word: "undelivered".to_owned(),
        since: Some(target.oldest),
        cause: undelivered(target.waiting, target.given_up, target.error.as_deref()),
    }));
    all.sort_by(|a, b| a.rank.cmp(&b.rank).then(b.since.cmp(&a.since)).then_with(|| a.name.cmp(&b.name)));
    all
}

fn of_daemon(daemon: &DaemonView) -> Option<Need> {
    let rejected = daemon.config_errors.first();
    let (rank, word, since, cause) = match (&daemon.problem, rejected) {
        (Some(problem), _) => (Rank::Critical, daemon.state.as_str(), None, problem.clone()),
        (None, Some(error)) => (Rank::Warning, "not applied", None, error.clone()),
        (None, None) if daemon.config_missing => {
            (Rank::Warning, "file missing", None, format!("{} is gone", daemon.config_path))
        }
        (None, None) => return None,
    };
    let name = if daemon.problem.is_some() { "daemon" } else { "configuration" };
    Some(Need { kind: NeedKind::Daemon, rank, name: name.to_owned(), word: word.to_owned(), since, cause })
}

fn of_proposals(daemon: &DaemonView) -> Option<Need> {
    if daemon.proposals == 0 {
        return None;
    }
    Some(Need {
        kind: NeedKind::Proposals,
        rank: Rank::Asks,
        name: "proposals".to_owned(),
        word: "ask you".to_owned(),
        since: None,
        cause: proposals_wait(daemon.proposals),
    })
}

/// Describes the waiting proposals.
pub fn proposals_wait(count: u64) -> String {
    let verb = if count == 1 { "waits" } else { "wait" };
    format!("{} {verb} for a person: bgagent proposals", counted(count, "proposal"))
}

fn of_approval(call: &ApprovalView) -> Need {
    let agent = call.agent_id.as_ref().map_or("", AgentId::as_str);
    Need {
        kind: NeedKind::Approval { id: call.id.clone(), run: call.run_id, agent: call.agent_id.clone() },
        rank: Rank::Asks,
        name: agent.to_owned(),
        word: "asks".to_owned(),
        since: call.requested_at,
        cause: format!("{} {}", call.tool, call.args),
    }
}

fn of_incident(incident: &IncidentView) -> Need {
    let rank = match incident.severity {
        Severity::Critical => Rank::Critical,
        Severity::Warning => Rank::Warning,
    };
    Need {
        kind: NeedKind::Incident { agent: incident.agent_id.clone(), key: incident.key.clone() },
        rank,
        name: incident.key.clone(),
        word: incident.severity.as_str().to_owned(),
        since: Some(incident.since),
        cause: incident.title.clone(),
    }
}

fn of_agent(agent: &AgentView, standing: Standing) -> Need {
    let Standing { rank, word, since, cause } = standing;
    let (kind, name) = (NeedKind::Agent(agent.agent_id.clone()), agent.agent_id.to_string());
    Need { kind, rank, name, word, since, cause }
}

fn undelivered(waiting: u64, given_up: u64, error: Option<&str>) -> String {
    let mut parts = Vec::new();
    if waiting > 0 {
        parts.push(format!("{} waiting", crate::domain::counted(waiting, "message")));
    }
    if given_up > 0 {
        parts.push(format!("{given_up} given up"));
    }
    match error {
        Some(error) => format!("{}: {error}", parts.join(", ")),
        None => parts.join(", "),
    }
}
