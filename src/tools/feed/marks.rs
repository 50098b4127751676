//! Parts of XML that feeds need: attributes, entities, positions, and other documents served in place of a
//! feed.
use super::item::address;
use super::text::{self, LOOKED_AT, Markup, named, shorter};
use quick_xml::events::BytesStart;
use reqwest::Url;

/// Maximum number of attributes of one element that are parsed.
const MAX_ATTRIBUTES: usize = 64;

/// Returns attributes with their values, entities resolved.
pub(super) fn attributes(start: &BytesStart<'_>) -> Vec<(String, String)> {
    let mut all = start.html_attributes();
    let all = all.with_checks(false).take(MAX_ATTRIBUTES).flatten();
    all.map(|one| (one.key.0.to_owned(), resolve_entities(&one.value))).collect()
}

fn resolve_entities(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(34).position(|byte| byte == b';');
        match end.and_then(|end| Some((end, resolved(&rest[1..end])?))) {
            Some((end, text)) => {
                out.push_str(&text);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Returns the value of an attribute.
pub(super) fn value<'a>(attributes: &'a [(String, String)], name: &str) -> Option<&'a str> {
    attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Resolves an entity, given its name without `&` and `;`. Entities defined by a document are not supported.
pub(super) fn resolved(name: &str) -> Option<String> {
    match name {
        "amp" => return Some("&".into()),
        "lt" => return Some("<".into()),
        "gt" => return Some(">".into()),
        "quot" => return Some("\"".into()),
        "apos" => return Some("'".into()),
        _ => {}
    }
    let Some(number) = name.strip_prefix('#') else { return named(name) };
    let number = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    number.ok().and_then(char::from_u32).map(|found| text::meant(found).into())
}

/// Returns how a text of Atom is encoded; RSS does not declare it.
pub(super) fn text_type(attributes: &[(String, String)], is_atom: bool) -> Markup {
    match value(attributes, "type") {
        Some("html" | "xhtml" | "text/html" | "application/xhtml+xml") => Markup::Html,
        _ if !is_atom => Markup::Perhaps,
        Some("text" | "text/plain") => Markup::Plain,
        // Not declared: a summary that contains markup is usually HTML nevertheless.
        _ => Markup::Perhaps,
    }
}

/// Returns how a title of Atom is encoded: plain by default (RFC 4287, 3.1.1).
pub(super) fn title_type(attributes: &[(String, String)], is_atom: bool) -> Markup {
    match value(attributes, "type") {
        None | Some("") if is_atom => Markup::Plain,
        _ => text_type(attributes, is_atom),
    }
}

/// Returns where a `link` of Atom leads, if to a page.
pub(super) fn page_link(attributes: &[(String, String)]) -> Option<&str> {
    let rel = value(attributes, "rel").unwrap_or("alternate");
    value(attributes, "href").filter(|_| rel == "alternate" || rel.is_empty())
}

/// Formats a reason with its line and column.
pub(super) fn with_position(text: &str, at: u64, why: &str) -> String {
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
    let before = &text.as_bytes()[..at];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = at - before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1) + 1;
    format!("{} (line {line}, column {column})", shorter(why, 200))
}

/// The error for a web page in place of a feed, with the feeds that it links to.
pub(super) fn web_page_error(text: &str, base: &Url) -> String {
    let head = &text[..text.floor_char_boundary(LOOKED_AT)];
    let mut found: Vec<String> = Vec::new();
    for (at, _) in head.match_indices("<link").take(200) {
        let end = head[at..].find('>').map_or(head.len(), |end| at + end);
        let tag = head[at..end].trim_end_matches('/');
        let start = BytesStart::from_content(&tag[1..], "link".len());
        let attributes = attributes(&start);
        let is_feed = value(&attributes, "type").is_some_and(|kind| {
            matches!(kind, "application/rss+xml" | "application/atom+xml" | "application/feed+json")
        });
        if let (true, Some(href)) = (is_feed, value(&attributes, "href"))
            && let Some(url) = address(href, base)
            && found.len() < 3
            && !found.contains(&url)
        {
            found.push(url);
        }
    }
    match found.is_empty() {
        true => "the answer is a web page, not a feed".into(),
        false => {
            format!("the answer is a web page, not a feed; it names {} as its feed", found.join(" and "))
        }
    }
}
