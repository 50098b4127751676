//! The rows of each view, in order.
use super::needs::{JudgedFleet, now_rows};
use super::rowkey::{RowGroup, RowKey, UsedBy};
use super::sorting::Sorting;
use super::state::{TopModel, TopView};
use super::words::gist;
use crate::domain::{AgentId, EventType, LoggedEvent};
use crate::overview::{Rank, StandingSection};
use crate::protocol::{AgentView, IncidentView, UsageView};
use crate::render::{event_words, plain};
use std::cmp::Reverse;
use std::time::Duration;

/// In a larger fleet, not every answer is followed by a new judgement,
const LARGE_FLEET_COUNT: usize = 1000;
/// but at most one per this interval.
const LARGE_FLEET_INTERVAL: Duration = Duration::from_millis(100);
/// The fleet is judged again after this time even without an answer, since budgets are replenished by the clock.
const JUDGE_INTERVAL: Duration = Duration::from_secs(5);

impl TopModel {
    /// Judges the fleet again and rearranges the rows: at once if `now` is true, else only while the user is not moving
    /// in them.
    pub(in crate::top) fn arrange(&mut self, now: bool) {
        if self.frozen && !now {
            return;
        }
        let at = self.moment.since_start;
        let rested = |rest: Duration| self.judged_at.is_none_or(|last| at >= last + rest);
        if self.known.agents.len() > LARGE_FLEET_COUNT && !now && !rested(LARGE_FLEET_INTERVAL) {
            // answers that arrive in quick succession are judged together
            return;
        }
        if self.news || rested(JUDGE_INTERVAL) {
            self.judged = JudgedFleet::of(&self.known, self.moment.wall);
            (self.judged_at, self.news) = (Some(at), false);
        }
        self.version += 1;
        if now || !self.is_still() || self.list().rows().is_empty() {
            let height = self.height();
            let rows = rows(self);
            self.list_mut().set(rows, height);
            if !self.is_complete() && self.last_key.is_none() {
                // more urgent items may still arrive
                self.list_mut().go(0, height);
            }
        }
    }
}

/// Returns the rows of the current view.
fn rows(model: &TopModel) -> Vec<RowKey> {
    let rows = match model.view {
        TopView::Now => now_rows(&model.known, &model.judged),
        TopView::Agents => agents(model),
        TopView::Runs => model.known.runs.iter().map(|run| RowKey::Run(run.run_id)).collect(),
        TopView::Slots => strips(model),
        TopView::Incidents => incidents(model),
        TopView::Approvals => {
            model.known.approvals.iter().map(|one| RowKey::Approval(one.id.clone())).collect()
        }
        TopView::Spending => spending(model),
        TopView::Log => model.known.events.iter().rev().map(|event| RowKey::Event(event.seq.0)).collect(),
    };
    filtered(model, rows)
}

fn agents(model: &TopModel) -> Vec<RowKey> {
    let mut agents: Vec<(&AgentView, Rank)> =
        model.known.agents.values().zip(model.judged.ranks.iter().copied()).collect();
    match model.sorting {
        Sorting::Name => {}
        Sorting::Urgency => agents.sort_by_key(|(_, rank)| *rank),
        Sorting::Next => agents.sort_by_key(|(agent, _)| (agent.next_run.is_none(), agent.next_run)),
        Sorting::Cost => agents.sort_by(|(a, _), (b, _)| b.cost_today_usd.total_cmp(&a.cost_today_usd)),
    }
    agents.iter().map(|(agent, _)| RowKey::Agent(agent.agent_id.clone())).collect()
}

/// Returns the agents that have slots.
fn strips(model: &TopModel) -> Vec<RowKey> {
    let has_slots = |agent: &AgentId| {
        let view = model.known.agents.get(agent);
        let comes = view.is_some_and(|view| view.next_run.is_some() || view.resume_at.is_some());
        comes || model.known.ledger.of(agent).is_some_and(|records| !records.is_empty())
    };
    let agents = agents(model).into_iter().filter_map(|key| match key {
        RowKey::Agent(agent) if has_slots(&agent) => Some(RowKey::Strip(agent)),
        _ => None,
    });
    std::iter::once(RowKey::Title(RowGroup::Slots)).chain(agents).collect()
}

fn incidents(model: &TopModel) -> Vec<RowKey> {
    let mut all: Vec<&IncidentView> =
        model.known.incidents.iter().filter(|one| model.ended || one.resolved_at.is_none()).collect();
    all.sort_by_key(|one| {
        (one.resolved_at.is_some(), one.acked_at.is_some(), Reverse(one.severity), Reverse(one.since))
    });
    all.iter().map(|one| RowKey::Incident(one.agent_id.clone(), one.key.clone())).collect()
}

