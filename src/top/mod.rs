//! The fleet on a full screen, live: `bgagent top`.
//!
//! Theory of operation: one loop and one state. A key, an answer, an event, a tick is a `TopInput`; `update` takes it, changes
//! the `TopModel` and gives the `TopEffect`s to be done; `draw` shows the model. Both are pure. `link` asks the daemon and
//! follows it, `run` has the terminal. An event never carries state into the screen: it marks what is to be asked for anew,
//! four times a second at the most. The cursor belongs to an item, and not to a line.
//!
//! What a call of the daemon means is left to it, how a whole page of an agent or a run reads to `render`.
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

/// Shows the fleet on the whole terminal, until a person quits.
///
/// # Errors
/// The daemon can't be reached at the start, or the terminal fails.
pub fn full_screen(address: &Address, options: &TopOptions) -> Result<(), TopFailure> {
    run::full_screen(address, options)
}

/// The first view as text, once.
///
/// # Errors
/// The daemon can't be asked.
pub fn once(address: &Address, options: &TopOptions) -> Result<String, ClientError> {
    lines::once(address, options)
}

/// The first view as text, and a line for each change after it.
///
/// # Errors
/// The daemon can't be reached at the start, or nobody reads what is written.
pub fn follow_lines(
    address: &Address,
    options: &TopOptions,
    out: &mut impl io::Write,
) -> Result<(), TopFailure> {
    lines::follow(address, options, out)
}
