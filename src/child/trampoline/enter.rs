//! What becomes a program within walls.
use super::wire::{self, Said};
use super::{NOT_ALLOWED, Order, channel, command, executed};
use crate::sandbox::{self, Refusal};
use std::os::unix::process::CommandExt;
use std::process::exit;

/// Shuts itself in and becomes the program. Why that is not to be goes to the keeper, by a socket that the program
/// does not get.
pub(super) fn become_program(order: &Order<'_>) -> ! {
    let Ok(channel) = channel() else { exit(NOT_ALLOWED) };
    let Ok(Some((wire::GO, input))) = wire::receive(&channel) else { exit(NOT_ALLOWED) };
    let shut_in = || -> Result<(), Refusal> {
        if let Some(input) = input {
            rustix::stdio::dup2_stdin(&input).map_err(|error| Refusal(format!("standard input: {error}")))?;
        }
        let walls = order.walls.as_ref().ok_or_else(|| Refusal("no walls were named".into()))?;
        sandbox::enter(walls)
    };
    let why = match shut_in() {
        Ok(()) => executed(|| Err::<(), _>(command(order).exec()))
            .err()
            .map_or_else(String::new, |error| error.to_string()),
        Err(Refusal(why)) => format!("the sandbox can't be put up: {why}"),
    };
    let said = Said::NotStarted(why).to_string();
    let _ = rustix::io::write(&channel, said.as_bytes());
    exit(NOT_ALLOWED)
}
