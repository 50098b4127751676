//! Settings of the built-in tools that take some: what a `[tools.…]` table says, checked, with paths
//! absolute, times in seconds and sizes in bytes. Secrets stay references.
//!
//! What the settings mean when a tool is called is the tool's own affair.
use super::http_settings::http;
use super::walk::{Item, Section};
use serde_json::Value;

/// The settings of a tool of this type; `None` if something that it can't do without is missing.
pub(super) fn resolve(kind: &str, section: &Section<'_>) -> Option<Value> {
    match kind {
        "http" => http(section),
        _ => None,
    }
}

/// A key that must be there.
pub(super) fn needs<'a>(section: &Section<'a>, kind: &str, key: &'a str, example: &str) -> Option<Item<'a>> {
    let found = section.get(key);
    if found.is_none() {
        section.file.error(
            Some(section.span.clone()),
            format!("a tool of type \"{kind}\" needs `{key}`"),
            Some(example.to_owned()),
        );
    }
    found
}
