//! What agents require of the machine: folders of their programs and of files that start them, and the
//! programs themselves.
use super::place::{Place, SCHEDULE};
use crate::config::machine::{self, Wanted};
use crate::domain::{Body, CheckBody, CommandSpec, Overlap, Schedule, WORK, Workspace};
use std::path::Path;

/// Warns of missing programs and folders, and of files that would be ignored.
pub(super) fn lint(at: &Place<'_>) {
    if let Schedule::File(trigger) = &at.agent.schedule
        && at.knows(SCHEDULE)
    {
        machine::inbox(at.file, at.of("on"), &trigger.folder);
        if at.agent.overlap == Overlap::Skip && at.knows(&["overlap"]) {
            at.file.warn(
                at.of("overlap"),
                "files that arrive while a run is in flight are left out for good (`overlap = \"skip\"`)"
                    .into(),
                Some("with \"queue\", each waits for its turn".into()),
            );
        }
    }
    if let Body::Command(command) = &at.agent.body
        && at.knows(&["command", "cwd"])
    {
        check_command(at, if at.has("cwd") { "cwd" } else { "command" }, "command", command);
    }
    if let Body::Runner(query) = &at.agent.body
        && at.knows(&["workspace"])
    {
        match &query.workspace {
            Workspace::Folder(path) => machine::workspace(at.file, at.of("workspace"), path, "dir"),
            Workspace::Repository(spec) => {
                machine::workspace(at.file, at.of("workspace"), &spec.path, "repo");
            }
            Workspace::Empty => {}
        }
    }
    let proofs = at.agent.success_when.iter().map(|check| ("success_when", check));
    let gate = at.agent.gate.as_deref().map(|check| ("gate", check));
    for (key, check) in gate.into_iter().chain(proofs).filter(|(key, _)| at.knows(&[key])) {
        if let CheckBody::Command(command) = &check.body {
            check_command(at, key, key, command);
        }
    }
}

/// Checks the folder of a command, reported at the key `folder`, and its program.
fn check_command(at: &Place<'_>, folder: &str, key: &str, command: &CommandSpec) {
    let CommandSpec { argv, cwd, env, .. } = command;
    // The folder of a run exists only while it runs.
    let cwd = Some(cwd.as_path()).filter(|cwd| *cwd != Path::new(WORK));
    let (folder, program) = (at.of(folder), at.of(key));
    machine::program(at.file, &Wanted { argv, cwd, env: Some(env), folder, program });
}
