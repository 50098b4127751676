//! Settings of `[tools.…]` tables of type "shell": which commands, and what may stand in them.
use crate::config::keys::{Key, Kind, key};
use crate::config::machine::{self, Wanted};
use crate::config::values::{common, cwd, needs};
use crate::config::walk::{Item, Section};
use crate::domain::ToolKind;
use serde_json::{Map, Value, json};

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::Shell.as_str()]), "the built-in tool"),
    key("commands", Kind::Named(COMMAND), "what may run, by name"),
    key("cwd", Kind::Text, "folder of the programs"),
    key("env", Kind::Texts2, "added to the cleared environment"),
    key("timeout", Kind::Duration, "one program; default 30 s"),
    key("max_output", Kind::Size, "kept of each output; default 64 KiB"),
];
const COMMAND: &[Key] = &[
    key("exec", Kind::Text, "absolute path of the program"),
    key("args", Kind::Texts, "its arguments; `{name:type}` is a parameter: string, int, path or a|b"),
    key("read", Kind::Flag, "true: it only looks"),
    key("description", Kind::Text, "what it does, for the model"),
];

pub(in crate::config) fn settings(section: &Section<'_>) -> Option<Value> {
    let mut out = Map::new();
    common(section, &mut out);
    let env: Map<String, Value> =
        section.env().into_iter().map(|(name, value)| (name, value.to_json())).collect();
    out.insert("env".into(), Value::Object(env));
    out.insert("cwd".into(), cwd(section).display().to_string().into());
    let example = "commands = { df = { exec = \"/bin/df\", args = [\"-h\", \"{path:path}\"] } }";
    let table = needs(section, "shell", "commands", example)?;
    let mut commands = Map::new();
    for (name, value) in table.table()? {
        let item = Item { value, ..table };
        if let Some(command) = item.section(COMMAND).and_then(|section| command(item, &section)) {
            commands.insert(name.get_ref().to_string(), command);
        }
    }
    out.insert("commands".into(), Value::Object(commands));
    Some(Value::Object(out))
}

fn command(item: Item<'_>, section: &Section<'_>) -> Option<Value> {
    let mut out = Map::new();
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
        Some(list) => list.items()?,
    };
    let mut texts = Vec::new();
    for arg in &args {
        let text = arg.text()?;
        if text.contains('\0') {
            return arg.refuse("an argument has a NUL byte".into());
        }
        match parameter(text) {
            Err(why) => {
                return arg.refuse_with(why, "a parameter is a whole argument: \"{path:path}\"".into());
            }
            Ok(Some(_)) if runs_text(&path, &texts) => {
                return arg.refuse_with(
                    format!("this parameter would be run as a program by `{path}`"),
                    "write the program out, and hand parameters to it as its arguments".into(),
                );
            }
            Ok(_) => texts.push(text),
        }
    }
    out.insert("exec".into(), path.into());
    out.insert("args".into(), json!(texts));
    if let Some(read) = section.flag("read") {
        out.insert("read".into(), read.into());
    }
    if let Some(text) = section.text("description") {
        out.insert("description".into(), text.into());
    }
    Some(Value::Object(out))
}

/// The name of the parameter that an argument is, if it is one. Braces that hold no name, such as
/// those of find(1) and awk(1), are text.
fn parameter(arg: &str) -> Result<Option<&str>, String> {
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let Some((before, rest)) = arg.split_once('{') else { return Ok(None) };
    let Some((inside, after)) = rest.split_once('}') else { return Ok(None) };
    let (name, kind) = inside.split_once(':').unwrap_or((inside, "string"));
    if !is_name(name) {
        return Ok(None);
    }
    if !before.is_empty() || !after.is_empty() {
        return Err(format!("`{{{inside}}}` is only a part of this argument"));
    }
    let is_choice = kind.contains('|') && kind.split('|').all(|word| !word.is_empty());
    if !matches!(kind, "string" | "int" | "path") && !is_choice {
        return Err(format!("`{kind}` is not a type of a parameter: use string, int, path or a|b"));
    }
    Ok(Some(name))
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
