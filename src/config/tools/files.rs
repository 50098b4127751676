//! Settings of `[tools.…]` tables of type "files": which folders.
use crate::config::keys::{Key, Kind, key};
use crate::config::values::needs;
use crate::config::walk::{Item, Section};
use crate::config::{guarded, machine};
use crate::domain::{FilesSettings, ToolKind, ToolMode};

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::Files.as_str()]), "the built-in tool"),
    key(
        "roots",
        Kind::Texts,
        "folders; nothing outside them is reached. None may contain your home, the configuration or the state. What the \
         configuration runs, and where, is never written",
    ),
    key("mode", Kind::Word(ToolMode::WORDS), "read_only (default) or read_write"),
    key("max_bytes", Kind::Size, "read or written by one call; default {} KiB")
        .with(&[FilesSettings::MAX_BYTES >> 10]),
];

pub(in crate::config) fn settings(section: &Section<'_>) -> Option<FilesSettings> {
    let mode = section.word("mode").unwrap_or(ToolMode::ReadOnly);
    let max_bytes = section.size_of_at_least("max_bytes", 1, "1").unwrap_or(FilesSettings::MAX_BYTES);
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
            guarded::root(item, &path);
        }
        Some(path)
    };
    Some(FilesSettings {
        roots: items.iter().filter_map(expand).collect(),
        mode,
        max_bytes: max_bytes.min(FilesSettings::LARGEST_MAX_BYTES),
        config: section.file.path.to_owned(),
        // All programs that are run are known only when the whole file was read.
        guarded: Default::default(),
    })
}
