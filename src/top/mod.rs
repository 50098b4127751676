//! A live view of the fleet on the full screen: `bgagent top`.
//!
//! Theory of operation: one loop and one state. A key, an answer, an event or a tick is a `TopInput`; `update` changes
//! the `TopModel` accordingly and returns the `TopEffect`s to carry out; `draw` shows the model. Both are pure. `link`
//! asks the daemon and follows its events, `run` owns the terminal. An event never carries state into the screen: it
//! marks what to ask for again, at most four times a second. The cursor belongs to an item, not to a line.
//!
//! The daemon decides what its calls mean; the text of a whole page of an agent or a run is left to `render`.
mod asks;
mod calls;
mod draw;
mod keytable;
mod layout;
mod lines;
mod link;
mod model;
mod moment;
mod options;
mod run;
mod terminal;
mod theme;
mod update;

pub use options::{TopFailure, TopOptions};
pub use theme::Theme;

use crate::client::{Address, ClientError};
use std::io;

#[cfg(test)]
mod tests;

/// Shows the fleet on the whole terminal until the user quits.
///
/// # Errors
/// The daemon can't be reached at the start, or the terminal fails.
pub fn full_screen(address: &Address, options: &TopOptions) -> Result<(), TopFailure> {
    run::full_screen(address, options)
}

/// Returns the first view as text.
///
/// # Errors
/// A call to the daemon fails.
pub fn once(address: &Address, options: &TopOptions) -> Result<String, ClientError> {
    lines::once(address, options)
}

/// Writes the first view as text, followed by a line per change.
///
/// # Errors
/// The daemon can't be reached at the start, or the output has been closed.
pub fn follow_lines(
    address: &Address,
    options: &TopOptions,
    out: &mut impl io::Write,
) -> Result<(), TopFailure> {
    lines::follow(address, options, out)
}
