//! What to request now, and when to check again.
use crate::domain::{AgentId, RunId};
use crate::top::asks::{TopRequest, TopRequestKind};
use crate::top::model::{Connected, Overlay, RowKey, RunOutput, TopModel, TopPage, TopView};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Minimum interval between requests of a kind.
const REQUEST_INTERVAL: Duration = Duration::from_millis(250);
/// Minimum interval for requests that cost more or change little.
const SLOW_REQUEST_INTERVAL: Duration = Duration::from_secs(2);
/// Refresh interval of the strips of slots.
const SLOTS_REQUEST_INTERVAL: Duration = Duration::from_secs(15);
/// If this many agents have changed, the whole fleet is requested.
const ALL_AGENTS_FROM_COUNT: usize = 500;
/// An agent that was due this long ago without any event since is requested: probes that find all well emit no events.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// Marks what is due by time, without an event.
pub(super) fn tick(model: &mut TopModel) {
    if model.message.as_ref().is_some_and(|(_, until)| *until <= model.moment.since_start) {
        model.message = None;
    }
    if model.frozen {
        return;
    }
    let height = model.height();
    let now = model.moment.wall;
    let on_screen = model.list().visible(height).iter();
    let overdue: Vec<AgentId> = on_screen
        .filter_map(|key| match key {
            RowKey::Agent(agent) => model.known.agents.get(agent),
            _ => None,
        })
        .filter(|agent| agent.next_run.is_some_and(|next| next + OVERDUE_AFTER < now))
        .map(|agent| agent.agent_id.clone())
        .collect();
    if model.view == TopView::Slots
        && model
            .asked
            .get(&TopRequestKind::Slots)
            .is_none_or(|at| model.moment.since_start >= *at + SLOTS_REQUEST_INTERVAL)
    {
        model.dirty.kinds.insert(TopRequestKind::Slots);
    }
    if !overdue.is_empty() {
        model.dirty.agents.extend(overdue);
        model.dirty.kinds.insert(TopRequestKind::Next);
    }
    model.arrange(false);
}

/// Returns how long the loop may sleep if nothing happens.
pub(in crate::top) fn next_look(model: &TopModel) -> Duration {
    if model.frozen && model.message.is_none() {
        return Duration::from_secs(3600);
    }
    match () {
        // an answer has not been judged yet
        () if model.news => Duration::from_millis(100),
        () if has_work(model) => REQUEST_INTERVAL,
        () => Duration::from_secs(1),
    }
}

fn has_work(model: &TopModel) -> bool {
    let wanted = wanted(model);
    let is_dirty = model.dirty.all_agents || !model.dirty.agents.is_empty();
    model.connected == Connected::Yes
        && (is_dirty || model.dirty.kinds.iter().any(|kind| wanted.contains(kind)))
}

/// Returns the requests to send now.
pub(super) fn asks(model: &mut TopModel) -> Vec<TopRequest> {
    if model.connected != Connected::Yes || model.frozen {
        return Vec::new();
    }
    mark_missing(model);
    let mut asks = Vec::new();
    for kind in wanted(model) {
        let is_dirty = match kind {
            TopRequestKind::Agents => model.dirty.all_agents || !model.dirty.agents.is_empty(),
            kind => model.dirty.kinds.contains(&kind),
        };
        let pace = match kind {
            TopRequestKind::Usage | TopRequestKind::Next | TopRequestKind::Daemon | TopRequestKind::Slots => {
                SLOW_REQUEST_INTERVAL
            }
            _ => REQUEST_INTERVAL,
        };
        let is_early = model.asked.get(&kind).is_some_and(|at| model.moment.since_start < *at + pace);
        if !is_dirty || is_early || model.asking.contains(&kind) {
            continue;
        }
        let Some(ask) = question(model, kind) else { continue };
        model.dirty.kinds.remove(&kind);
        model.asking.insert(kind);
        model.asked.insert(kind, model.moment.since_start);
        asks.push(ask);
    }
    asks
}

/// Returns the kinds that are on the screen.
fn wanted(model: &TopModel) -> Vec<TopRequestKind> {
    use TopRequestKind as K;
    let has_pane = crate::top::layout::areas(model.size.0, model.size.1).pane.is_some();
    let mut wanted = vec![K::Daemon, K::Agents, K::Incidents, K::Approvals, K::Live];
    if has_pane {
        wanted.push(K::Next);
    }
    if model.view == TopView::Slots && model.places.is_empty() {
        wanted.push(K::Slots);
    }
    if has_pane || model.view == TopView::Spending {
        wanted.push(K::Usage);
    }
    if model.view == TopView::Runs {
        wanted.push(K::Runs);
    }
    wanted.extend([K::Detail, K::Run, K::Output, K::Why]);
    wanted
}

