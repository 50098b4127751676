//! Where things of a document stand, and what stands at a place of it.
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The key that a byte of the document belongs to, with dots.
pub(super) fn key_at(root: &DeTable<'_>, at: usize) -> Option<String> {
    let holds = |span: Range<usize>| span.start <= at && at < span.end.max(span.start + 1);
    for (key, value) in root {
        let name = key.get_ref();
        let below = value.get_ref().as_table().and_then(|table| key_at(table, at));
        let in_list = value
            .get_ref()
            .as_array()
            .and_then(|list| list.iter().find_map(|item| key_at(item.get_ref().as_table()?, at)));
        match below.or(in_list) {
            Some(below) => return Some(format!("{name}.{below}")),
            None if holds(key.span()) || holds(value.span()) => return Some(name.to_string()),
            None => {}
        }
    }
    None
}

/// Does a value, or anything in it, stand where `meets` looks?
pub(super) fn any_span(value: &Spanned<DeValue<'_>>, meets: &impl Fn(&Range<usize>) -> bool) -> bool {
    meets(&value.span())
        || match value.get_ref() {
            DeValue::Array(items) => items.iter().any(|item| any_span(item, meets)),
            DeValue::Table(table) => {
                table.iter().any(|(key, value)| meets(&key.span()) || any_span(value, meets))
            }
            _ => false,
        }
}
