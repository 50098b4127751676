//! Settings of `[tools.…]` tables of type "shell": which commands, and what may stand in them.
use crate::config::keys::{Key, Kind, SANDBOX, key};
use crate::config::machine::{self, Wanted};
use crate::config::sandbox;
use crate::config::values::{LEAST_OUTPUT, cwd, needs};
use crate::config::walk::{Item, Section};
use crate::domain::{ShellArg, ShellCommand, ShellSettings, ToolKind};
use std::collections::BTreeMap;

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::Shell.as_str()]), "the built-in tool"),
    key("commands", Kind::Named(COMMAND), "what may run, by name"),
    key("cwd", Kind::Text, "folder of the programs"),
    key("env", Kind::Texts2, "added to the cleared environment"),
    key("timeout", Kind::Duration, "one program; default {} s")
        .with(&[ShellSettings::TIMEOUT.as_secs().unsigned_abs()]),
    key("max_output", Kind::Size, "kept of each output; default {} KiB")
        .with(&[ShellSettings::MAX_OUTPUT >> 10]),
    key("sandbox", Kind::FlagOr(SANDBOX), "walls around each program; default true"),
];
const COMMAND: &[Key] = &[
    key("exec", Kind::Text, "absolute path of the program"),
    key("args", Kind::Texts, "its arguments; `{name:type}` is a parameter: string, int, path or a|b"),
    key("read", Kind::Flag, "true: it only looks"),
    key("description", Kind::Text, "what it does, for the model"),
];

pub(in crate::config) fn settings(section: &Section<'_>) -> Option<ShellSettings> {
    let timeout = section.positive("timeout").unwrap_or(ShellSettings::TIMEOUT);
    let max_output = section.size_of_at_least("max_output", LEAST_OUTPUT, "1KiB");
    let (env, cwd) = (section.env(), cwd(section));
    let example = "commands = { df = { exec = \"/bin/df\", args = [\"-h\", \"{path:path}\"] } }";
    let table = needs(section, "shell", "commands", example)?;
    let mut commands = BTreeMap::new();
    for (name, value) in table.table()? {
        let item = Item { value, ..table };
        if let Some(command) = item.section(COMMAND).and_then(|section| command(item, &section)) {
            commands.insert(name.get_ref().to_string(), command);
        }
    }
    let max_output = max_output.unwrap_or(ShellSettings::MAX_OUTPUT).min(ShellSettings::LARGEST_MAX_OUTPUT);
    Some(ShellSettings { commands, cwd, env, timeout, max_output, sandbox: sandbox::setting(section) })
}

fn command(item: Item<'_>, section: &Section<'_>) -> Option<ShellCommand> {
    let example = "exec = \"/bin/df\"";
    let Some(exec) = section.get("exec") else {
        return item.refuse_with("a command needs `exec`".into(), example.into());
    };
    let text = exec.text()?;
    if !["/", "~/", "${"].iter().any(|start| text.starts_with(start)) {
        return exec.refuse_with(format!("`exec` must be an absolute path, not \"{text}\""), example.into());
    }
    let before = exec.file.errors();
    let path = exec.file.expand(text, exec.span()).display().to_string();
    if exec.file.errors() == before {
        let argv = [path.clone()];
        machine::program(
            exec.file,
            &Wanted { argv: &argv, cwd: None, env: None, folder: exec.span(), program: exec.span() },
        );
    }
    let args = match section.get("args") {
        None => Vec::new(),
        Some(list) => args(&list.items()?, &path)?,
    };
    let read = section.flag("read").unwrap_or(false);
    let description = section.text("description").map(str::to_owned);
    Some(ShellCommand { exec: path, args, read, description })
}

/// The arguments of the program at `path`.
fn args(list: &[Item<'_>], path: &str) -> Option<Vec<ShellArg>> {
    let mut texts = Vec::new();
    let mut all = Vec::new();
    for arg in list {
        let text = arg.text()?;
        if text.contains('\0') {
            return arg.refuse("an argument has a NUL byte".into());
        }
        match ShellArg::parse(text) {
            Err(why) => {
                return arg.refuse_with(why, "a parameter is a whole argument: \"{path:path}\"".into());
            }
            Ok(ShellArg::Parameter { .. }) if runs_text(path, &texts) => {
                return arg.refuse_with(
                    format!("this parameter would be run as a program by `{path}`"),
                    "write the program out, and hand parameters to it as its arguments".into(),
                );
            }
            Ok(parsed) => all.push(parsed),
        }
        texts.push(text);
    }
    Some(all)
}

/// Would the next argument be run as a program, after these? Shells and interpreters take one after
/// `-c` or `-e`, and a shell's or a launcher's first plain argument is run too.
fn runs_text(exec: &str, before: &[&str]) -> bool {
    const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "fish", "ash", "csh", "tcsh"];
    const LAUNCHERS: &[&str] = &[
        "env", "sudo", "doas", "su", "xargs", "nohup", "nice", "ionice", "timeout", "setsid", "busybox",
        "stdbuf", "chroot", "nsenter", "unshare", "strace", "watch", "time", "ssh", "eval",
    ];
    const INTERPRETERS: &[&str] =
        &["python", "perl", "ruby", "node", "php", "lua", "awk", "gawk", "mawk", "tclsh"];
    let name = exec.rsplit('/').next().unwrap_or(exec);
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let shell = SHELLS.contains(&stem);
    let interpreter = shell || INTERPRETERS.contains(&stem);
    let plain = before.iter().any(|arg| !arg.starts_with('-'));
    let code =
        |arg: &&str| arg.starts_with('-') && !arg.starts_with("--") && arg.ends_with(['c', 'e', 'E', 'r']);
    let after_code = before.last().is_some_and(code);
    (interpreter && (after_code || !plain)) || (LAUNCHERS.contains(&stem) && !plain)
}
