//! Detection of a feed's format, whatever is declared.
use super::item::{Feed, MOST_TITLE};
use super::text::{self, Markup, plain};
use super::{json, xml};
use reqwest::Url;

/// Parses a feed of any format. `base` is its address.
///
/// # Errors
/// A sentence that says why it is not a feed, and where parsing failed.
pub(super) fn read(bytes: &[u8], header: &str, base: &Url) -> Result<Feed, String> {
    let text = super::decode::text(bytes, header);
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c.is_control());
    if text.is_empty() {
        return Err("the answer is empty".into());
    }
    // Some servers emit a warning or a comment before the feed.
    let begin = text.char_indices().take(1024).find(|(_, c)| matches!(c, '<' | '{' | '['));
    let Some((begin, sign)) = begin else {
        return Err(format!("the answer is not a feed: it begins with {:?}", text::shorter(text, 40)));
    };
    let feed = if sign == '<' { xml::read(&text[begin..], base) } else { json::read(&text[begin..], base) };
    feed.map(|mut feed| {
        feed.title =
            feed.title.map(|title| plain(&title, Markup::Perhaps, MOST_TITLE)).filter(|t| !t.is_empty());
        feed
    })
}
