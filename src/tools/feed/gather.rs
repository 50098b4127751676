//! The items of several feeds as one list: with ids that stay, without doubles, newest first. Pure.
use super::item::{Feed, Item};
use super::text;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// Longest id, in bytes.
const LONGEST_ID: usize = 512;

/// A feed, and the address by which it was asked for.
pub(super) struct Source<'a> {
    pub(super) url: &'a str,
    pub(super) feed: &'a Feed,
}

/// What of the items is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Items with a date before this are not. Those without a date are.
    pub(super) since: Option<Timestamp>,
    /// Of each source: the newest.
    pub(super) per_source: usize,
    /// Most characters of a summary.
    pub(super) summary: usize,
    /// For dates in the future.
    pub(super) now: Timestamp,
}

/// All wanted items, as a result shows them, newest first; those without a date come last.
pub(super) fn all(sources: &[Source<'_>], wanted: &Wanted) -> Vec<Value> {
    let mut ids: HashSet<String> = HashSet::new();
    // whose link it is: a feed may have several items behind one link, two feeds tell one story
    let mut links: HashMap<String, usize> = HashMap::new();
    let mut found: Vec<(Option<Timestamp>, Value)> = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let own = ids_of(source);
        let mut order: Vec<usize> = (0..own.len()).collect();
        let date = |at: usize| when(&source.feed.items[at], wanted.now);
        order.sort_by(|a, b| newest_first(date(*a), date(*b)));
        let mut taken = 0;
        for at in order {
            let item = &source.feed.items[at];
            let link = item.link.as_deref().filter(|link| !is_home(source.feed, link)).map(same_link);
            let elsewhere = link.as_ref().is_some_and(|link| links.get(link).is_some_and(|of| *of != number));
            if taken == wanted.per_source
                || is_old(item, wanted.since)
                || elsewhere
                || !ids.insert(own[at].clone())
            {
                continue;
            }
            if let Some(link) = link {
                links.insert(link, number);
            }
            taken += 1;
            found.push((date(at), shown(source, item, &own[at], wanted.summary)));
        }
    }
    found.sort_by(|(a, _), (b, _)| newest_first(*a, *b));
    found.into_iter().map(|(_, item)| item).collect()
}

/// For the order only: what claims to be of the future is of now.
fn when(item: &Item, now: Timestamp) -> Option<Timestamp> {
    item.published.or(item.updated).map(|at| at.min(now))
}

fn newest_first(a: Option<Timestamp>, b: Option<Timestamp>) -> std::cmp::Ordering {
    // `None` is less than any instant
    b.cmp(&a)
}

fn is_old(item: &Item, since: Option<Timestamp>) -> bool {
    let newest = item.published.max(item.updated);
    matches!((newest, since), (Some(newest), Some(since)) if newest < since)
}

fn is_home(feed: &Feed, link: &str) -> bool {
    feed.home.as_deref().is_some_and(|home| same_link(home) == same_link(link))
}

/// What makes two links the same: not the scheme, not the marks by which visitors are counted.
fn same_link(link: &str) -> String {
    let rest = link.split_once("://").map_or(link, |(_, rest)| rest);
    let rest = rest.strip_prefix("www.").unwrap_or(rest);
    let (rest, fragment) = rest.split_once('#').map_or((rest, ""), |(rest, fragment)| (rest, fragment));
    let (path, query) = rest.split_once('?').map_or((rest, ""), |(path, query)| (path, query));
    let kept: Vec<&str> =
        query.split('&').filter(|part| !part.is_empty() && !part.starts_with("utm_")).collect();
    format!("{}?{}#{fragment}", path.trim_end_matches('/'), kept.join("&"))
}

/// An id for each item, which stays when the item is edited, when others come and go, and when another
/// feed has the same.
fn ids_of(source: &Source<'_>) -> Vec<String> {
    let feed = source.feed;
    let mut behind: HashMap<&str, HashSet<Option<&str>>> = HashMap::new();
    let mut titles: HashMap<&str, HashSet<&str>> = HashMap::new();
    for item in &feed.items {
        if let Some(guid) = &item.guid {
            behind.entry(guid).or_default().insert(item.link.as_deref());
        } else if let Some(link) = &item.link {
            titles.entry(link).or_default().insert(&item.title);
        }
    }
    let id = |item: &Item| {
        // one that several items have, or that names the whole feed, is no id
        let guid = item.guid.as_deref().filter(|guid| behind[guid].len() == 1 && !is_home(feed, guid));
        let link = item.link.as_deref();
        let own_link =
            link.filter(|link| titles.get(link).is_none_or(|all| all.len() == 1) && !is_home(feed, link));
        let id = match (guid, own_link) {
            (Some(guid), _) if is_global(guid) => guid.to_owned(),
            (Some(guid), _) => format!("{}#{guid}", without_secrets(source.url)),
            (None, Some(link)) => link.to_owned(),
            (None, None) => {
                let date = item.published.map(|at| at.to_string()).unwrap_or_default();
                let parts = [
                    link.unwrap_or_default(),
                    &item.title,
                    if item.title.is_empty() { &item.summary } else { "" },
                    &date,
                ];
                return hashed(source.url, &parts.join("\n"));
            }
        };
        if id.len() > LONGEST_ID { hashed(source.url, &id) } else { id }
    };
    feed.items.iter().map(id).collect()
}

