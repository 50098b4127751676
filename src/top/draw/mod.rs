//! Draws the state: state, size and theme go in, a buffer of cells comes out. Pure.
mod frame;
mod overlay;
mod page;
mod paint;
mod pane;
mod rows;
mod runs;

use super::layout::{Areas, areas, is_tiny};
use super::model::{Connected, TopModel};
use super::theme::Theme;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

pub(super) use rows::plain_lines;

/// Draws the whole screen. Returns the number of lines of the open page, visible or not, which limits scrolling.
pub(super) fn draw(model: &TopModel, theme: Theme, buffer: &mut Buffer) -> usize {
    let (width, height) = (buffer.area.width, buffer.area.height);
    let mut lines = 0;
    if is_tiny(width, height) {
        frame::tiny(model, theme, buffer);
    } else {
        let areas = areas(width, height);
        draw_line(buffer, areas.header, 0, &frame::header(model, theme, width.into()));
        draw_line(buffer, areas.tabs, 0, &frame::tabs(model, width.into()));
        lines = body(model, theme, &areas, buffer);
        if let Some(pane) = areas.pane {
            draw_pane(model, theme, pane, buffer);
        }
        if model.connected != Connected::Yes {
            // what is shown is out of date
            let rest =
                Rect::new(0, areas.header.height, width, height - areas.header.height - areas.foot.height);
            buffer.set_style(rest, Style::new().add_modifier(Modifier::DIM));
        }
        draw_line(buffer, areas.foot, 0, &frame::foot(model, width.into()));
        overlay::draw(model, theme, &areas, buffer);
        draw_question(model, &areas, buffer);
    }
    theme.finish(buffer);
    lines
}

fn body(model: &TopModel, theme: Theme, areas: &Areas, buffer: &mut Buffer) -> usize {
    let (area, width) = (areas.body, usize::from(areas.body.width));
    if !model.places.is_empty() {
        let lines = page::page(model, theme, width);
        let height = usize::from(area.height);
        let most = lines.len().saturating_sub(height);
        let first = if model.follow { most } else { model.scroll.min(most) };
        for (y, line) in lines.iter().skip(first).take(height).enumerate() {
            draw_line(buffer, area, y, line);
        }
        return lines.len();
    }
    let height = usize::from(area.height);
    let list = model.list();
    if list.rows().is_empty() {
        draw_line(buffer, area, 0, &rows::nothing(model));
        return 0;
    }
    let visible = list.visible(height);
    // the last line says how many rows follow below it
    let below = list.rows().len().saturating_sub(list.offset() + visible.len());
    for (y, key) in visible.iter().enumerate() {
        let selected = list.cursor() == Some(list.offset() + y);
        let is_last = below > 0 && y + 1 == visible.len() && height > 3 && !selected;
        let line = match is_last {
            true => rows::more(below + 1),
            false => rows::row(model, theme, key, width, selected),
        };
        draw_line(buffer, area, y, &line);
        if selected {
            let style = Style::new().add_modifier(Modifier::REVERSED);
            buffer.set_style(Rect::new(area.x, area.y + y as u16, area.width, 1), style);
        }
    }
    0
}

fn draw_pane(model: &TopModel, theme: Theme, area: Rect, buffer: &mut Buffer) {
    for y in 0..area.height {
        buffer.set_string(area.x - 2, area.y + y, " │", super::theme::style(crate::render::Tone::Dim));
    }
    let area = Rect::new(area.x + 1, area.y, area.width.saturating_sub(1), area.height);
    let lines = pane::pane(model, theme, area.width.into(), area.height.into());
    for (y, line) in lines.iter().take(area.height.into()).enumerate() {
        draw_line(buffer, area, y, line);
    }
}

/// Draws the question over the last lines.
fn draw_question(model: &TopModel, areas: &Areas, buffer: &mut Buffer) {
    let width = buffer.area.width;
    let lines = frame::question(model, width.into());
    let room = usize::from(buffer.area.height - areas.header.height);
    let count = lines.len().min(room);
    let first = buffer.area.height - count as u16;
    // if there is no room for all of it, its end is shown, which has the possible answers
    for (y, line) in lines.iter().skip(lines.len() - count).enumerate() {
        let row = Rect::new(0, first + y as u16, width, 1);
        buffer.set_string(0, row.y, " ".repeat(width.into()), Style::reset());
        buffer.set_line(0, row.y, line, width);
    }
}

/// Draws a line of an area.
fn draw_line(buffer: &mut Buffer, area: Rect, y: usize, line: &Line<'_>) {
    if y < usize::from(area.height) && area.width > 0 {
        buffer.set_line(area.x, area.y + y as u16, line, area.width);
    }
}
