//! The state of an agent, as a mark, a word and a cause.
use crate::domain::{Activity, AgentId, Desired, ErrorKind, Health, IncidentRecord, RunStatus, Severity};
use crate::protocol::{AgentView, ApprovalView, IncidentView, LastRunView};
use jiff::Timestamp;
use std::collections::HashMap;

/// How urgently something needs a person, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A call waits for approval.
    Asks,
    /// What it watches is critical.
    Critical,
    /// Its circuit is open after repeated failures, so slots are refused.
    CircuitOpen,
    /// Its last run failed.
    Failing,
    /// What it watches is in a warning state.
    Warning,
    /// Messages can't be delivered.
    Undelivered,
    /// Its budget is exhausted.
    NoBudget,
    /// Its external source can't deliver.
    Deaf,
    /// The clock was ahead and has been set back: nothing starts for a while.
    Silent,
    /// A run is in flight, queued, or waits for a retry.
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

/// The section of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StandingSection {
    /// A person should look, or decide.
    NeedsYou,
    /// Runs in flight.
    Running,
    /// In good order.
    Well,
    /// Paused or stopped on purpose.
    HeldBack,
}

/// A mark at the start of a row, which expresses the state without colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingMark {
    /// One column wide, for Unicode terminals.
    pub symbol: &'static str,
    /// ASCII substitute.
    pub ascii: &'static str,
}

impl Rank {
    /// Returns the mark.
    pub fn mark(self) -> StandingMark {
        let (symbol, ascii) = match self {
            Self::Asks => ("?", "?"),
            Self::Critical | Self::CircuitOpen | Self::Failing => ("✗", "X"),
            Self::Warning | Self::Undelivered | Self::Deaf | Self::Silent => ("!", "!"),
            Self::NoBudget => ("$", "$"),
            Self::Busy => ("▶", ">"),
            Self::Well => ("✓", "v"),
            Self::NotYet => ("·", "."),
            Self::Paused => ("‖", "="),
            Self::Stopped => ("■", "#"),
        };
        StandingMark { symbol, ascii }
    }

    /// Returns the section of a screen.
    pub fn section(self) -> StandingSection {
        match self {
            Self::Busy => StandingSection::Running,
            Self::Well | Self::NotYet => StandingSection::Well,
            Self::Paused | Self::Stopped => StandingSection::HeldBack,
            _ => StandingSection::NeedsYou,
        }
    }
}

/// The state of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub rank: Rank,
    /// The state in a word or two: `failing 3×`.
    pub word: String,
    /// Since when, if known.
    pub since: Option<Timestamp>,
    /// The cause, in one line of untrusted text; empty if the word is enough.
    pub cause: String,
}

/// What is known about an agent besides its entry in the list.
#[derive(Clone, Copy, Debug, Default)]
struct AgentContext<'a> {
    /// Its oldest pending approval.
    call: Option<&'a ApprovalView>,
    /// The most severe of its incidents that are not acknowledged, except the one about its own failures.
    incident: Option<&'a IncidentView>,
    /// The incident about its own failures.
    failure: Option<&'a IncidentView>,
}

/// Returns the state of each agent, in the order of `agents`.
pub fn standings(
    agents: &[AgentView],
    incidents: &[IncidentView],
    approvals: &[ApprovalView],
    now: Timestamp,
) -> Vec<Standing> {
    let mut context: HashMap<&AgentId, AgentContext<'_>> = HashMap::new();
    for call in approvals.iter().filter(|call| call.decided_at.is_none()) {
        let Some(agent) = &call.agent_id else { continue };
        let known = &mut context.entry(agent).or_default().call;
        if known.is_none_or(|known| call.requested_at < known.requested_at) {
            *known = Some(call);
        }
    }
    for incident in incidents.iter().filter(|incident| is_unseen(incident) && !says_it_fails(incident)) {
        let known = &mut context.entry(&incident.agent_id).or_default().incident;
        if known.is_none_or(|known| incident.severity > known.severity) {
            *known = Some(incident);
        }
    }
    for incident in incidents.iter().filter(|one| one.resolved_at.is_none() && says_it_fails(one)) {
        context.entry(&incident.agent_id).or_default().failure = Some(incident);
    }
    let of = |agent: &AgentView| context.get(&agent.agent_id).copied().unwrap_or_default();
    agents.iter().map(|agent| judge(agent, of(agent), now)).collect()
}

