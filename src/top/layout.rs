//! Where what stands, by the size of the terminal. Whatever the size, something useful is shown.
use ratatui::layout::Rect;

/// From this width on, what the cursor is on is shown beside the list.
const WITH_PANE: u16 = 120;

/// The parts of the screen. A part that has no room has no lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Areas {
    /// How the fleet stands, in a line.
    pub(super) header: Rect,
    pub(super) tabs: Rect,
    /// The list, or the page that was opened.
    pub(super) body: Rect,
    /// What the cursor is on.
    pub(super) pane: Option<Rect>,
    /// Keys, questions, messages.
    pub(super) foot: Rect,
}

/// The parts of a screen of this size.
pub(super) fn areas(width: u16, height: u16) -> Areas {
    let line = |y: u16, lines: u16| Rect::new(0, y.min(height), width, lines.min(height.saturating_sub(y)));
    let header = line(0, 1);
    let tabs = line(1, u16::from(height >= 6 && width >= 46));
    let foot = u16::from(height >= 10 && width >= 24);
    let top = header.height + tabs.height;
    let rest = height.saturating_sub(top + foot);
    let whole = line(top, rest);
    let (body, pane) = if width >= WITH_PANE {
        // two columns are the line between both
        let list = width * 3 / 5;
        let pane = Rect::new(list + 2, top, width - list - 2, rest);
        (Rect::new(0, top, list, rest), Some(pane))
    } else {
        (whole, None)
    };
    Areas { header, tabs, body, pane, foot: line(height - foot.min(height), foot) }
}

/// Is there room for nothing but counts?
pub(super) fn is_tiny(width: u16, height: u16) -> bool {
    width < 20 || height < 4
}
