//! Settings of `[tools.…]` tables of type "files": which folders.
use crate::config::keys::{Key, Kind, key};
use crate::config::machine;
use crate::config::values::{common, mode, needs};
use crate::config::walk::{Item, Section};
use crate::domain::{ToolKind, ToolMode};
use serde_json::{Map, Value, json};

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::Files.as_str()]), "the built-in tool"),
    key("roots", Kind::Texts, "folders; nothing outside them is reached"),
    key("mode", Kind::Word(ToolMode::WORDS), "read_only (default) or read_write"),
    key("max_bytes", Kind::Size, "read or written by one call; default 100 KiB"),
];

pub(in crate::config) fn settings(section: &Section<'_>) -> Option<Value> {
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
