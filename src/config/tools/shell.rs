//! Settings of `[tools.…]` tables of type "shell": which commands, and their parameters.
use crate::config::keys::{Key, Kind, SANDBOX, key};
use crate::config::machine::{self, Wanted};
use crate::config::programs::{self, Argument, ArgumentContent};
use crate::config::sandbox;
use crate::config::values::{MIN_OUTPUT_BYTES, cwd, needs};
use crate::config::walk::{Item, Section};
use crate::domain::{ParameterKind, ShellArg, ShellCommand, ShellSettings, ToolKind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::Shell.as_str()]), "the built-in tool"),
    key("commands", Kind::Named(COMMAND), "what may run, by name"),
    key("cwd", Kind::Text, "folder of the programs"),
    key("env", Kind::Texts2, "added to the cleared environment"),
    key("timeout", Kind::Duration, "one program; default {} s")
        .with(&[ShellSettings::TIMEOUT.as_secs().unsigned_abs()]),
    key("max_output", Kind::Size, "how much of each output is kept; default {} KiB")
        .with(&[ShellSettings::MAX_OUTPUT >> 10]),
    key("sandbox", Kind::FlagOr(SANDBOX), "a sandbox around each program; default true"),
];
const COMMAND: &[Key] = &[
    key("exec", Kind::Text, "absolute path of the program"),
    key(
        "args",
        Kind::Texts,
        "its arguments; `{name:type}` is a parameter: string, int (not negative), int(-5..5), path or a|b",
    ),
    key(
        "under",
        Kind::Texts,
        "folders: a path that is given must lie beneath one of them; needed if there is a path parameter",
    ),
    key("read", Kind::Flag, "true: it only reads"),
    key("description", Kind::Text, "what it does, for the model"),
];

pub(in crate::config) fn settings(section: &Section<'_>) -> Option<ShellSettings> {
    let timeout = section.positive("timeout").unwrap_or(ShellSettings::TIMEOUT);
    let max_output = section.size_of_at_least("max_output", MIN_OUTPUT_BYTES, "1KiB");
    let env = section.env();
    let (cwd, default_cwd) = cwd(section);
    let example =
        "commands = { df = { exec = \"/bin/df\", args = [\"-h\", \"{path:path}\"], under = [\"/data\"] } }";
    let table = needs(section, "shell", "commands", example)?;
    let mut commands = BTreeMap::new();
    for (name, value) in table.table()? {
        let item = Item { value, ..table };
        if let Some(command) = item.section(COMMAND).and_then(|section| command(item, &section)) {
            commands.insert(name.get_ref().to_string(), command);
        }
    }
    let max_output = max_output.unwrap_or(ShellSettings::MAX_OUTPUT).min(ShellSettings::LARGEST_MAX_OUTPUT);
    Some(ShellSettings {
        commands,
        cwd,
        default_cwd,
        env,
        timeout,
        max_output,
        sandbox: sandbox::setting(section),
    })
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
    let under = under(item, section, &args)?;
    let read = section.flag("read").unwrap_or(false);
    let description = section.text("description").map(str::to_owned);
    Some(ShellCommand { exec: path, args, under, read, description })
}

/// Parses the folders for path parameters. A command with a path parameter must have some.
fn under(item: Item<'_>, section: &Section<'_>, args: &[ShellArg]) -> Option<Vec<PathBuf>> {
    let path = args.iter().find_map(|arg| match arg {
        ShellArg::Parameter { name, kind: ParameterKind::Path } => Some(name),
        _ => None,
    });
    let example = "under = [\"~/reports\"]";
    match (section.get("under"), path) {
        (None, None) => Some(Vec::new()),
        (None, Some(_)) if section.misspelled.contains(&"under") => None,
        (None, Some(name)) => item.refuse_with(
            format!(
                "`{{{name}:path}}` needs `under`: without it, a caller could name any file of this machine"
            ),
            format!("name the folders that are meant: {example}"),
        ),
        (Some(list), path) => {
            let items = list.items()?;
            if items.is_empty() {
                return list.refuse_with("`under` is empty".into(), example.into());
            }
            if path.is_none() {
                let message = "`under` has no effect: no argument of this command is a path".to_owned();
                list.file.warn(list.span(), message, Some("a path is written {name:path}".into()));
            }
            let folder = |item: &Item<'_>| {
                let before = item.file.errors();
                let path = item.file.expand(item.text()?, item.span());
                if item.file.errors() == before {
                    machine::folder(item.file, item.span(), &path);
                }
                Some(path)
            };
            Some(items.iter().filter_map(folder).collect())
        }
    }
}

/// Parses the arguments of the program at `path`.
fn args(list: &[Item<'_>], path: &str) -> Option<Vec<ShellArg>> {
    let mut words: Vec<Argument<'_>> = vec![(path, ArgumentContent::Text)];
    let mut all = Vec::new();
    for arg in list {
        let text = arg.text()?;
        if text.contains('\0') {
            return arg.refuse("an argument has a NUL byte".into());
        }
        match ShellArg::parse(text) {
            Err(why) => {
                return arg.refuse_with(
                    why,
                    "a parameter is a whole argument: \"{path:path}\", \"{n:int(0..100)}\"".into(),
                );
            }
            Ok(parsed) => {
                // The words of an enumeration are written in the configuration, so they may be options.
                let holds = match &parsed {
                    ShellArg::Text(_) => ArgumentContent::Text,
                    ShellArg::Parameter { .. } => ArgumentContent::Value,
                };
                words.push((text, holds));
                all.push(parsed);
            }
        }
    }
    let first = list.first();
    let real = first.and_then(|arg| (arg.file.context.real)(Path::new(path)).ok());
    if let Some(at) = programs::first_run_argument(&words, real.as_deref().and_then(Path::to_str))
        && let Some(arg) = list.get(at.saturating_sub(1))
    {
        return arg.refuse_with(
            format!("this parameter would be run as a program by `{path}`"),
            "write the program out, and hand parameters to it as its arguments".into(),
        );
    }
    Some(all)
}
