//! Merges the items of several feeds into one list: without duplicates, newest first. Pure.
use super::item::{Feed, Item};
use super::text;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// A feed, and the address that it was requested by.
pub(super) struct Source<'a> {
    pub(super) url: &'a str,
    pub(super) feed: &'a Feed,
}

/// Which items are wanted, and how they are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct ItemFilter {
    /// Items with an earlier date are left out. Those without a date are not.
    pub(super) since: Option<Timestamp>,
    /// The newest of each source, at most this many.
    pub(super) per_source: usize,
    /// Maximum number of characters of a summary.
    pub(super) summary: usize,
    /// Dates in the future are treated as this.
    pub(super) now: Timestamp,
}

/// The items of a result, newest first; items without a date come last.
#[derive(Debug, Default)]
pub(super) struct MergedItems {
    pub(super) items: Vec<Value>,
    /// Duplicates of an item, by its id: from other feeds, with other ids or links.
    pub(super) doubles: HashMap<String, Vec<Value>>,
}

/// One story, in one feed or several.
struct Story {
    /// Feed and item, each with whether it is wanted; in the order of the feeds.
    members: Vec<(usize, usize, bool)>,
}

/// Collects all wanted items. A story in several feeds is one item: that of the first feed that has it.
pub(super) fn all(sources: &[Source<'_>], wanted: &ItemFilter) -> MergedItems {
    let stories = stories(sources, wanted);
    let mut found: Vec<(Option<Timestamp>, Value, Vec<Value>)> = Vec::new();
    for story in stories {
        let Some((of, at, _)) = story.members.iter().find(|(.., wanted)| *wanted) else { continue };
        let (source, item) = (&sources[*of], &sources[*of].feed.items[*at]);
        let others = story.members.iter().map(|(of, at, _)| (&sources[*of], &sources[*of].feed.items[*at]));
        let others = others.filter(|(_, other)| other.id != item.id || other.link != item.link);
        let others = others.map(|(source, other)| shown(source, other, 0)).collect();
        found.push((date(item, wanted.now), shown(source, item, wanted.summary), others));
    }
    found.sort_by(|(a, ..), (b, ..)| newest_first(*a, *b));
    let mut gathered = MergedItems::default();
    for (_, item, others) in found {
        if let (false, Some(id)) = (others.is_empty(), item["id"].as_str()) {
            gathered.doubles.insert(id.to_owned(), others);
        }
        gathered.items.push(item);
    }
    gathered
}

fn stories(sources: &[Source<'_>], wanted: &ItemFilter) -> Vec<Story> {
    let mut stories: Vec<Story> = Vec::new();
    let mut by_id: HashMap<&str, usize> = HashMap::new();
    // Which source and story has the link: several items of one feed may share a link, but two feeds with the
    // same link report one story.
    let mut by_link: HashMap<String, (usize, usize)> = HashMap::new();
    for (number, source) in sources.iter().enumerate() {
        let items = &source.feed.items;
        let links = own_links(source.feed);
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by(|a, b| newest_first(date(&items[*a], wanted.now), date(&items[*b], wanted.now)));
        let mut taken = 0;
        for at in order {
            let item = &items[at];
            let link = links[at].as_ref();
            let elsewhere = link.and_then(|link| by_link.get(link)).filter(|(of, _)| *of != number);
            let known = by_id.get(item.id.as_str()).copied().or(elsewhere.map(|(_, story)| *story));
            let story = known.unwrap_or(stories.len());
            if story == stories.len() {
                stories.push(Story { members: Vec::new() });
            }
            let members = &mut stories[story].members;
            if members.iter().any(|(of, at, _)| *of == number && items[*at].id == item.id) {
                continue; // a duplicate within the feed
            }
            let is_wanted = taken < wanted.per_source && !is_old(item, wanted.since);
            if is_wanted && members.iter().all(|(.., wanted)| !wanted) {
                taken += 1;
            }
            members.push((number, at, is_wanted));
            by_id.entry(&item.id).or_insert(story);
            if let Some(link) = link {
                by_link.entry(link.clone()).or_insert((number, story));
            }
        }
    }
    stories
}

/// Returns the link of each item, unless another item or the feed itself has the same link.
fn own_links(feed: &Feed) -> Vec<Option<String>> {
    let links = feed.items.iter().map(|item| item.link.as_deref().map(same_link));
    let links: Vec<Option<String>> = links.collect();
    let home = feed.home.as_deref().map(same_link);
    let mut ids: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (link, item) in links.iter().zip(&feed.items) {
        if let Some(link) = link {
            ids.entry(link).or_default().insert(&item.id);
        }
    }
    let own = |link: &Option<String>| {
        link.clone().filter(|link| Some(link) != home.as_ref() && ids[link.as_str()].len() == 1)
    };
    links.iter().map(own).collect()
}

/// For sorting only: dates in the future count as now.
fn date(item: &Item, now: Timestamp) -> Option<Timestamp> {
    item.published.or(item.updated).map(|at| at.min(now))
}

fn newest_first(a: Option<Timestamp>, b: Option<Timestamp>) -> std::cmp::Ordering {
    // `None` is less than any instant.
    b.cmp(&a)
}

fn is_old(item: &Item, since: Option<Timestamp>) -> bool {
    let newest = item.published.max(item.updated);
    matches!((newest, since), (Some(newest), Some(since)) if newest < since)
}

pub(super) fn is_home(home: &str, link: &str) -> bool {
    same_link(home) == same_link(link)
}

/// Normalizes a link for comparison: without the scheme and tracking parameters.
pub(super) fn same_link(link: &str) -> String {
    let rest = link.split_once("://").map_or(link, |(_, rest)| rest);
    let rest = rest.strip_prefix("www.").unwrap_or(rest);
    let (rest, fragment) = rest.split_once('#').map_or((rest, ""), |(rest, fragment)| (rest, fragment));
    let (path, query) = rest.split_once('?').map_or((rest, ""), |(path, query)| (path, query));
    let kept: Vec<&str> =
        query.split('&').filter(|part| !part.is_empty() && !part.starts_with("utm_")).collect();
    format!("{}?{}#{fragment}", path.trim_end_matches('/'), kept.join("&"))
}

fn shown(source: &Source<'_>, item: &Item, summary: usize) -> Value {
    let mut out = Map::new();
    out.insert("id".into(), item.id.as_str().into());
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

/// Returns an address that can be shown. Some contain a key, and results go to models and into records.
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

/// Returns the display name of a source: its title, else its host.
pub(super) fn name_of(source: &Source<'_>) -> String {
    if let Some(title) = &source.feed.title {
        return text::shorter(title, 80).into_owned();
    }
    let host = Url::parse(source.url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or_else(|| source.url.to_owned())
}

#[cfg(test)]
mod tests {
    //! Tests of duplicates and order, and of the ids of new items.
    use super::super::identity;
    use super::*;

    fn item(guid: &str, link: &str, title: &str, day: i8) -> Item {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let published = (day > 0).then(|| format!("2026-11-{day:02}T00:00:00Z").parse().expect("an instant"));
        Item { guid: some(guid), link: some(link), title: title.into(), published, ..Item::default() }
    }

    fn feed(items: Vec<Item>) -> Feed {
        Feed { home: Some("https://a.example/".into()), items, ..Feed::default() }
    }

    fn gathered(feeds: &[(&str, Feed)], change: impl Fn(&mut ItemFilter)) -> Vec<Value> {
        let mut feeds = feeds.to_vec();
        feeds.iter_mut().for_each(|(url, feed)| identity::assign(feed, None, url));
        let sources: Vec<_> = feeds.iter().map(|(url, feed)| Source { url, feed }).collect();
        let now = "2026-11-24T00:00:00Z".parse().expect("an instant");
        let mut wanted = ItemFilter { since: None, per_source: 100, summary: 100, now };
        change(&mut wanted);
        all(&sources, &wanted).items
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
        // An edit does not change ids, nor do other items.
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
        // The same id in another feed is a different item.
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
        // Within one feed, ids decide: all items of a status page link to that page.
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
