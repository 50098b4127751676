//! The side of a started program that is not the daemon's: it waits for permission, starts the program, stays beside
//! it as its keeper until nothing below it lives any more, and says how it ended.
//!
//! It runs once for each program that is ever started, so it uses no runtime and no parser. Whatever the daemon
//! decides (what, where, with which environment and walls) is already settled when it starts. It stands alone,
//! since it is also a program of its own (`gate/`). It is started as `bgagent __gate`, with a socket in the place of
//! standard input ([`wire`]).
//!
//! Around some programs there are walls ([`crate::sandbox`]). A thread of the keeper puts them around itself and starts the program; or, for
//! walls that can't be a thread's, the keeper starts itself once more, as `bgagent __enter`, and that becomes the program. So the
//! keeper itself stands outside of them, and a program within can't signal it.
use std::ffi::OsStr;

mod begin;
mod enter;
mod keeper;
pub mod process;
pub mod wire;

/// What the program that is nothing but this says of itself: whoever speaks the wire above.
pub const GATE: &str = concat!("bgagent-gate ", env!("CARGO_PKG_VERSION"), " 7");

/// First argument of a keeper.
pub const WORD: &str = "__gate";

/// Becomes a keeper, or the program, if the first argument asks for it; else returns at once.
pub fn enter_if_asked() {
    let word = std::env::args_os().nth(1);
    if word.as_deref() == Some(OsStr::new(WORD)) {
        keeper::keep();
    } else if word.as_deref() == Some(OsStr::new(begin::ENTER)) {
        enter::become_program();
    }
}
