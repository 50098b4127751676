//! What starts and keeps each program of the daemon as a program of its own: small, so that it starts in a third of the
//! time that `bgagent` itself takes for the same. The daemon uses it if it lies beside it, and does without if not.
use std::process::ExitCode;

#[path = "../src/sandbox/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the daemon's side uses the rest")]
mod sandbox;
#[path = "../src/child/trampoline/mod.rs"]
#[allow(dead_code, reason = "the daemon's side uses the rest")]
mod trampoline;

fn main() -> ExitCode {
    trampoline::enter_if_asked();
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("{}", trampoline::GATE);
        return ExitCode::SUCCESS;
    }
    eprintln!("this is a part of bgagent, which starts the programs of its agents through it");
    ExitCode::from(2)
}