fn spending(model: &TopModel) -> Vec<RowKey> {
    let mut rows = Vec::new();
    let mut group = |group: RowGroup, by: UsedBy, names: Vec<String>| {
        if !names.is_empty() {
            rows.push(RowKey::Title(group));
            rows.extend(names.into_iter().map(|name| RowKey::Used(by, name)));
        }
    };
    let limits = model.known.daemon.iter().flat_map(|daemon| &daemon.budget);
    group(RowGroup::Limits, UsedBy::Limit, limits.map(|limit| limit.limit.clone()).collect());
    let spent = &model.known.spent;
    group(RowGroup::ByAgent, UsedBy::Agent, costliest(&spent.agents));
    group(RowGroup::ByModel, UsedBy::Model, costliest(&spent.models));
    let days = spent.days.iter().rev().filter(used_something);
    group(RowGroup::ByDay, UsedBy::Day, days.map(|day| day.key.clone()).collect());
    rows
}

fn used_something(view: &&UsageView) -> bool {
    view.usage.requests > 0 || view.usage.usd > 0.0
}

fn costliest(views: &[UsageView]) -> Vec<String> {
    let mut views: Vec<&UsageView> = views.iter().filter(used_something).collect();
    views.sort_by(|a, b| b.usage.usd.total_cmp(&a.usage.usd).then(b.usage.requests.cmp(&a.usage.requests)));
    views.iter().map(|view| view.key.clone()).collect()
}

/// Keeps only rows that match the filter, and removes headings without rows.
fn filtered(model: &TopModel, rows: Vec<RowKey>) -> Vec<RowKey> {
    let (text, wanted) = match model.filter.strip_prefix('!') {
        Some(rest) => (rest.to_lowercase(), false),
        None => (model.filter.to_lowercase(), true),
    };
    let now = model.moment.wall;
    let passes = |key: &RowKey| {
        let unwell = !model.only_unwell || is_unwell(model, key);
        unwell && (text.is_empty() || haystack(model, key, now).to_lowercase().contains(&text) == wanted)
    };
    if text.is_empty() && !model.only_unwell {
        return rows;
    }
    let mut kept: Vec<RowKey> = Vec::new();
    for row in rows {
        if matches!(row, RowKey::Title(_)) {
            if matches!(kept.last(), Some(RowKey::Title(_))) {
                kept.pop();
            }
            kept.push(row);
        } else if passes(&row) {
            kept.push(row);
        }
    }
    if matches!(kept.last(), Some(RowKey::Title(_))) {
        kept.pop();
    }
    kept
}

/// Returns the text that the filter is matched against: name, key, state and cause.
fn haystack(model: &TopModel, key: &RowKey, now: jiff::Timestamp) -> String {
    match key {
        RowKey::Strip(agent) => agent.to_string(),
        // an agent that is well has no cause
        RowKey::Agent(agent) if !needs_someone(model, agent) => {
            let reason = model.known.agents.get(agent).and_then(|view| view.reason.as_deref());
            format!("{agent} {}", reason.map(plain).unwrap_or_default())
        }
        RowKey::Used(_, name) => plain(name),
        RowKey::Event(seq) => model.event(*seq).map(of_event).unwrap_or_default(),
        RowKey::Incident(agent, _) => {
            let words = gist(&model.known, key, now)
                .map(|gist| format!("{} {} {}", gist.name, gist.state, gist.cause));
            format!("{agent} {}", words.unwrap_or_default())
        }
        key => {
            let words = gist(&model.known, key, now);
            words.map(|gist| format!("{} {} {}", gist.name, gist.state, gist.cause)).unwrap_or_default()
        }
    }
}

fn of_event(event: &LoggedEvent) -> String {
    let words = event.event().map_or_else(|| plain(&event.kind), |known| event_words(&known));
    format!("{} {words}", event.agent_id.as_ref().map_or("", AgentId::as_str))
}

fn needs_someone(model: &TopModel, agent: &AgentId) -> bool {
    model.judged.rank(&model.known, agent).is_some_and(|rank| rank.section() == StandingSection::NeedsYou)
}

/// Returns whether the row is about something that is not well.
pub(in crate::top) fn is_unwell(model: &TopModel, key: &RowKey) -> bool {
    match key {
        RowKey::Agent(agent) => needs_someone(model, agent),
        RowKey::Rest(_) | RowKey::Used(..) | RowKey::Strip(_) | RowKey::Title(_) => false,
        RowKey::Event(seq) => model.event(*seq).and_then(|event| event.known()).is_some_and(|kind| {
            use EventType as E;
            matches!(
                kind,
                E::TaskError | E::IncidentOpened | E::CircuitOpened | E::BudgetExhausted | E::ConfigRejected
            )
        }),
        key => gist(&model.known, key, model.moment.wall).is_some_and(|gist| gist.mark.needs_someone()),
    }
}
