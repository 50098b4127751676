//! The side of a started program that is not the daemon's: it waits for permission, starts the program, stays beside
//! it as its keeper until nothing below it lives any more, and says how it ended.
//!
//! It runs once for each program that is ever started, so it uses no runtime and no parser. Whatever the daemon
//! decides (what, where, with which environment and walls) is already settled when it starts. It stands alone,
//! since it is also a program of its own (`gate/`). The wire is its argument list and a socket in the place of
//! standard input ([`wire`]):
//!
//! ```text
//! bgagent __gate [WORD VALUE]… -- PROGRAM NAME [ARGUMENT…]
//! ```
//!
//! The pairs are the walls around the program ([`crate::sandbox::Walls`]). With walls the keeper starts itself once more,
//! as `__enter …`, and that becomes the program: so the keeper itself stands outside of them, and a program within
//! can't signal it.
use crate::sandbox::Walls;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, exit};
use std::time::{Duration, Instant};

mod enter;
mod keeper;
pub mod process;
pub mod wire;

/// What the program that is nothing but this says of itself: whoever speaks the wire above.
pub const GATE: &str = concat!("bgagent-gate ", env!("CARGO_PKG_VERSION"), " 2");

/// First argument of a keeper.
pub const WORD: &str = "__gate";
/// First argument of what becomes a program within walls.
const ENTER: &str = "__enter";
/// Before the program.
pub const DASHES: &str = "--";
/// Exit code if the permission never came.
pub const NOT_ALLOWED: i32 = 113;

/// Becomes a keeper, or the program, if the arguments ask for it; else returns at once.
pub fn enter_if_asked() {
    let mut args = std::env::args_os().skip(1);
    let Some(word) = args.next() else { return };
    if word == OsStr::new(WORD) {
        let rest: Vec<OsString> = args.collect();
        let Some(order) = Order::read(&rest) else { exit(2) };
        keeper::keep(&order);
    } else if word == OsStr::new(ENTER) {
        let rest: Vec<OsString> = args.collect();
        let Some(order) = Order::read(&rest) else { exit(2) };
        enter::become_program(&order);
    }
}

/// The socket that stands in the place of standard input, out of the way of programs.
fn channel() -> rustix::io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
}

/// The program as it is to be executed, with this process's own input and output.
fn command(order: &Order<'_>) -> Command {
    let mut command = Command::new(&order.program);
    command.arg0(order.name).args(order.args);
    command
}

/// Tries again while someone is just writing the file, and while the system gives no process.
fn executed<T>(mut execute: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
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

/// What is to be started.
struct Order<'a> {
    /// All of it, as it came.
    words: &'a [OsString],
    walls: Option<Walls>,
    program: PathBuf,
    /// What it is told as its own name.
    name: &'a OsStr,
    args: &'a [OsString],
}

impl<'a> Order<'a> {
    fn read(words: &'a [OsString]) -> Option<Self> {
        let (walls, count) = Walls::from_words(words)?;
        let [dashes, program, name, args @ ..] = &words[count..] else { return None };
        (dashes == OsStr::new(DASHES)).then(|| Self { words, walls, program: program.into(), name, args })
    }
}
