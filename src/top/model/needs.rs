//! What needs a person, what is under way, what is well and what is held back: in the order in which it is looked at. JudgedFleet
//! by `overview`; here it becomes lines.
use super::known::{Known, is_own};
use super::rowkey::{RowGroup, RowKey};
use crate::domain::{AgentId, RunStatus};
use crate::overview::{Need, NeedKind, Rank, StandingSection, needs, standings};
use crate::protocol::{AgentView, RunView};
use crate::render::plain;
use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

/// Agents that are listed by name where all is well with them; more are one line.
const MOST_WELL: usize = 500;

/// What is judged of the fleet.
#[derive(Debug, Default)]
pub(in crate::top) struct JudgedFleet {
    /// All that needs a person, the most urgent first.
    pub(in crate::top) needs: Vec<Need>,
    /// The rank of each agent, in the order of their names.
    pub(in crate::top) ranks: Vec<Rank>,
    /// Columns of the longest name of an agent or a problem.
    pub(in crate::top) longest_name: usize,
}

impl JudgedFleet {
    /// Judges all of it.
    pub(in crate::top) fn of(known: &Known, now: Timestamp) -> Self {
        let agents = known.agents.as_slice();
        let needs = needs(agents, &known.incidents, &known.approvals, known.daemon.as_ref(), now);
        let standings = standings(agents, &known.incidents, &known.approvals, now);
        let names = agents.iter().map(|agent| agent.agent_id.as_str().len());
        let open = known.incidents.iter().filter(|one| one.resolved_at.is_none() && !is_own(one));
        let longest_name = names.chain(open.map(|one| plain(&one.key).width())).max().unwrap_or(0);
        Self { needs, ranks: standings.iter().map(|standing| standing.rank).collect(), longest_name }
    }

    /// The rank of an agent.
    pub(in crate::top) fn rank(&self, known: &Known, agent: &AgentId) -> Option<Rank> {
        self.ranks.get(known.agents.index(agent)?).copied()
    }

    /// How many need a person, of these ranks.
    pub(in crate::top) fn count(&self, ranks: &[Rank]) -> usize {
        self.needs.iter().filter(|need| ranks.contains(&need.rank)).count()
    }
}

/// The line of something that needs a person.
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

/// Agents that need nobody: those that are held back, or the others.
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

/// Runs that have not ended and wait for nobody.
pub(in crate::top) fn under_way(known: &Known) -> impl Iterator<Item = &RunView> {
    known.live.iter().filter(|run| run.status != RunStatus::WaitingApproval)
}

/// The first view: what needs a person, what is under way, what is well, what is held back.
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
        if agents.len() > MOST_WELL {
            rows.push(RowKey::Rest(group));
        } else {
            rows.extend(agents.iter().map(|agent| RowKey::Agent(agent.agent_id.clone())));
        }
    }
    rows
}
