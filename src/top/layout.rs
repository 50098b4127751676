//! The layout for the size of the terminal. At any size, something useful is shown.
use ratatui::layout::Rect;

/// Minimum width for the pane beside the list.
const MIN_WIDTH_WITH_PANE: u16 = 120;

/// The parts of the screen. A part without room has height zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Areas {
    /// The state of the fleet, in one line.
    pub(super) header: Rect,
    pub(super) tabs: Rect,
    /// The list, or the open page.
    pub(super) body: Rect,
    /// The selected item.
    pub(super) pane: Option<Rect>,
    /// Keys, questions, messages.
    pub(super) foot: Rect,
}

/// Returns the parts of a screen of this size.
pub(super) fn areas(width: u16, height: u16) -> Areas {
    let line = |y: u16, lines: u16| Rect::new(0, y.min(height), width, lines.min(height.saturating_sub(y)));
    let header = line(0, 1);
    let tabs = line(1, u16::from(height >= 6 && width >= 46));
    let foot = u16::from(height >= 10 && width >= 24);
    let top = header.height + tabs.height;
    let rest = height.saturating_sub(top + foot);
    let whole = line(top, rest);
    let (body, pane) = if width >= MIN_WIDTH_WITH_PANE {
        // two columns for the separator
        let list = width * 3 / 5;
        let pane = Rect::new(list + 2, top, width - list - 2, rest);
        (Rect::new(0, top, list, rest), Some(pane))
    } else {
        (whole, None)
    };
    Areas { header, tabs, body, pane, foot: line(height - foot.min(height), foot) }
}

/// Returns whether there is only room for counts.
pub(super) fn is_tiny(width: u16, height: u16) -> bool {
    width < 20 || height < 4
}