fn hashed(url: &str, text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let short: String = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}#{short}", without_secrets(url))
}

/// Is it an id for the whole world, such as `tag:…`, `urn:…` or an address? Others, such as `17`, are
/// numbers that only their feed knows.
fn is_global(guid: &str) -> bool {
    let Some((scheme, rest)) = guid.split_once(':') else { return false };
    let word = scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    word && rest.len() > 3 && scheme.as_bytes()[0].is_ascii_alphabetic()
}

fn shown(source: &Source<'_>, item: &Item, id: &str, summary: usize) -> Value {
    let mut out = Map::new();
    out.insert("id".into(), id.into());
    if let Some(link) = &item.link {
        out.insert("link".into(), link.as_str().into());
    }
    out.insert("title".into(), item.title.as_str().into());
    if summary > 0 && !item.summary.is_empty() {
        out.insert("summary".into(), text::shorter(&item.summary, summary).into());
    }
    for (key, at) in [("published", item.published.or(item.updated)), ("updated", item.updated)] {
        if let Some(at) = at {
            out.insert(key.into(), at.to_string().into());
        }
    }
    out.insert("source".into(), name_of(source).into());
    for (key, names) in [("authors", &item.authors), ("tags", &item.tags)] {
        if !names.is_empty() {
            out.insert(key.into(), json!(names));
        }
    }
    Value::Object(out)
}

/// An address as others may see it. Some hold a key, and results go to models and into records.
pub(super) fn without_secrets(url: &str) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.to_owned() };
    let hides = |part: &&str| {
        let name = part.split('=').next().unwrap_or_default().to_ascii_lowercase();
        ["token", "key", "secret", "auth", "pass", "sig"].iter().any(|word| name.contains(word))
    };
    let shown = query.split('&').map(|part| match part.split_once('=') {
        Some((name, _)) if hides(&part) => format!("{name}=…"),
        _ => part.to_owned(),
    });
    format!("{path}?{}", shown.collect::<Vec<_>>().join("&"))
}