fn question(model: &mut TopModel, kind: TopRequestKind) -> Option<TopRequest> {
    Some(match kind {
        TopRequestKind::Daemon => TopRequest::Daemon,
        TopRequestKind::Agents => {
            let names: Vec<AgentId> = std::mem::take(&mut model.dirty.agents).into_iter().collect();
            let all = std::mem::take(&mut model.dirty.all_agents) || names.len() > ALL_AGENTS_FROM_COUNT;
            model.known.with_runs.extend(names.iter().cloned());
            TopRequest::Agents(if all { Vec::new() } else { names })
        }
        TopRequestKind::Incidents => TopRequest::Incidents(model.ended),
        TopRequestKind::Approvals => TopRequest::Approvals,
        TopRequestKind::Next => TopRequest::Next,
        TopRequestKind::Slots => {
            let now = model.moment.wall;
            let from = now.checked_sub(model.span.length()).unwrap_or(Timestamp::MIN);
            let agents = strips_on_screen(model);
            if agents.is_empty() {
                return None;
            }
            TopRequest::Slots(agents, from, now)
        }
        TopRequestKind::Live => TopRequest::Live,
        TopRequestKind::Runs => TopRequest::Runs(None),
        TopRequestKind::Usage => TopRequest::Usage,
        TopRequestKind::Detail => TopRequest::Detail(viewed_agent(model)?),
        TopRequestKind::Run => TopRequest::Run(viewed_run(model)?),
        TopRequestKind::Output => {
            let run = viewed_output(model)?;
            let output = model.known.output.as_ref().filter(|output| output.run == run)?;
            TopRequest::Output(run, output.position)
        }
        TopRequestKind::Why => match &model.overlay {
            Some(Overlay::Why(agent)) => {
                TopRequest::Why(agent.clone(), model.zone.iana_name().map(str::to_owned))
            }
            _ => return None,
        },
    })
}

fn strips_on_screen(model: &TopModel) -> Vec<AgentId> {
    let on_screen = model.list().visible(model.height()).iter();
    let strips = on_screen.filter_map(|key| match key {
        RowKey::Strip(agent) => Some(agent.clone()),
        _ => None,
    });
    strips.collect()
}

/// Returns the agents on the screen whose newest runs were never requested.
fn without_runs(model: &TopModel) -> Vec<AgentId> {
    let on_screen = model.list().visible(model.height()).iter();
    let agents = on_screen.filter_map(|key| match key {
        RowKey::Agent(agent) => model.known.agents.get(agent),
        _ => None,
    });
    let without =
        agents.filter(|agent| agent.run_count > 0 && !model.known.with_runs.contains(&agent.agent_id));
    without.map(|agent| agent.agent_id.clone()).collect()
}

/// Marks what is on the screen and not loaded yet.
fn mark_missing(model: &mut TopModel) {
    let without = without_runs(model);
    model.dirty.agents.extend(without);
    if model.view == TopView::Slots
        && strips_on_screen(model).iter().any(|agent| model.known.ledger.of(agent).is_none())
    {
        model.dirty.kinds.insert(TopRequestKind::Slots);
    }
    if let Some(agent) = viewed_agent(model)
        && model.known.detail_of(&agent).is_none()
    {
        model.dirty.kinds.insert(TopRequestKind::Detail);
    }
    if let Some(run) = viewed_run(model)
        && model.known.run_of(run).is_none()
    {
        model.dirty.kinds.insert(TopRequestKind::Run);
    }
    if let Some(run) = viewed_output(model) {
        if model.known.output.as_ref().is_none_or(|output| output.run != run) {
            model.known.output = Some(RunOutput::of(run));
        }
        if model.known.output.as_ref().is_some_and(|output| output.has_more) {
            model.dirty.kinds.insert(TopRequestKind::Output);
        }
    }
}

/// Returns the agent whose details are on the screen.
fn viewed_agent(model: &TopModel) -> Option<AgentId> {
    if let Some(question) = &model.question
        && let crate::top::asks::Act::Run(agent) = &question.act
    {
        return Some(agent.clone());
    }
    match model.places.last() {
        Some(TopPage::Agent(agent)) => Some(agent.clone()),
        Some(_) => None,
        None => {
            let pane = crate::top::layout::areas(model.size.0, model.size.1).pane;
            let focus = pane.and_then(|_| model.focus())?;
            matches!(focus, RowKey::Agent(_)).then(|| model.focused_agent()).flatten()
        }
    }
}

/// Returns the run on the screen: that of its page, or the newest failed one of the agent on the screen.
fn viewed_run(model: &TopModel) -> Option<RunId> {
    match model.places.last() {
        Some(TopPage::Run(_, run, false)) => Some(*run),
        Some(TopPage::Run(_, _, true)) => None,
        _ => {
            let detail = model.known.detail_of(&viewed_agent(model)?)?;
            let failed = detail.agent.last_run.as_ref().filter(|last| last.error.is_some());
            failed.and_then(|last| last.run_id)
        }
    }
}

fn viewed_output(model: &TopModel) -> Option<RunId> {
    match model.places.last() {
        Some(TopPage::Run(_, run, true)) => Some(*run),
        _ => None,
    }
}
