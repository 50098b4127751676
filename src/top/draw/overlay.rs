//! Overlays that stay until a key is pressed: the keys, the answer to "why".
use super::paint::{RowColumns, paragraph, toned};
use crate::render::{Tone, plain};
use crate::top::keytable::KEYS;
use crate::top::layout::Areas;
use crate::top::model::{Overlay, TopModel};
use crate::top::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

pub(super) fn draw(model: &TopModel, _: Theme, areas: &Areas, buffer: &mut Buffer) {
    let Some(overlay) = &model.overlay else { return };
    // over the list and the pane beside it
    let whole = Rect::new(0, areas.body.y, buffer.area.width, areas.body.height);
    let lines = match overlay {
        Overlay::Help(first) => help(model, whole.width.into(), whole.height.into(), *first),
        Overlay::Why(agent) => why(model, agent.as_str(), whole.width.into()),
    };
    let height = whole.height.min(u16::try_from(lines.len() + 1).unwrap_or(u16::MAX));
    let blank = " ".repeat(whole.width.into());
    for y in 0..height {
        buffer.set_string(whole.x, whole.y + y, &blank, ratatui::style::Style::reset());
        if let Some(line) = lines.get(usize::from(y)) {
            buffer.set_line(whole.x, whole.y + y, line, whole.width);
        }
    }
}

/// Draws as many keys as there is room for, starting with this line.
fn help(model: &TopModel, width: usize, height: usize, first: usize) -> Vec<Line<'static>> {
    let mut lines = vec![toned(" KEYS", Tone::Strong)];
    let rows = KEYS.iter().filter(|row| !row.acts || !model.read_only);
    let mut had_acts = false;
    for row in rows {
        if row.acts && !had_acts {
            had_acts = true;
            lines.push(toned(" THESE ASK FIRST: ONLY y DOES IT", Tone::Strong));
        }
        let mut line = RowColumns::new(width);
        line.gap(1).left(row.keys, 9, Tone::Strong).text(row.does, Tone::Plain);
        lines.push(line.line());
    }
    let room = height.saturating_sub(1);
    let below = lines.len().saturating_sub(room);
    lines.drain(..first.min(below));
    if first < below && room > 2 {
        lines.truncate(room - 1);
        lines.push(toned(format!(" … {} more: ↓", below - first + 1), Tone::Dim));
    }
    lines
}

fn why(model: &TopModel, agent: &str, width: usize) -> Vec<Line<'static>> {
    let room = width.saturating_sub(2);
    let mut lines = vec![toned(format!(" WHY {agent}"), Tone::Strong)];
    match model.known.why.as_ref().filter(|why| why.agent_id.as_str() == agent) {
        Some(why) => lines.extend(paragraph(&plain(&why.sentence), 1, room, Tone::Plain)),
        None => lines.push(toned(" …", Tone::Dim)),
    }
    lines.push(toned(format!(" bgagent why {agent} TIME explains another slot"), Tone::Dim));
    lines
}