/// What people call a source: its title, else its host.
pub(super) fn name_of(source: &Source<'_>) -> String {
    if let Some(title) = &source.feed.title {
        return text::shorter(title, 80).into_owned();
    }
    let host = Url::parse(source.url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or_else(|| source.url.to_owned())
}

#[cfg(test)]
mod tests {
    //! Tests of ids, doubles and order.
    use super::*;

    fn item(guid: &str, link: &str, title: &str, day: i8) -> Item {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let published = (day > 0).then(|| format!("2026-11-{day:02}T00:00:00Z").parse().expect("an instant"));
        Item { guid: some(guid), link: some(link), title: title.into(), published, ..Item::default() }
    }

    fn feed(items: Vec<Item>) -> Feed {
        Feed { home: Some("https://a.example/".into()), items, ..Feed::default() }
    }

    fn gathered(feeds: &[(&str, Feed)], change: impl Fn(&mut Wanted)) -> Vec<Value> {
        let sources: Vec<_> = feeds.iter().map(|(url, feed)| Source { url, feed }).collect();
        let now = "2026-11-24T00:00:00Z".parse().expect("an instant");
        let mut wanted = Wanted { since: None, per_source: 100, summary: 100, now };
        change(&mut wanted);
        all(&sources, &wanted)
    }

    fn column(items: &[Value], key: &str) -> Vec<String> {
        items.iter().map(|item| item[key].as_str().unwrap_or("-").to_owned()).collect()
    }

    const A: &str = "https://a.example/feed";

    #[test]
    fn ids_come_from_the_best_that_there_is() {
        let items = vec![
            item("tag:a.example,2026:1", "https://a.example/1", "global", 9),
            item("17", "https://a.example/2", "known to its feed only", 8),
            item("", "https://a.example/3", "a link", 7),
            item("", "", "nothing", 6),
            item("", "https://a.example/", "a link to everything", 5),
            item("https://a.example/", "https://a.example/6", "everything for an id", 4),
            item("same", "https://a.example/7", "an id for two", 3),
            item("same", "https://a.example/8", "an id for two", 2),
        ];
        let found = gathered(&[(A, feed(items.clone()))], |_| {});
        let ids = column(&found, "id");
        assert_eq!(ids[0], "tag:a.example,2026:1");
        assert_eq!(ids[1], "https://a.example/feed#17");
        assert_eq!(ids[2], "https://a.example/3");
        assert!(
            ids[3].starts_with("https://a.example/feed#") && ids[4].starts_with("https://a.example/feed#")
        );
        assert_eq!(ids[5..], ["https://a.example/6", "https://a.example/7", "https://a.example/8"]);
        // an edit changes none, neither does what else is there
        let edited: Vec<Item> = items
            .iter()
            .take(3)
            .cloned()
            .map(|mut item| {
                item.title += " (edited)";
                item.summary = "new".into();
                item.updated = item.published;
                item
            })
            .collect();
        assert_eq!(column(&gathered(&[(A, feed(edited))], |_| {}), "id"), ids[..3]);
        // another feed's 17 is another one
        let other = gathered(
            &[
                (A, feed(vec![items[1].clone()])),
                ("https://b.example/", feed(vec![item("17", "https://b.example/x", "other", 1)])),
            ],
            |_| {},
        );
        assert_eq!(column(&other, "id"), ["https://a.example/feed#17", "https://b.example/#17"]);
    }

    #[test]
    fn keys_in_addresses_stay_where_they_are() {
        for (url, shown) in [
            ("https://a.example/f?x=1&access_token=s3cret&y=2", "https://a.example/f?x=1&access_token=…&y=2"),
            ("https://a.example/f?Key=a=b", "https://a.example/f?Key=…"),
            ("https://a.example/f?x=1", "https://a.example/f?x=1"),
            ("https://a.example/token/f", "https://a.example/token/f"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
        let found = gathered(
            &[("https://a.example/f?token=s3cret", feed(vec![item("1", "", "x", 1), item("", "", "y", 1)]))],
            |_| {},
        );
        assert!(!json!(found).to_string().contains("s3cret"), "{found:?}");
    }

    #[test]
    fn one_story_of_two_feeds_is_told_once() {
        let first = feed(vec![item("1", "https://a.example/story", "first", 3)]);
        let second = feed(vec![
            item("x", "http://www.a.example/story/?utm_source=rss", "again", 4),
            item("y", "https://b.example/other?id=2", "other", 2),
        ]);
        let found = gathered(&[(A, first), ("https://b.example/feed", second)], |_| {});
        assert_eq!(column(&found, "title"), ["first", "other"]);
        // in one feed, ids decide: all items of a status page lead to the page
        let status = feed(vec![
            item("s1", "https://s.example/status", "down", 2),
            item("s2", "https://s.example/status", "up", 3),
            item("s2", "https://s.example/status", "up, once more", 1),
        ]);
        let found = gathered(&[(A, status)], |_| {});
        assert_eq!(column(&found, "title"), ["up", "down"]);
    }

    #[test]
    fn the_newest_come_first_and_the_old_not_at_all() {
        let mut ahead = item("5", "", "of the future", 1);
        ahead.published = Some("2099-01-01T00:00:00Z".parse().unwrap());
        let mut revised = item("6", "", "old but revised", 2);
        revised.updated = Some("2026-11-20T00:00:00Z".parse().unwrap());
        let items = vec![
            item("1", "", "no date", 0),
            item("2", "", "fourth", 4),
            item("3", "", "twenty-fourth", 24),
            item("4", "", "tenth", 10),
            ahead,
            revised,
        ];
        let found = gathered(&[(A, feed(items.clone()))], |_| {});
        let titles = ["twenty-fourth", "of the future", "tenth", "fourth", "old but revised", "no date"];
        assert_eq!(column(&found, "title"), titles);
        let since = Some("2026-11-10T00:00:00Z".parse().unwrap());
        let found = gathered(&[(A, feed(items.clone()))], |wanted| wanted.since = since);
        assert_eq!(
            column(&found, "title"),
            ["twenty-fourth", "of the future", "tenth", "old but revised", "no date"]
        );
        let found = gathered(&[(A, feed(items))], |wanted| wanted.per_source = 2);
        assert_eq!(column(&found, "title"), titles[..2]);
    }
}