/// Returns all agents, most urgent first; those that need nobody are sorted by name within their section.
pub fn by_need<'a>(agents: &'a [AgentView], standings: &'a [Standing]) -> Vec<(&'a AgentView, &'a Standing)> {
    let mut all: Vec<(&AgentView, &Standing)> = agents.iter().zip(standings).collect();
    let order = |standing: &Standing| match standing.rank.section() {
        StandingSection::NeedsYou => (StandingSection::NeedsYou, Some(standing.rank)),
        section => (section, None),
    };
    all.sort_by(|a, b| order(a.1).cmp(&order(b.1)).then_with(|| a.0.agent_id.cmp(&b.0.agent_id)));
    all
}

/// Returns the state of one agent.
pub fn standing(
    agent: &AgentView,
    incidents: &[IncidentView],
    approvals: &[ApprovalView],
    now: Timestamp,
) -> Standing {
    let mut all = standings(std::slice::from_ref(agent), incidents, approvals, now);
    all.pop().unwrap_or_else(|| judge(agent, AgentContext::default(), now))
}

/// Returns whether the incident is open and not acknowledged.
pub(super) fn is_unseen(incident: &IncidentView) -> bool {
    incident.resolved_at.is_none() && incident.acked_at.is_none()
}

/// Returns whether this is the daemon's incident about a failing agent, which repeats the agent's own state.
pub(super) fn says_it_fails(incident: &IncidentView) -> bool {
    incident.key.strip_prefix("agent:") == Some(incident.agent_id.as_str())
}

