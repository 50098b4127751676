//! The content of a feed, in one form whatever its format.
use super::date;
use super::text::{Markup, plain};
use crate::domain::FeedArgs;
use jiff::Timestamp;
use reqwest::Url;
use serde::{Deserialize, Serialize};

/// Maximum number of characters stored of a summary. A caller may request less.
const MAX_SUMMARY_CHARS: usize = FeedArgs::LARGEST_MAX_SUMMARY as usize;
pub(super) const MOST_TITLE: usize = 300;
/// Maximum length of an address or an id, in bytes.
pub(super) const MAX_LINK_BYTES: usize = 2048;
/// Maximum number of authors and of tags, and maximum characters of each.
const MAX_NAMES: (usize, usize) = (8, 80);

/// A parsed feed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Feed {
    pub(super) title: Option<String>,
    /// The web page that it belongs to.
    pub(super) home: Option<String>,
    /// In the feed's order.
    pub(super) items: Vec<Item>,
    /// Items that recently disappeared from it, the latest first, as far as they are remembered.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) gone: Vec<Item>,
    /// Why the rest of it could not be parsed.
    #[serde(skip)]
    pub(super) broken: Option<String>,
}

/// An item, with plain texts of limited length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Item {
    /// Its stable id, once assigned: see `identity`.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(super) id: String,
    /// The feed's own `guid` or `id`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) guid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) link: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(super) title: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(super) summary: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) published: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) updated: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) authors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) tags: Vec<String>,
    /// The text of its date, if that can't be parsed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) odd_date: Option<String>,
}

/// An item while it is parsed.
#[derive(Debug, Default)]
pub(super) struct Draft {
    item: Item,
    /// An address that can replace a missing link: of an enclosure, or of a page that a `guid` names.
    pub(super) stand_in: Option<String>,
    texts: Vec<(u8, String, Markup)>,
}

impl Draft {
    pub(super) fn title(&mut self, text: &str, markup: Markup) {
        if self.item.title.is_empty() {
            self.item.title = plain(text, markup, MOST_TITLE);
        }
    }

    /// Adds a text of the item; the one of the lowest rank that is not empty becomes its summary.
    pub(super) fn text(&mut self, rank: u8, text: String, markup: Markup) {
        self.texts.push((rank, text, markup));
    }

    pub(super) fn guid(&mut self, text: &str) {
        let text = text.trim();
        if self.item.guid.is_none() && !text.is_empty() {
            self.item.guid = Some(text.to_owned());
        }
    }

    pub(super) fn link(&mut self, text: &str, base: &Url) {
        if self.item.link.is_none() {
            self.item.link = address(text, base);
        }
    }

    pub(super) fn published(&mut self, text: &str) {
        self.item.published = self.item.published.or_else(|| self.date(text));
    }

    pub(super) fn updated(&mut self, text: &str) {
        self.item.updated = self.item.updated.or_else(|| self.date(text));
    }

    fn date(&mut self, text: &str) -> Option<Timestamp> {
        let date = date::read(text);
        if date.is_none() && !text.trim().is_empty() {
            self.item.odd_date = Some(plain(text, Markup::Plain, 60));
        }
        date
    }

    pub(super) fn author(&mut self, text: &str) {
        name(&mut self.item.authors, text);
    }

    pub(super) fn tag(&mut self, text: &str) {
        name(&mut self.item.tags, text);
    }

    /// Completes the item; `None` if it is empty.
    pub(super) fn done(mut self, base: &Url) -> Option<Item> {
        self.texts.sort_by_key(|(rank, ..)| *rank);
        let mut texts = self.texts.iter().map(|(_, text, markup)| plain(text, *markup, MAX_SUMMARY_CHARS));
        self.item.summary = texts.find(|text| !text.is_empty()).unwrap_or_default();
        if self.item.link.is_none() {
            self.item.link = self.stand_in.as_deref().and_then(|text| address(text, base));
        }
        let mut item = self.item;
        if item.published.or(item.updated).is_some() {
            item.odd_date = None;
        }
        let empty =
            item.title.is_empty() && item.summary.is_empty() && item.link.is_none() && item.guid.is_none();
        (!empty).then_some(item)
    }
}

fn name(all: &mut Vec<String>, text: &str) {
    let text = plain(text, Markup::Perhaps, MAX_NAMES.1);
    if all.len() < MAX_NAMES.0 && !text.is_empty() && !all.contains(&text) {
        all.push(text);
    }
}

/// Resolves a web address; `None` for other kinds of address.
pub(super) fn address(text: &str, base: &Url) -> Option<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_LINK_BYTES {
        return None;
    }
    let url = base.join(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.as_str().len() <= MAX_LINK_BYTES).then(|| url.into())
}
