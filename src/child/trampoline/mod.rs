//! The other side of a started program: waits for permission, starts the program, stays beside it as its keeper until nothing
//! below it is left, and reports how it ended.
//!
//! It runs once for each program that is ever started, so it uses no async runtime and no parser. All decisions of the daemon
//! (program, directory, environment and sandbox) have been made when it starts. It depends on little, since it is also a
//! separate binary (`gate/`). It is started as `bgagent __gate`, with a socket as standard input ([`wire`]).
//!
//! Some programs run in a sandbox ([`crate::sandbox`]). A thread of the keeper confines itself and starts the program; or, for
//! restrictions that can't apply to a thread, the keeper executes itself again, as `bgagent __enter`, which then executes the
//! program. So the keeper itself stays outside the sandbox, and a program inside can't signal it.
use std::ffi::OsStr;

mod begin;
mod enter;
mod keeper;
pub mod process;
pub mod wire;

/// What the gate binary prints as its version: the version of the protocol above.
pub const GATE: &str = concat!("bgagent-gate ", env!("CARGO_PKG_VERSION"), " 7");

/// First argument of a keeper.
pub const WORD: &str = "__gate";

/// Runs as a keeper, or executes the program, if the first argument says so; else returns at once.
pub fn enter_if_asked() {
    let word = std::env::args_os().nth(1);
    if word.as_deref() == Some(OsStr::new(WORD)) {
        keeper::keep();
    } else if word.as_deref() == Some(OsStr::new(begin::ENTER)) {
        enter::become_program();
    }
}