fn judge(agent: &AgentView, context: AgentContext<'_>, now: Timestamp) -> Standing {
    let stands = |rank: Rank, word: &str, since: Option<Timestamp>, cause: &str| Standing {
        rank,
        word: word.to_owned(),
        since,
        cause: cause.to_owned(),
    };
    if let Some(call) = context.call {
        return stands(Rank::Asks, "asks you", call.requested_at, &format!("may it call {}?", call.tool));
    }
    let reason = agent.reason.as_deref().unwrap_or_default();
    match agent.state {
        Desired::Paused => return stands(Rank::Paused, "paused", None, reason),
        Desired::Stopped => return stands(Rank::Stopped, "stopped", None, reason),
        Desired::Active => {}
    }
    if let Some(incident) = context.incident.filter(|incident| incident.severity == Severity::Critical) {
        return stands(Rank::Critical, "sees critical", Some(incident.since), &incident.title);
    }
    // a cancelled run says nothing about the agent: neither that it fails nor that it is well
    let counts = |last: &&LastRunView| last.status != RunStatus::Cancelled;
    let last = agent.last_run.as_ref().filter(counts);
    let failed = last.and_then(|last| Some((last, last.error.as_ref()?)));
    let (failed_at, error) = match (failed, context.failure) {
        (Some((last, error)), _) => (Some(last.finished_at), error.message.as_str()),
        (None, Some(known)) => {
            (Some(known.seen_at), known.title.strip_prefix(IncidentRecord::FAILS).unwrap_or(&known.title))
        }
        (None, None) => (None, ""),
    };
    let is_broke = agent.budget_used_up_until.is_some_and(|until| until > now);
    match agent.health {
        Health::CircuitOpen => {
            let word = format!("circuit open {}×", agent.consecutive_errors);
            return stands(Rank::CircuitOpen, &word, failed_at, error);
        }
        // it was refused for lack of budget, and recovers by itself
        Health::Failing if is_broke && failed.is_some_and(|(_, error)| error.kind == ErrorKind::Budget) => {
            return stands(Rank::NoBudget, "no budget", failed_at, error);
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
    if let Some(incident) = context.incident {
        return stands(Rank::Warning, "sees a warning", Some(incident.since), &incident.title);
    }
    if is_broke {
        return stands(Rank::NoBudget, "no budget", None, "its budget, or that of the fleet, is used up");
    }
    if let Some(problem) = &agent.source_problem {
        return stands(Rank::Deaf, "hears nothing", None, problem);
    }
    if let Some(why) = &agent.waits_for_node {
        return stands(Rank::Warning, "no node", None, why);
    }
    if agent.silent_until.is_some_and(|until| until > now) {
        let cause = "the clock was ahead and set back: its slots up to then ran already";
        return stands(Rank::Silent, "silent", agent.silent_since, cause);
    }
    match agent.activity {
        Activity::Idle if agent.last_run.is_none() || (last.is_none() && agent.success_count == 0) => {
            stands(Rank::NotYet, "not yet", None, "")
        }
        Activity::Idle => stands(Rank::Well, "ok", last.map(|last| last.finished_at), ""),
        Activity::WaitingApproval => {
            stands(Rank::Asks, "asks you", None, "one of its calls waits for a decision")
        }
        activity => stands(Rank::Busy, activity.as_str(), None, ""),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the state of an agent.
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-11-28T12:00:00Z";

    fn agent(changes: Value) -> AgentView {
        let mut view = json!({
            "agent_id": "a", "state": "active", "activity": "idle", "health": "ok", "schedule": "every 1m", "next_run": null,
            "last_run": null, "runs_in_flight": [], "run_count": 0, "success_count": 0, "error_count": 0, "consecutive_errors": 0,
            "skipped_count": 0, "cost_today_usd": 0.0,
        });
        for (key, value) in changes.as_object().expect("an object") {
            view[key] = value.clone();
        }
        serde_json::from_value(view).expect("an agent")
    }

    fn last(status: &str, kind: &str, message: &str) -> Value {
        json!({"run_id": null, "status": status, "finished_at": "2026-11-28T11:59:58Z", "duration_ms": 1,
            "error": {"kind": kind, "message": message}})
    }

    fn fails(title: &str) -> IncidentView {
        serde_json::from_value(json!({
            "agent_id": "a", "key": "agent:a", "severity": "critical", "title": title, "state": "open",
            "since": "2026-11-28T10:00:00Z", "opened_at": "2026-11-28T10:00:00Z", "seen_at": "2026-11-28T11:00:00Z", "count": 3,
            "resolved_at": null, "acked_at": "2026-11-28T10:30:00Z",
        }))
        .expect("an incident")
    }

    fn stands(changes: Value, incidents: &[IncidentView]) -> (Rank, String, String, Option<Timestamp>) {
        let one = standing(&agent(changes), incidents, &[], NOW.parse().expect("a time"));
        (one.rank, one.word, one.cause, one.since)
    }

    #[test]
    fn a_cancelled_run_is_neither_a_failure_nor_a_success() {
        let cancelled = || last("cancelled", "interrupted", "cancelled by hand");
        let failing = json!({"health": "failing", "consecutive_errors": 3, "last_run": cancelled()});
        let at = Some("2026-11-28T11:00:00Z".parse().expect("a time"));
        assert_eq!(
            stands(failing.clone(), &[fails("the agent fails: no such table")]),
            (Rank::Failing, "failing 3×".into(), "no such table".into(), at)
        );
        assert_eq!(stands(failing, &[]), (Rank::Failing, "failing 3×".into(), String::new(), None));
        let never = json!({"last_run": cancelled(), "run_count": 1});
        assert_eq!(stands(never, &[]).0, Rank::NotYet);
        let well = json!({"last_run": cancelled(), "run_count": 2, "success_count": 1});
        assert_eq!(stands(well, &[]), (Rank::Well, "ok".into(), String::new(), None));
    }

    #[test]
    fn who_was_refused_for_want_of_money_has_no_budget() {
        let broke = |until: &str, kind: &str| {
            json!({"health": "failing", "consecutive_errors": 1, "budget_used_up_until": until,
                "last_run": last("failed", kind, "`usd_per_day` allows $1.00")})
        };
        let later = "2026-11-29T00:00:00Z";
        assert_eq!(stands(broke(later, "budget"), &[]).0, Rank::NoBudget);
        assert_eq!(stands(broke(later, "exit_status"), &[]).0, Rank::Failing, "it has a fault beside that");
        assert_eq!(stands(broke("2026-11-28T00:00:00Z", "budget"), &[]).0, Rank::Failing);
    }
}
