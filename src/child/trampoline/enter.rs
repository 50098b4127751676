//! What becomes a program within walls.
use super::begin::{channel, command, executed, permission};
use super::wire::{KeeperMessage, NOT_ALLOWED};
use crate::sandbox::{self, NotConfined};
use std::os::unix::process::CommandExt;
use std::process::exit;

/// Shuts itself in and becomes the program. Why that is not to be goes to the keeper, by a socket that the program
/// does not get.
pub(super) fn become_program() -> ! {
    let Ok(channel) = channel() else { exit(NOT_ALLOWED) };
    let (order, file, input) = permission(&channel);
    drop(file);
    let shut_in = || -> Result<(), NotConfined> {
        if let Some(input) = input {
            rustix::stdio::dup2_stdin(&input)
                .map_err(|error| NotConfined(format!("standard input: {error}")))?;
        }
        let walls = order.walls.as_ref().ok_or_else(|| NotConfined("no walls were named".into()))?;
        sandbox::enter(walls)
    };
    let why = match shut_in() {
        Ok(()) => executed(|| Err::<(), _>(command(&order).exec()))
            .err()
            .map_or_else(String::new, |error| error.to_string()),
        Err(NotConfined(why)) => format!("the sandbox can't be put up: {why}"),
    };
    let said = KeeperMessage::NotStarted(why).to_string();
    let _ = rustix::io::write(&channel, said.as_bytes());
    exit(NOT_ALLOWED)
}
