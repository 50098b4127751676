//! Inputs and effects.
use crate::top::asks::{Act, TopNotice, TopReply, TopRequest};
use ratatui::crossterm::event::KeyEvent;

/// Everything that can happen.
#[derive(Debug, Clone)]
pub(in crate::top) enum TopInput {
    Key(KeyEvent),
    /// The terminal was resized: columns, lines.
    Resized(u16, u16),
    /// Time has passed.
    Tick,
    /// A notification from the followed stream.
    Heard(TopNotice),
    /// A request was answered.
    Replied(Box<TopReply>),
    /// The outcome of a change, as text.
    Acted(Result<String, String>),
}

/// Everything that may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum TopEffect {
    /// Send a request.
    Ask(TopRequest),
    /// Carry out a change.
    Act(Act),
    /// Copy a text to the clipboard of the terminal.
    Copy(String),
    /// Show a text in the pager.
    Pager(String),
    /// Open a file at this line in the editor.
    Edit(String, u64),
    /// Suspend until the shell continues this program.
    Suspend,
    Redraw,
    Quit,
}
