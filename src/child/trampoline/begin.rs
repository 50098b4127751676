//! The common beginning of keepers and confined programs.
use super::wire::{self, Order};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// First argument of a process that becomes a confined program.
pub(super) const ENTER: &str = "__enter";

/// Second argument of one that continues with the shared mount namespace: a private one is not available here.
pub(super) const ALIKE: &str = "alike";

/// Its message if it found out too late that there is none.
pub(super) const AGAIN: &str = "there is no view of its own: to be started anew without";

/// The permission to start a program.
pub(super) struct Permission {
    pub(super) order: Order,
    /// The file that contains the order.
    pub(super) file: OwnedFd,
    /// Its standard input; `None`: nothing.
    pub(super) input: Option<OwnedFd>,
    /// Where the listener of its network namespace is sent, if it has one.
    pub(super) network: Option<OwnedFd>,
}

/// Waits for permission; `None`: it will never be given. `prepare` is called if there is time for it before.
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

/// Returns the socket that was passed as standard input, moved out of the programs' way.
pub(super) fn channel() -> rustix::io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
}

/// Returns the command for the program, with this process's own input and output.
pub(super) fn command(order: &Order) -> Command {
    let mut command = Command::new(&order.program);
    let (name, args) = order.argv.split_first().expect("an order has a name");
    command.arg0(name).args(args);
    command
}

/// Retries while the file is being written, and while the system has no free process.
pub(super) fn executed<T>(mut execute: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    const BUSY_FILE_TIMEOUT: Duration = Duration::from_millis(200);
    const SPAWN_TIMEOUT: Duration = Duration::from_secs(10);
    let began = Instant::now();
    loop {
        let error = match execute() {
            Err(error) => error,
            done => return done,
        };
        let patience = match error.kind() {
            ErrorKind::ExecutableFileBusy => BUSY_FILE_TIMEOUT,
            ErrorKind::WouldBlock => SPAWN_TIMEOUT,
            _ => return Err(error),
        };
        if began.elapsed() >= patience {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
