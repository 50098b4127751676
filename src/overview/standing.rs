//! How an agent stands, in a mark, a word and a cause.
use crate::domain::{Activity, AgentId, Desired, Health, Severity};
use crate::protocol::{AgentView, ApprovalView, IncidentView};
use jiff::Timestamp;
use std::collections::HashMap;

/// How urgently something needs a person: the first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A call waits for a decision.
    Asks,
    /// What it watches is critical.
    Critical,
    /// It failed so often that its slots are refused.
    CircuitOpen,
    /// Its last run failed.
    Failing,
    /// What it watches is not as it should be.
    Warning,
    /// Messages do not arrive.
    Undelivered,
    /// Its budget is used up.
    NoBudget,
    /// The clock was ahead and set back: nothing starts for a while.
    Silent,
    /// A run is in flight, waits, or is tried again.
    Busy,
    /// All is well.
    Well,
    /// It has not run yet.
    NotYet,
    /// A person has paused it.
    Paused,
    /// It is stopped.
    Stopped,
}

/// Where something stands on a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StandingSection {
    /// A person should look, or decide.
    NeedsYou,
    /// Runs in flight.
    Running,
    /// As it should be.
    Well,
    /// Held back on purpose.
    HeldBack,
}

/// A mark in front of a line. Says without colour what the colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingMark {
    /// One column of a terminal that has Unicode.
    pub symbol: &'static str,
    /// The same in ASCII.
    pub ascii: &'static str,
}

impl Rank {
    /// Its mark.
    pub fn mark(self) -> StandingMark {
        let (symbol, ascii) = match self {
            Self::Asks => ("?", "?"),
            Self::Critical | Self::CircuitOpen | Self::Failing => ("✗", "X"),
            Self::Warning | Self::Undelivered | Self::Silent => ("!", "!"),
            Self::NoBudget => ("$", "$"),
            Self::Busy => ("▶", ">"),
            Self::Well => ("✓", "v"),
            Self::NotYet => ("·", "."),
            Self::Paused => ("‖", "="),
            Self::Stopped => ("■", "#"),
        };
        StandingMark { symbol, ascii }
    }

    /// Where it stands on a screen.
    pub fn section(self) -> StandingSection {
        match self {
            Self::Busy => StandingSection::Running,
            Self::Well | Self::NotYet => StandingSection::Well,
            Self::Paused | Self::Stopped => StandingSection::HeldBack,
            _ => StandingSection::NeedsYou,
        }
    }
}

/// How an agent stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// How urgent it is.
    pub rank: Rank,
    /// In a word or two: `failing 3×`.
    pub word: String,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
    /// Why, in a line of words from outside; empty: the word says it all.
    pub cause: String,
}

/// What there is to know of an agent beside its entry in the list.
#[derive(Clone, Copy, Debug, Default)]
struct Beside<'a> {
    /// Its oldest call that waits.
    call: Option<&'a ApprovalView>,
    /// The worst of its incidents that nobody has acknowledged, without the one that says that it fails.
    incident: Option<&'a IncidentView>,
}

/// How each agent stands, in the order of `agents`.
pub fn standings(
    agents: &[AgentView],
    incidents: &[IncidentView],
    approvals: &[ApprovalView],
    now: Timestamp,
) -> Vec<Standing> {
    let mut beside: HashMap<&AgentId, Beside<'_>> = HashMap::new();
    for call in approvals.iter().filter(|call| call.decided_at.is_none()) {
        let Some(agent) = &call.agent_id else { continue };
        let known = &mut beside.entry(agent).or_default().call;
        if known.is_none_or(|known| call.requested_at < known.requested_at) {
            *known = Some(call);
        }
    }
    for incident in incidents.iter().filter(|incident| is_unseen(incident) && !says_it_fails(incident)) {
        let known = &mut beside.entry(&incident.agent_id).or_default().incident;
        if known.is_none_or(|known| incident.severity > known.severity) {
            *known = Some(incident);
        }
    }
    let of = |agent: &AgentView| beside.get(&agent.agent_id).copied().unwrap_or_default();
    agents.iter().map(|agent| judge(agent, of(agent), now)).collect()
}

