//! Items that need a person, runs in progress, agents that are well and agents that are held, in display order.
//! `overview` judges them; here they become rows.
use super::known::{Known, is_own};
use super::rowkey::{RowGroup, RowKey};
use crate::domain::{AgentId, RunStatus};
use crate::overview::{Need, NeedKind, Rank, StandingSection, needs, standings};
use crate::protocol::{AgentView, RunView};
use crate::render::plain;
use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

/// Maximum number of agents listed by name while they are well; more become one row.
const MAX_WELL_ROWS: usize = 500;

/// The judged state of the fleet.
#[derive(Debug, Default)]
pub(in crate::top) struct JudgedFleet {
    /// All items that need a person, most urgent first.
    pub(in crate::top) needs: Vec<Need>,
    /// The rank of each agent, in the order of their names.
    pub(in crate::top) ranks: Vec<Rank>,
    /// Width in columns of the longest name of an agent or incident.
    pub(in crate::top) longest_name: usize,
}

impl JudgedFleet {
    /// Judges the known state.
    pub(in crate::top) fn of(known: &Known, now: Timestamp) -> Self {
        let agents = known.agents.as_slice();
        let needs = needs(agents, &known.incidents, &known.approvals, known.daemon.as_ref(), now);
        let standings = standings(agents, &known.incidents, &known.approvals, now);
        let names = agents.iter().map(|agent| agent.agent_id.as_str().len());
        let open = known.incidents.iter().filter(|one| one.resolved_at.is_none() && !is_own(one));
        let longest_name = names.chain(open.map(|one| plain(&one.key).width())).max().unwrap_or(0);
        Self { needs, ranks: standings.iter().map(|standing| standing.rank).collect(), longest_name }
    }

    /// Returns the rank of an agent.
    pub(in crate::top) fn rank(&self, known: &Known, agent: &AgentId) -> Option<Rank> {
        self.ranks.get(known.agents.index(agent)?).copied()
    }

    /// Returns the number of items of these ranks that need a person.
    pub(in crate::top) fn count(&self, ranks: &[Rank]) -> usize {
        self.needs.iter().filter(|need| ranks.contains(&need.rank)).count()
    }
}

/// Returns the row of an item that needs a person.
pub(in crate::top) fn key_of(kind: &NeedKind) -> RowKey {
    match kind {
        NeedKind::Approval { id, .. } => RowKey::Approval(id.clone()),
        NeedKind::Incident { agent, key } => RowKey::Incident(agent.clone(), key.clone()),
        NeedKind::Agent(agent) => RowKey::Agent(agent.clone()),
        NeedKind::Target(name) => RowKey::Target(name.clone()),
        NeedKind::Daemon => RowKey::Daemon,
        NeedKind::Proposals => RowKey::Proposals,
    }
}

/// Returns the agents that need no person: those that are held, or the others.
pub(in crate::top) fn calm<'a>(
    known: &'a Known,
    judged: &'a JudgedFleet,
    held: bool,
) -> impl Iterator<Item = &'a AgentView> {
    known.agents.values().zip(&judged.ranks).filter_map(move |(agent, rank)| match rank.section() {
        StandingSection::NeedsYou => None,
        section => ((section == StandingSection::HeldBack) == held).then_some(agent),
    })
}

/// Returns the runs that have not ended and do not wait for approval.
pub(in crate::top) fn under_way(known: &Known) -> impl Iterator<Item = &RunView> {
    known.live.iter().filter(|run| run.status != RunStatus::WaitingApproval)
}

/// Returns the rows of the first view: what needs a person, what is running, what is well, what is held.
pub(in crate::top) fn now_rows(known: &Known, judged: &JudgedFleet) -> Vec<RowKey> {
    let mut rows = vec![RowKey::Title(RowGroup::Needs)];
    rows.extend(judged.needs.iter().map(|need| key_of(&need.kind)));
    let mut live: Vec<_> = under_way(known).collect();
    if !live.is_empty() {
        rows.push(RowKey::Title(RowGroup::Running));
        live.sort_by_key(|run| (run.status, run.started_at.unwrap_or(run.queued_at), run.run_id));
        rows.extend(live.iter().map(|run| RowKey::Run(run.run_id)));
    }
    for group in [RowGroup::Well, RowGroup::Held] {
        let agents: Vec<_> = calm(known, judged, group == RowGroup::Held).collect();
        if agents.is_empty() {
            continue;
        }
        rows.push(RowKey::Title(group));
        if agents.len() > MAX_WELL_ROWS {
            rows.push(RowKey::Rest(group));
        } else {
            rows.extend(agents.iter().map(|agent| RowKey::Agent(agent.agent_id.clone())));
        }
    }
    rows
}
