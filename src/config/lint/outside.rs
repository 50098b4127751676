//! What programs of agents need of the machine: their folder, and themselves.
use super::place::Place;
use crate::config::machine::{self, Wanted};
use crate::domain::{Body, CheckBody, CommandSpec};

/// Notes programs and folders that are not there.
pub(super) fn lint(at: &Place<'_>) {
    if let Body::Command(command) = &at.agent.body
        && at.knows(&["command", "cwd"])
    {
        look(at, if at.has("cwd") { "cwd" } else { "command" }, "command", command);
    }
    let proofs = at.agent.success_when.iter().map(|check| ("success_when", check));
    let gate = at.agent.gate.as_deref().map(|check| ("gate", check));
    for (key, check) in gate.into_iter().chain(proofs).filter(|(key, _)| at.knows(&[key])) {
        if let CheckBody::Command(command) = &check.body {
            look(at, key, key, command);
        }
    }
}

/// Looks for the folder of a command, told at the key `folder`, and for its program.
fn look(at: &Place<'_>, folder: &str, key: &str, command: &CommandSpec) {
    let CommandSpec { argv, cwd, env, .. } = command;
    let (folder, program) = (at.of(folder), at.of(key));
    machine::program(at.file, &Wanted { argv, cwd: Some(cwd), env: Some(env), folder, program });
}
