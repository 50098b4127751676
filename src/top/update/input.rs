//! What can happen, and what is to be done for it.
use crate::top::asks::{Act, TopAsk, TopHeard, TopReply};
use ratatui::crossterm::event::KeyEvent;

/// Everything that can happen.
#[derive(Debug, Clone)]
pub(in crate::top) enum TopInput {
    Key(KeyEvent),
    /// The terminal has another size: columns, lines.
    Resized(u16, u16),
    /// Time has passed.
    Tick,
    /// Something is heard of the daemon.
    Heard(TopHeard),
    /// A question is answered.
    Replied(Box<TopReply>),
    /// Something was done, or not; in words.
    Acted(Result<String, String>),
}

/// Everything that is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::top) enum TopEffect {
    /// Ask the daemon.
    Ask(TopAsk),
    /// Have the daemon do something.
    Act(Act),
    /// Put a text into the clipboard of the terminal.
    Copy(String),
    /// Show a text in the pager.
    Pager(String),
    /// Open a file at this line in the editor.
    Edit(String, u64),
    /// Step aside until the shell continues this program.
    Suspend,
    /// Draw everything anew.
    Redraw,
    Quit,
}
