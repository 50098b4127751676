//! The child's side of a start: lead a session, wait for permission, become the program.
//!
//! It runs once for each program that is ever started, so it uses no runtime, no parser and no
//! allocation that it can avoid. Whatever the daemon decides (what, where, with which environment)
//! is already settled when it starts. It stands alone, since it is also a program of its own (`gate/`).
//! The wire is its argument list:
//!
//! ```text
//! bgagent __gate KEEP -- PROGRAM NAME [ARGUMENT…]
//! ```
//!
//! `KEEP` is `stdin` if the program reads what follows the permission, else `null`.
use rustix::stdio::stdin;
use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};
use std::time::Duration;

/// What the program that is nothing but this says of itself: whoever speaks the wire above.
pub(super) const GATE: &str = concat!("bgagent-gate ", env!("CARGO_PKG_VERSION"));

/// The variable that names the run, as `child` knows it too.
const RUN_ID: &str = "BGAGENT_RUN_ID";

/// First argument of a trampoline.
pub(super) const WORD: &str = "__gate";
/// Second argument: standard input stays open.
pub(super) const KEEP_STDIN: &str = "stdin";
/// Second argument: standard input becomes `/dev/null`.
pub(super) const NULL_STDIN: &str = "null";
/// Exit code if the permission never came.
pub(super) const NOT_ALLOWED: i32 = 113;
/// Exit code if the program can't be executed; [`failure_mark`] on standard error tells it from a
/// program that exits with the same code.
pub(super) const NOT_EXECUTED: i32 = 127;

/// How the line begins that says why the program can't be executed.
pub(super) fn failure_mark(run: &str) -> String {
    format!("bgagent gate {run}: ")
}

/// Becomes the program if the arguments ask for it; else returns at once.
pub(super) fn enter_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(WORD)) {
        return;
    }
    let keep_stdin = args.next().as_deref() == Some(OsStr::new(KEEP_STDIN));
    let dashes = args.next();
    let (Some(program), Some(name)) = (args.next(), args.next()) else { exit(2) };
    if dashes.as_deref() != Some(OsStr::new("--")) {
        exit(2);
    }
    // Fails only for the leader of a group, which a fresh child is not.
    let _ = rustix::process::setsid();
    if !may_go() {
        exit(NOT_ALLOWED);
    }
    if !keep_stdin && let Err(error) = close_stdin() {
        fail(&error);
    }
    let mut command = Command::new(program);
    command.arg0(name).args(args);
    // `exec` empties the signal mask and restores SIGPIPE, which the runtime of the language ignores.
    let mut error = command.exec();
    for _ in 0..10 {
        // Someone is just writing the file.
        if error.kind() != ErrorKind::ExecutableFileBusy {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        error = command.exec();
    }
    fail(&error)
}

/// Reads exactly one byte: what follows is the program's.
fn may_go() -> bool {
    let mut byte = [0u8; 1];
    loop {
        match rustix::io::read(stdin(), &mut byte) {
            Ok(count) => return count == 1,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn close_stdin() -> std::io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdin(&null)?)
}

fn fail(error: &std::io::Error) -> ! {
    let run = std::env::var(RUN_ID).unwrap_or_default();
    // One write, so that the reader gets the line whole.
    let line = format!("{}{error}\n", failure_mark(&run));
    let _ = std::io::stderr().write_all(line.as_bytes());
    exit(NOT_EXECUTED)
}
