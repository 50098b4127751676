//! JSON Feed (versions 1 and 1.1), and lists that resemble it.
use super::item::{Draft, Feed, Item, address};
use super::text::Markup;
use crate::domain::{JsonMistakes, repaired_json};
use reqwest::Url;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Maximum number of items of one feed that are parsed.
const MAX_ITEMS: usize = 10_000;

#[derive(Default)]
struct Document {
    version: Loose,
    title: Loose,
    home_page_url: Loose,
    items: Option<Items>,
}

#[derive(Default)]
struct Items {
    kept: Vec<Item>,
    /// There are more items than are parsed.
    more: bool,
}

/// Deserializes a document, or its items. Each entry is converted to a plain item immediately: raw entries
/// would take many times the memory of their text.
#[derive(Clone, Copy)]
struct Reading<'a>(&'a Url);
struct ReadingItems<'a>(&'a Url);

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    id: Loose,
    #[serde(default)]
    url: Loose,
    #[serde(default)]
    external_url: Loose,
    #[serde(default)]
    title: Loose,
    #[serde(default)]
    summary: Loose,
    #[serde(default)]
    content_text: Loose,
    #[serde(default)]
    content_html: Loose,
    #[serde(default)]
    date_published: Loose,
    #[serde(default)]
    date_modified: Loose,
    #[serde(default)]
    author: Names,
    #[serde(default)]
    authors: Names,
    #[serde(default)]
    tags: Names,
}

/// A text, or a number in place of one. Any other value is treated as missing.
#[derive(Default, Serialize)]
struct Loose(Option<String>);

/// Texts, or tables with a `name`; one, or a list.
#[derive(Default)]
struct Names(Vec<String>);

pub(super) fn read(text: &str, base: &Url) -> Result<Feed, String> {
    // Whatever follows the document, such as a comment of a cache, is ignored.
    let read = |text: &str| Reading(base).deserialize(&mut serde_json::Deserializer::from_str(text));
    let document =
        read(text).or_else(|error| read(&repaired_json(text, JsonMistakes::Encoding)).map_err(|_| error));
    let document = document.map_err(|error| format!("the answer is not a JSON Feed: {error}"))?;
    let Some(items) = document.items else {
        let version = document.version.0.map(|version| format!(" (its version is {version:?})"));
        return Err(format!(
            "the answer is JSON but not a feed: it has no `items`{}",
            version.unwrap_or_default()
        ));
    };
    let home = document.home_page_url.0.and_then(|url| address(&url, base));
    let broken = items.more.then(|| format!("it has more than {MAX_ITEMS} items"));
    Ok(Feed { title: document.title.0, home, items: items.kept, gone: Vec::new(), broken })
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Document, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with `items`")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Document, A::Error> {
        let mut document = Document::default();
        while let Some(key) = all.next_key::<String>()? {
            match key.as_str() {
                "version" => document.version = all.next_value()?,
                "title" => document.title = all.next_value()?,
                "home_page_url" => document.home_page_url = all.next_value()?,
                "items" => document.items = all.next_value_seed(ReadingItems(self.0))?,
                _ => drop(all.next_value::<IgnoredAny>()?),
            }
        }
        Ok(document)
    }
}

impl<'de> DeserializeSeed<'de> for ReadingItems<'_> {
    type Value = Option<Items>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadingItems<'_> {
    type Value = Option<Items>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        let mut items = Items::default();
        while items.kept.len() < MAX_ITEMS {
            let Some(entry) = all.next_element()? else { return Ok(Some(items)) };
            items.kept.extend(item(entry, self.0));
        }
        while all.next_element::<IgnoredAny>()?.is_some() {
            items.more = true;
        }
        Ok(Some(items))
    }
}

fn item(entry: Entry, base: &Url) -> Option<Item> {
    let mut draft = Draft::default();
    if let Some(id) = &entry.id.0 {
        draft.guid(id);
    }
    for url in [&entry.url.0, &entry.external_url.0].into_iter().flatten() {
        draft.link(url, base);
    }
    draft.stand_in = entry.id.0.filter(|id| id.starts_with("http://") || id.starts_with("https://"));
    if let Some(title) = &entry.title.0 {
        draft.title(title, Markup::Perhaps);
    }
    let texts = [
        (entry.summary, Markup::Perhaps),
        (entry.content_text, Markup::Plain),
        (entry.content_html, Markup::Html),
    ];
    for (rank, (text, markup)) in (0..).zip(texts) {
        if let Some(text) = text.0 {
            draft.text(rank, text, markup);
        }
    }
    if let Some(at) = &entry.date_published.0 {
        draft.published(at);
    }
    if let Some(at) = &entry.date_modified.0 {
        draft.updated(at);
    }
    entry.authors.0.iter().chain(&entry.author.0).for_each(|name| draft.author(name));
    entry.tags.0.iter().for_each(|tag| draft.tag(tag));
    draft.done(base)
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyText).map(Loose)
    }
}

struct AnyText;

impl<'de> Visitor<'de> for AnyText {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        while all.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyNames).map(Names)
    }
}

struct AnyNames;

impl<'de> Visitor<'de> for AnyNames {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![text.to_owned()])
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(mut one) = all.next_element::<Names>()? {
            if names.len() < 32 {
                names.append(&mut one.0);
            }
        }
        Ok(names)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(key) = all.next_key::<String>()? {
            if key == "name" {
                names.extend(all.next_value::<Loose>()?.0);
            } else {
                all.next_value::<IgnoredAny>()?;
            }
        }
        Ok(names)
    }
}
