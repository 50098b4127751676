//! Where things of a document stand, and what stands at a place of it.
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Returns the key that a byte of the document belongs to, with dots.
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

/// The tables of a document, and the keys of each: `daemon`, `daemon.node`.
pub(super) fn given(root: &DeTable<'_>) -> BTreeSet<String> {
    let mut given = BTreeSet::new();
    for (name, value) in root {
        let name = name.get_ref();
        given.insert(name.to_string());
        let keys = value.get_ref().as_table().into_iter().flatten();
        given.extend(keys.map(|(key, _)| format!("{name}.{}", key.get_ref())));
    }
    given
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

/// A duplicate key or table.
pub(super) struct Double {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) hint: String,
    /// The range of the whole second table.
    pub(super) table: Option<Range<usize>>,
}

/// Finds the first occurrence of a duplicate, since the parser reports only the second one.
pub(super) fn double(text: &str, span: Range<usize>) -> Double {
    let at = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(at, text.len()));
    let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let before = || text[..start].lines().zip(1_u32..);
    let first =
        |line: Option<u32>| line.map_or_else(String::new, |line| format!("; the first is in line {line}"));
    if let Some(name) = head(line) {
        let found =
            before().find(|(line, _)| head(line).as_deref() == Some(name.as_str())).map(|(_, line)| line);
        let below = text[start + line.len()..].match_indices('\n').map(|(at, _)| start + line.len() + at + 1);
        let until = below.into_iter().find(|at| text[*at..].trim_start_matches([' ', '\t']).starts_with('['));
        return Double {
            span: start..start + line.trim_end().len(),
            message: format!("duplicate table [{name}]{}", first(found)),
            hint: "make one table of both, or give this one another name".into(),
            table: Some(start..until.unwrap_or(text.len())),
        };
    }
    let name = &text[at..end];
    let own_table =
        before().filter(|(line, _)| line.trim_start().starts_with('[')).last().map_or(0, |(_, line)| line);
    let is_it = |line: &str| {
        let rest = line.trim_start().strip_prefix(name).unwrap_or("-");
        rest.trim_start().starts_with(['=', '.'])
    };
    let found = before().find(|(line, nth)| *nth > own_table && is_it(line)).map(|(_, line)| line);
    Double {
        span: at..end,
        message: format!("duplicate key `{name}`{}", first(found)),
        hint: "keep one of them".into(),
        table: None,
    }
}

/// Returns the name in a table's header, without spaces: `agents.x` for `[ agents.x ] # mine`.
fn head(line: &str) -> Option<String> {
    let line = line.trim_start().strip_prefix('[').filter(|rest| !rest.starts_with('['))?;
    let (name, _) = line.rsplit_once(']')?;
    Some(name.split(']').next()?.chars().filter(|c| !c.is_whitespace()).collect())
}
