//! A process that confines itself and becomes the program.
use super::begin::{AGAIN, ALIKE, Permission, channel, command, executed, permission};
use super::wire::{KeeperMessage, NOT_ALLOWED};
use crate::sandbox::{self, NotConfined, Walls};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::exit;

/// Enters its own network namespace if the sandbox has one, and hands over its listener.
#[cfg(target_os = "linux")]
fn own_network(walls: &Walls, hand_over: Option<OwnedFd>) -> Result<(), NotConfined> {
    use super::wire;
    use std::os::fd::AsFd;
    let Some(port) = walls.network else { return Ok(()) };
    let hand_over =
        hand_over.ok_or_else(|| NotConfined("nobody takes the listener of its network".into()))?;
    let listener = sandbox::network::open(port)?;
    wire::send(&hand_over, wire::LISTENER, &[listener.as_fd()])
        .map_err(|error| NotConfined(format!("the listener of its network can't be handed over: {error}")))
}

/// Makes what it may not write read-only, if possible. `Err`: not in this process.
#[cfg(target_os = "linux")]
fn own_view(walls: &Walls) -> Result<(), NotConfined> {
    if std::env::args_os().nth(2).is_some_and(|word| word == ALIKE) {
        return Ok(());
    }
    match sandbox::mounts::close(walls)? {
        sandbox::mounts::FilesView::Own | sandbox::mounts::FilesView::Shared => Ok(()),
        sandbox::mounts::FilesView::Spoilt => Err(NotConfined(AGAIN.into())),
    }
}

/// There are no sandboxes without Linux.
#[cfg(not(target_os = "linux"))]
fn own_view(_: &Walls) -> Result<(), NotConfined> {
    Ok(())
}

/// There are no sandboxes without Linux.
#[cfg(not(target_os = "linux"))]
fn own_network(_: &Walls, _: Option<OwnedFd>) -> Result<(), NotConfined> {
    Ok(())
}

/// Confines itself and executes the program. An error is sent to the keeper, by a socket that the program does not inherit.
pub(super) fn become_program() -> ! {
    let Ok(channel) = channel() else { exit(NOT_ALLOWED) };
    let Some(permission) = permission(&channel, || ()) else { exit(NOT_ALLOWED) };
    let Permission { order, file, input, network } = permission;
    drop(file);
    // signals that the daemon ignores from its start are not ignored by its programs: handlers are reset to the default by
    // execve(2)
    for signal in super::keeper::HANDED_ON {
        let _ = signal_hook::flag::register(signal.as_raw(), std::sync::Arc::default());
    }
    let shut_in = || -> Result<(), NotConfined> {
        if let Some(input) = input {
            rustix::stdio::dup2_stdin(&input)
                .map_err(|error| NotConfined(format!("standard input: {error}")))?;
        }
        let walls = order.walls.as_ref().ok_or_else(|| NotConfined("no sandbox was named".into()))?;
        own_network(walls, network)?;
        own_view(walls)?;
        sandbox::enter(walls)
    };
    let why = match shut_in() {
        Ok(()) => executed(|| Err::<(), _>(command(&order).exec()))
            .err()
            .map_or_else(String::new, |error| error.to_string()),
        Err(NotConfined(why)) if why == AGAIN => why,
        Err(NotConfined(why)) => format!("the sandbox can't be put up: {why}"),
    };
    let said = KeeperMessage::NotStarted(why).to_string();
    let _ = rustix::io::write(&channel, said.as_bytes());
    exit(NOT_ALLOWED)
}
