//! What becomes a program within walls.
use super::begin::{AGAIN, ALIKE, Permission, channel, command, executed, permission};
use super::wire::{KeeperMessage, NOT_ALLOWED};
use crate::sandbox::{self, NotConfined, Walls};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::exit;

/// Moves into a network of its own if the walls have one, and hands its listener over.
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

/// Makes what it may not write unchangeable, where that can be had. `Err`: not by this process.
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

/// Without Linux there are no walls.
#[cfg(not(target_os = "linux"))]
fn own_view(_: &Walls) -> Result<(), NotConfined> {
    Ok(())
}

/// Without Linux there are no walls.
#[cfg(not(target_os = "linux"))]
fn own_network(_: &Walls, _: Option<OwnedFd>) -> Result<(), NotConfined> {
    Ok(())
}

/// Shuts itself in and becomes the program. Why that is not to be goes to the keeper, by a socket that the program
/// does not get.
pub(super) fn become_program() -> ! {
    let Ok(channel) = channel() else { exit(NOT_ALLOWED) };
    let Some(permission) = permission(&channel, || ()) else { exit(NOT_ALLOWED) };
    let Permission { order, file, input, network } = permission;
    drop(file);
    // what the daemon was started with ignored is not ignored by its programs: what is caught has its default after execve(2)
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
