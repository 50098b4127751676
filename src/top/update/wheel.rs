//! Movement: in the list, or through the open page.
use crate::top::model::{TopModel, TopPage};
use ratatui::crossterm::event::KeyCode;

/// Returns by how many lines a key scrolls a text slightly longer than the screen.
pub(super) fn lines(key: KeyCode) -> Option<isize> {
    match key {
        KeyCode::Up | KeyCode::Char('k') => Some(-1),
        KeyCode::Down | KeyCode::Char('j') => Some(1),
        KeyCode::PageUp => Some(-10),
        KeyCode::PageDown => Some(10),
        KeyCode::Home | KeyCode::Char('g') => Some(isize::MIN),
        KeyCode::End | KeyCode::Char('G') => Some(isize::MAX),
        _ => None,
    }
}

/// Moves if the key is one that moves. Returns whether it was.
pub(super) fn moves(model: &mut TopModel, key: KeyCode) -> bool {
    let height = model.height();
    let page = isize::try_from(height.saturating_sub(1).max(1)).unwrap_or(1);
    let by = match key {
        KeyCode::Up | KeyCode::Char('k') => -1,
        KeyCode::Down | KeyCode::Char('j') => 1,
        KeyCode::PageUp => -page,
        KeyCode::PageDown => page,
        KeyCode::Home | KeyCode::Char('g') => isize::MIN,
        KeyCode::End | KeyCode::Char('G') => isize::MAX,
        _ => return false,
    };
    if model.places.is_empty() {
        match by {
            isize::MIN => model.list_mut().go(0, height),
            isize::MAX => model.list_mut().go(usize::MAX, height),
            by => model.list_mut().step(by, height),
        }
        return true;
    }
    let follows = matches!(model.places.last(), Some(TopPage::Run(..)));
    match by {
        isize::MIN => (model.scroll, model.follow) = (0, false),
        // the end is known only when it is drawn
        isize::MAX => (model.scroll, model.follow) = (usize::MAX, follows),
        by => {
            model.scroll = model.scroll.saturating_add_signed(by);
            model.follow = false;
        }
    }
    true
}
