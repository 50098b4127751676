//! What programs need of the machine: their folder, and themselves. It may be there when the time
//! comes, so these are warnings.
use super::place::Place;
use crate::config::context::Entry;
use crate::domain::{Body, CheckBody, CommandSpec};
use std::io::ErrorKind;

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
    let look = at.file.context.look;
    let warn =
        |key: &str, message: String, hint: &str| at.file.warn(at.of(key), message, Some(hint.to_owned()));
    let cwd = command.cwd.display();
    match look(&command.cwd) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return warn(
                folder,
                format!("there is no folder `{cwd}` to run in"),
                "make it, or name another in `cwd`",
            );
        }
        Ok(Entry::Program | Entry::File) => {
            return warn(folder, format!("`{cwd}` is no folder to run in"), "name a folder in `cwd`");
        }
        _ => {}
    }
    let [program, args @ ..] = &command.argv[..] else { return };
    let words: Vec<String> = program.split_whitespace().map(|word| format!("{word:?}")).collect();
    let several = format!("a list runs directly, each text of it is one argument: [{}]", words.join(", "));
    if !program.contains('/') {
        if words.len() > 1 {
            warn(key, format!("there is hardly a program of the name `{program}`"), &several);
        }
        return;
    }
    match look(&command.cwd.join(program)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let hint = match (words.len() > 1, program.starts_with('/')) {
                (true, _) => several.as_str(),
                (false, true) => "is the path right?",
                (false, false) => "is the path right? It begins at `cwd`",
            };
            warn(key, format!("there is no program `{program}`"), hint);
        }
        Ok(Entry::Folder) => {
            warn(key, format!("`{program}` is a folder, no program"), "name the program in it")
        }
        Ok(Entry::File) => {
            warn(
                key,
                format!("`{program}` is not executable"),
                "chmod +x, or name its interpreter before it",
            );
        }
        _ => {}
    }
    if let Some(arg) = args.iter().find(|arg| arg.starts_with("~/"))
        && !(args.len() == 2 && args[0] == "-c")
    {
        warn(
            key,
            format!("`{arg}` is handed over as it is: only a shell knows what `~` stands for"),
            "write the path out, or give the command as one text",
        );
    }
}
