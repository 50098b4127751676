//! The pane beside the list on a wide screen: the selected item, below it upcoming slots and spending.
use super::page;
use super::paint::{RowColumns, distance, paragraph, toned};
use super::runs;
use crate::domain::Desired;
use crate::render::{Tone, plain, usd};
use crate::top::model::{RowKey, TopModel, TopPage, TopView, gist};
use crate::top::theme::Theme;
use ratatui::text::Line;

/// Maximum number of upcoming slots.
const MAX_SLOT_ROWS: usize = 6;
/// Maximum number of agents whose spending is shown.
const MAX_SPENDING_ROWS: usize = 5;

/// Draws the lines of the pane.
pub(super) fn pane(model: &TopModel, theme: Theme, width: usize, height: usize) -> Vec<Line<'static>> {
    let below = below(model, theme, width);
    let mut lines = focus(model, theme, width);
    // the selected item comes first; the rest is at the bottom, if there is room
    if lines.len() + 1 + below.len() <= height {
        let blanks = height - lines.len() - below.len();
        lines.extend(std::iter::repeat_n(Line::default(), blanks));
        lines.extend(below);
    }
    lines
}

fn focus(model: &TopModel, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let key = match model.places.last() {
        // the page beside it shows everything
        Some(TopPage::Agent(_) | TopPage::Event(_)) | None if !model.places.is_empty() => {
            return Vec::new();
        }
        Some(TopPage::Run(agent, ..)) | Some(TopPage::Incident(agent, _)) => RowKey::Agent(agent.clone()),
        _ => match model.focus() {
            Some(key) => key,
            None => return Vec::new(),
        },
    };
    match &key {
        RowKey::Agent(agent) => page::agent(model, theme, agent, width),
        RowKey::Incident(agent, name) => {
            let found = model.known.incidents.iter().find(|one| one.agent_id == *agent && one.key == *name);
            found.map(|one| page::incident(model, theme, one, width)).unwrap_or_default()
        }
        RowKey::Approval(id) => {
            let found = model.known.approvals.iter().find(|one| one.id == *id);
            found.map(|one| page::approval(model, one, width)).unwrap_or_default()
        }
        RowKey::Run(run) => runs::summary(model, theme, *run, width),
        key => match gist(&model.known, key, model.moment.wall) {
            Some(gist) => {
                let mut lines = vec![toned(format!("{}   {}", gist.name, gist.state), Tone::Strong)];
                lines.extend(paragraph(&gist.cause, 0, width, Tone::Plain));
                lines
            }
            None => Vec::new(),
        },
    }
}

fn below(model: &TopModel, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let now = model.moment.wall;
    let next = model.known.next.iter().filter(|slot| slot.state == Desired::Active && slot.due > now);
    let next: Vec<_> = next.take(MAX_SLOT_ROWS).collect();
    if !next.is_empty() && model.view != TopView::Slots {
        lines.push(toned("NEXT", Tone::Strong));
        for slot in next {
            let mut line = RowColumns::new(width);
            line.right(&format!("in {}", distance(slot.due, now)), 8, Tone::Plain).gap(2);
            line.left(slot.agent_id.as_str(), 20, Tone::Plain).gap(1);
            let schedule = model.known.agents.get(&slot.agent_id).map(|agent| plain(&agent.schedule));
            let (text, tone) = match &slot.note {
                Some(note) => (plain(note), Tone::Warn),
                None => (schedule.unwrap_or_default(), Tone::Dim),
            };
            line.text(&text, tone);
            lines.push(line.line());
        }
    }
    let mut spent: Vec<_> = model.known.agents.values().filter(|agent| agent.cost_today_usd > 0.0).collect();
    spent.sort_by(|a, b| b.cost_today_usd.total_cmp(&a.cost_today_usd));
    if !spent.is_empty() && model.view != TopView::Spending {
        lines.push(Line::default());
        lines.push(toned("SPENT TODAY", Tone::Strong));
        let most = spent[0].cost_today_usd;
        for agent in spent.iter().take(MAX_SPENDING_ROWS) {
            let mut line = RowColumns::new(width);
            line.gap(2).left(agent.agent_id.as_str(), 18, Tone::Plain);
            line.right(&usd(agent.cost_today_usd), 9, Tone::Plain).gap(2);
            line.text(&theme.bar(agent.cost_today_usd / most, 12), Tone::Busy);
            lines.push(line.line());
        }
    }
    lines
}
