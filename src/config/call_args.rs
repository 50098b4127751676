//! Arguments of a configured call of a built-in tool: a mistake in them is known before anything
//! runs. The tools' own schemas decide when a call is made; what is here are the names, the words and
//! the shapes that don't depend on what a run brings. A text with a place to fill (`{event.…}`,
//! `{gate}`) may become anything.
use super::walk::Item;
use crate::domain::{HttpSettings, Severity, ToolKind, ToolSettings, nearest};

/// What an argument looks like.
enum Shape {
    Text,
    /// One of these words.
    Words(Vec<String>),
    /// A whole number within these bounds.
    Whole(u64, u64),
    /// Its tool looks.
    Any,
}

/// An argument of a tool.
struct Arg {
    name: &'static str,
    shape: Shape,
    needed: bool,
}

fn words(words: &[&str]) -> Shape {
    Shape::Words(words.iter().map(|word| (*word).to_owned()).collect())
}

/// Names of the statements or commands that are defined.
fn names_in(settings: Option<&ToolSettings>) -> Vec<String> {
    match settings {
        Some(ToolSettings::Sql(Some(settings))) => settings.statements.keys().cloned().collect(),
        Some(ToolSettings::Shell(Some(settings))) => settings.commands.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// May a tool with these settings change anything?
fn writes(settings: Option<&ToolSettings>) -> bool {
    match settings {
        Some(ToolSettings::Sql(Some(settings))) => settings.mode.writes(),
        Some(ToolSettings::Files(Some(settings))) => settings.mode.writes(),
        Some(ToolSettings::S3(Some(settings))) => settings.mode.writes(),
        _ => false,
    }
}

/// The arguments of tools of this kind; `None`: they are looked at elsewhere.
fn arguments(kind: ToolKind, settings: Option<&ToolSettings>) -> Option<Vec<Arg>> {
    let needs = |name, shape| Arg { name, shape, needed: true };
    let may = |name, shape| Arg { name, shape, needed: false };
    let writes = writes(settings);
    let mut all = match kind {
        ToolKind::Report => vec![
            needs("key", Shape::Text),
            needs("severity", words(&[&["ok"], Severity::WORDS].concat())),
            needs("title", Shape::Text),
            may("detail", Shape::Text),
        ],
        ToolKind::Remember => vec![needs("key", Shape::Text), needs("text", Shape::Text)],
        ToolKind::Recall => vec![may("key", Shape::Text)],
        ToolKind::Files => vec![
            needs("op", words(if writes { &["list", "read", "write", "append"] } else { &["list", "read"] })),
            needs("path", Shape::Text),
        ],
        ToolKind::S3 => vec![
            needs(
                "op",
                words(if writes { &["list", "get", "head", "put"] } else { &["list", "get", "head"] }),
            ),
            may("key", Shape::Text),
            may("prefix", Shape::Text),
            may("after", Shape::Text),
            may("max", Shape::Whole(1, 1000)),
        ],
        ToolKind::Shell => {
            vec![needs("command", Shape::Words(names_in(settings))), may("params", Shape::Any)]
        }
        ToolKind::Http => vec![
            needs("url", Shape::Text),
            may(
                "method",
                words(&HttpSettings::METHODS.iter().map(|method| method.as_str()).collect::<Vec<_>>()),
            ),
            may("headers", Shape::Any),
            may("as", words(&["text", "html", "json", "raw"])),
            may("body", Shape::Any),
        ],
        ToolKind::Sql => {
            let statements = names_in(settings);
            let by_name = !statements.is_empty();
            let mut all = vec![may("params", Shape::Any)];
            if by_name {
                all.push(Arg { name: "statement", shape: Shape::Words(statements), needed: writes });
            }
            if !(by_name && writes) {
                all.push(Arg { name: "sql", shape: Shape::Text, needed: !by_name });
            }
            all
        }
        ToolKind::SystemMetrics | ToolKind::Probe | ToolKind::Feed | ToolKind::ArchiveRows => return None,
    };
    if writes && matches!(kind, ToolKind::Files | ToolKind::S3) {
        all.extend([may("text", Shape::Text)]);
    }
    if writes && kind == ToolKind::S3 {
        all.extend([may("base64", Shape::Text), may("content_type", Shape::Text)]);
    }
    Some(all)
}

/// Notes what is wrong with the arguments of a call of `tool`, which is of this kind.
pub(super) fn judge(kind: ToolKind, settings: Option<&ToolSettings>, tool: Item<'_>, args: Option<Item<'_>>) {
    use ToolSettings::{Files, S3, Shell, Sql};
    if matches!(settings, Some(Sql(None) | S3(None) | Files(None) | Shell(None))) {
        return; // its table has an error: whoever calls it is not blamed for that
    }
    let Some(known) = arguments(kind, settings) else { return };
    let table = match args {
        Some(args) => match args.table() {
            Some(table) => Some(table),
            None => return,
        },
        None => None,
    };
    let name = tool.text().unwrap_or(kind.as_str());
    let mut misspelled = Vec::new();
    for (key, value) in table.into_iter().flatten() {
        let Some(arg) = known.iter().find(|arg| arg.name == key.get_ref()) else {
            let near = nearest(key.get_ref(), known.iter().map(|arg| arg.name));
            misspelled.extend(near);
            let hint = near.map_or_else(
                || format!("it takes {}", known.iter().map(|arg| arg.name).collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            tool.file.error(
                Some(key.span()),
                format!("`{name}` takes no argument `{}`", key.get_ref()),
                Some(hint),
            );
            continue;
        };
        fits(Item { file: tool.file, value, name: arg.name }, &arg.shape);
    }
    let is_there = |arg: &Arg| table.is_some_and(|table| table.get(arg.name).is_some());
    let missing = known.iter().filter(|arg| arg.needed && !is_there(arg) && !misspelled.contains(&arg.name));
    let missing: Vec<String> = missing.map(|arg| format!("`{}`", arg.name)).collect();
    if !missing.is_empty() {
        let word = if missing.len() == 1 { "argument" } else { "arguments" };
        args.unwrap_or(tool).refuse::<()>(format!("`{name}` needs the {word} {}", missing.join(", ")));
    }
}

fn fits(item: Item<'_>, shape: &Shape) {
    if item.value.get_ref().as_str().is_some_and(|text| text.contains('{')) {
        return;
    }
    match shape {
        Shape::Text => drop(item.text()),
        Shape::Words(words) => drop(item.one_of(words.iter().map(String::as_str))),
        Shape::Whole(least, most) => {
            if item.whole(*least).is_some_and(|number| number > *most) {
                item.refuse::<()>(format!("`{}` is at most {most}", item.name));
            }
        }
        Shape::Any => {}
    }
}
