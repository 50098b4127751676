//! What a keeper and a program within walls begin with.
use super::wire::{self, Order};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// First argument of what becomes a program within walls.
pub(super) const ENTER: &str = "__enter";

/// Second argument of one that goes on with the view of the files that all have: none of its own is to be had here.
pub(super) const ALIKE: &str = "alike";

/// What it says if it found out too late that there is none.
pub(super) const AGAIN: &str = "there is no view of its own: to be started anew without";

/// The permission to start a program.
pub(super) struct Permission {
    /// What is to be started.
    pub(super) order: Order,
    /// The file with that.
    pub(super) file: OwnedFd,
    /// What it reads; `None`: nothing.
    pub(super) input: Option<OwnedFd>,
    /// Where the listener of its network goes, if it has one.
    pub(super) network: Option<OwnedFd>,
}

/// Waits for permission; `None`: that never comes. `prepare`: what is done if there is time for it before.
pub(super) fn permission(channel: &OwnedFd, mut prepare: impl FnMut()) -> Option<Permission> {
    let descriptors = loop {
        match wire::receive(channel) {
            Ok(Some((wire::GO, descriptors))) => break descriptors,
            Ok(Some((wire::PREPARE, _))) => prepare(),
            _ => return None,
        }
    };
    let mut descriptors = std::collections::VecDeque::from(descriptors);
    let file = descriptors.pop_front()?;
    let order = Order::from_file(file.as_fd()).ok()?;
    let network = if order.has_network() { descriptors.pop_back() } else { None };
    Some(Permission { order, file, input: descriptors.pop_front(), network })
}

/// The socket that stands in the place of standard input, out of the way of programs.
pub(super) fn channel() -> rustix::io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
}

/// The program as it is to be executed, with this process's own input and output.
pub(super) fn command(order: &Order) -> Command {
    let mut command = Command::new(&order.program);
    let (name, args) = order.argv.split_first().expect("an order has a name");
    command.arg0(name).args(args);
    command
}

/// Tries again while someone is just writing the file, and while the system gives no process.
pub(super) fn executed<T>(mut execute: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    const WRITING: Duration = Duration::from_millis(200);
    const SCARCE: Duration = Duration::from_secs(10);
    let began = Instant::now();
    loop {
        let error = match execute() {
            Err(error) => error,
            done => return done,
        };
        let patience = match error.kind() {
            ErrorKind::ExecutableFileBusy => WRITING,
            ErrorKind::WouldBlock => SCARCE,
            _ => return Err(error),
        };
        if began.elapsed() >= patience {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
