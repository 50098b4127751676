//! Files that start an agent: `on = { file = "inbox/*.csv", settle = "5s" }`.
use super::walk::{Item, Section};
use crate::domain::{FileTrigger, human_duration, is_glob};

/// How to write a pattern.
const PATTERN_HINT: &str =
    "write a folder and a name, as in \"inbox/*.csv\"; `*` is any text and `?` any character of the name";

/// Parses which files the table of an `on` names.
pub(super) fn trigger(section: &Section<'_>, file: Item<'_>) -> Option<FileTrigger> {
    section.refuse_other_keys("file", &["file", "settle"], super::keys::ON);
    let settle = match section.get("settle") {
        None => FileTrigger::SETTLE,
        Some(item) => settle(item)?,
    };
    let pattern = file.text()?;
    if pattern.trim().is_empty() || pattern.ends_with('/') || pattern.contains('\0') {
        return file.refuse_with(format!("`{pattern}` names no file"), PATTERN_HINT.into());
    }
    let path = file.file.expand(pattern, file.span());
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return file.refuse_with(format!("`{pattern}` names no file"), PATTERN_HINT.into());
    };
    if folder.to_str().is_none_or(is_glob) {
        let hint = "name each folder: an agent for each, or one folder that all files come to".to_owned();
        return file.refuse_with("only the last part of a path can be a pattern".into(), hint);
    }
    if name.contains(['[', ']', '{', '}']) {
        let hint =
            "`*` is any text and `?` any character; an agent for each kind of name does the rest".to_owned();
        return file.refuse_with(format!("brackets can't be part of a pattern: `{name}`"), hint);
    }
    Some(FileTrigger { pattern: pattern.into(), folder: folder.to_owned(), name: name.into(), settle })
}

fn settle(item: Item<'_>) -> Option<jiff::SignedDuration> {
    let settle = item.duration()?;
    if settle > FileTrigger::MAX_SETTLE {
        let most = human_duration(FileTrigger::MAX_SETTLE);
        return item.refuse_with(
            format!("`settle` is at most {most}"),
            "a file that takes longer is better written under another name, and renamed when it is whole"
                .into(),
        );
    }
    Some(settle)
}