/// All of them, most urgent first; what is well, idle or busy stays where its name has it.
pub fn by_need<'a>(agents: &'a [AgentView], standings: &'a [Standing]) -> Vec<(&'a AgentView, &'a Standing)> {
    let mut all: Vec<(&AgentView, &Standing)> = agents.iter().zip(standings).collect();
    let order = |standing: &Standing| match standing.rank.section() {
        StandingSection::NeedsYou => (StandingSection::NeedsYou, Some(standing.rank)),
        section => (section, None),
    };
    all.sort_by(|a, b| order(a.1).cmp(&order(b.1)).then_with(|| a.0.agent_id.cmp(&b.0.agent_id)));
    all
}

/// How one agent stands.
pub fn standing(
    agent: &AgentView,
    incidents: &[IncidentView],
    approvals: &[ApprovalView],
    now: Timestamp,
) -> Standing {
    let mut all = standings(std::slice::from_ref(agent), incidents, approvals, now);
    all.pop().unwrap_or_else(|| judge(agent, Beside::default(), now))
}

/// Is it open, and has nobody acknowledged it?
pub(super) fn is_unseen(incident: &IncidentView) -> bool {
    incident.resolved_at.is_none() && incident.acked_at.is_none()
}

/// Is this the incident that the daemon keeps of an agent that fails? Its line says the same.
pub(super) fn says_it_fails(incident: &IncidentView) -> bool {
    incident.key.strip_prefix("agent:") == Some(incident.agent_id.as_str())
}

fn judge(agent: &AgentView, beside: Beside<'_>, now: Timestamp) -> Standing {
    let stands = |rank: Rank, word: &str, since: Option<Timestamp>, cause: &str| Standing {
        rank,
        word: word.to_owned(),
        since,
        cause: cause.to_owned(),
    };
    if let Some(call) = beside.call {
        return stands(Rank::Asks, "asks you", call.requested_at, &format!("may it call {}?", call.tool));
    }
    let reason = agent.reason.as_deref().unwrap_or_default();
    match agent.state {
        Desired::Paused => return stands(Rank::Paused, "paused", None, reason),
        Desired::Stopped => return stands(Rank::Stopped, "stopped", None, reason),
        Desired::Active => {}
    }
    if let Some(incident) = beside.incident.filter(|incident| incident.severity == Severity::Critical) {
        return stands(Rank::Critical, "sees critical", Some(incident.since), &incident.title);
    }
    let last = agent.last_run.as_ref();
    let failed_at = last.filter(|last| last.error.is_some()).map(|last| last.finished_at);
    let error = last.and_then(|last| last.error.as_ref()).map_or("", |error| error.message.as_str());
    match agent.health {
        Health::CircuitOpen => {
            let word = format!("circuit open {}×", agent.consecutive_errors);
            return stands(Rank::CircuitOpen, &word, failed_at, error);
        }
        Health::Failing => {
            let word = match agent.consecutive_errors {
                0 | 1 => "failing".to_owned(),
                times => format!("failing {times}×"),
            };
            return stands(Rank::Failing, &word, failed_at, error);
        }
        Health::Ok => {}
    }
    if let Some(incident) = beside.incident {
        return stands(Rank::Warning, "sees a warning", Some(incident.since), &incident.title);
    }
    if agent.budget_used_up_until.is_some_and(|until| until > now) {
        return stands(Rank::NoBudget, "no budget", None, "its budget, or that of the fleet, is used up");
    }
    if agent.silent_until.is_some_and(|until| until > now) {
        let cause = "the clock was ahead and set back: its slots up to then ran already";
        return stands(Rank::Silent, "silent", agent.silent_since, cause);
    }
    match agent.activity {
        Activity::Idle if last.is_none() => stands(Rank::NotYet, "not yet", None, ""),
        Activity::Idle => stands(Rank::Well, "ok", last.map(|last| last.finished_at), ""),
        Activity::WaitingApproval => {
            stands(Rank::Asks, "asks you", None, "one of its calls waits for a decision")
        }
        activity => stands(Rank::Busy, activity.as_str(), None, ""),
    }
}
