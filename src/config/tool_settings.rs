//! Settings of the built-in tools that take some: what a `[tools.…]` table says, checked, with paths
//! absolute, times in seconds and sizes in bytes. Secrets stay references.
//!
//! What the settings mean when a tool is called is the tool's own affair.
use super::archive_settings::archive;
use super::feed_settings::feed;
use super::http_settings::http;
use super::keys;
use super::machine::{self, Wanted};
use super::s3_settings::s3;
use super::walk::{Item, Section};
use crate::config::values::{common, cwd, database, mode, needs};
use crate::domain::{TextOrSecret, ToolKind, ToolSettings, ToolSpec};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The settings of a tool of this type; `None` if something that it can't do without is missing.
pub(super) fn resolve(
    kind: ToolKind,
    section: &Section<'_>,
    tools: &BTreeMap<String, ToolSpec>,
) -> Option<ToolSettings> {
    let settings = match kind {
        ToolKind::Http => return Some(ToolSettings::Http(http(section))),
        ToolKind::Feed => feed(section),
        ToolKind::Sql => sql(section),
        ToolKind::Files => files(section),
        ToolKind::S3 => s3(section),
        ToolKind::Shell => shell(section),
        ToolKind::ArchiveRows => archive(section, tools),
        ToolKind::SystemMetrics
        | ToolKind::Probe
        | ToolKind::Remember
        | ToolKind::Recall
        | ToolKind::Report => None,
    };
    settings.map(ToolSettings::Json)
}

fn sql(section: &Section<'_>) -> Option<Value> {
    let mut out = Map::new();
    common(section, &mut out);
    let writes = mode(section, &mut out);
    if let Some(rows) = section.get("max_rows") {
        match rows.whole(1) {
            Some(most) if most > 100_000 => {
                rows.refuse::<()>("`max_rows` is at most 100000".into());
            }
            Some(most) => drop(out.insert("max_rows".into(), most.into())),
            None => {}
        }
    }
    if let Some(ddl) = section.get("ddl") {
        let wanted = section.flag("ddl").unwrap_or(false);
        if wanted && !writes {
            ddl.refuse_with::<()>("`ddl` changes the database".into(), "add mode = \"read_write\"".into());
        }
        out.insert("ddl".into(), wanted.into());
    }
    if let Some(secret) = section.get("password").and_then(|item| item.secret()) {
        out.insert("password".into(), secret.to_json());
    }
    if section.get("statements").is_some() {
        out.insert("statements".into(), statements(section));
    }
    let item = needs(section, "sql", "url", "url = \"sqlite:app.db\" or \"postgres://user@host/db\"");
    if let Some(url) = item.and_then(database) {
        let is_postgres = url.as_str().map(|url| !url.starts_with("sqlite:"));
        for (key, of_postgres, kind) in [("password", true, "postgres"), ("tables", false, "sqlite")] {
            if let (Some(item), Some(is_postgres)) = (section.get(key), is_postgres)
                && is_postgres != of_postgres
            {
                item.refuse_with::<()>(
                    format!("`{key}` is for a {kind} database"),
                    match key {
                        "tables" => "give the database's role only the tables that it may see".into(),
                        _ => "leave it out".into(),
                    },
                );
            }
        }
        out.insert("url".into(), url);
    }
    if let Some(tables) = section.get("tables").and_then(|item| item.texts()) {
        out.insert("tables".into(), json!(tables));
    }
    Some(Value::Object(out))
}

fn statements(section: &Section<'_>) -> Value {
    let mut all = Map::new();
    for (name, text) in section.values("statements") {
        let item = section.get("statements");
        match (text, item) {
            (TextOrSecret::Text(text), _) if !text.trim().is_empty() => {
                all.insert(name, text.into());
            }
            (_, Some(item)) => {
                item.refuse::<()>(format!("statement `{name}` must be a text that is not empty"));
            }
            _ => {}
        }
    }
    Value::Object(all)
}

fn files(section: &Section<'_>) -> Option<Value> {
    let mut out = Map::new();
    common(section, &mut out);
    mode(section, &mut out);
    let example = "roots = [\"~/reports\"]";
    let roots = needs(section, "files", "roots", example)?;
    let items = roots.items()?;
    if items.is_empty() {
        return roots.refuse_with("`roots` is empty".into(), example.into());
    }
    let expand = |item: &Item<'_>| {
        let before = item.file.errors();
        let path = item.file.expand(item.text()?, item.span());
        if item.file.errors() == before {
            machine::folder(item.file, item.span(), &path);
        }
        Some(path.display().to_string())
    };
    let found: Vec<String> = items.iter().filter_map(expand).collect();
    out.insert("roots".into(), json!(found));
    out.insert("config".into(), section.file.path.display().to_string().into());
    Some(Value::Object(out))
}

fn shell(section: &Section<'_>) -> Option<Value> {
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
        if let Some(command) = item.section(keys::SHELL_COMMAND).and_then(|section| command(item, &section)) {
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
