//! Which item is which: an id for each, that stays when the item is edited, when its feed changes its own ids,
//! and whatever else comes and goes beside it. Pure.
//!
//! Theory of operation. What a feed says of an item may be missing (`guid`), shared by several (one page as the link
//! of all), or different each time. So none of it alone decides. The items of the last answer, and those that left
//! lately, are kept with their ids (`Feed`); an item of a new answer is the one of them with which it has the most in
//! common, each of them for one item only (`TRAITS`, strongest first). What is none of them is born: it gets the best
//! id that nobody else has. Where it is in doubt whether two are one, they are two: reported twice is better than lost.
use super::gather::{is_home, same_link, without_secrets};
use super::item::{Feed, Item};
use crate::domain::distance;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// Longest id, in bytes.
const LONGEST_ID: usize = 512;
/// Most items that are remembered after they left.
const MOST_GONE: usize = 1000;
/// Characters of a summary by which an item is recognised.
const BEGINNING: usize = 80;
/// Of items with the same trait, so many are looked at.
const ALIKE: usize = 8;

/// What two items have in common: `g`uid, `l`ink, `t`itle, `d`ate, beginning of the `s`ummary. Strongest first.
const TRAITS: [&str; 17] =
    ["gltd", "glt", "gtd", "gld", "gl", "gt", "gd", "gs", "ltd", "lt", "ld", "ls", "l", "td", "t", "ds", "s"];

/// Gives each item its id. `before` is what was kept of the last answer.
pub(super) fn assign(feed: &mut Feed, before: Option<Feed>, url: &str) {
    feed.items.iter_mut().for_each(|item| item.id.clear());
    let mut known = before.unwrap_or_default();
    if known.items.iter().any(|item| item.id.is_empty()) {
        // kept before items had ids: they had these
        known.items.iter_mut().for_each(|item| item.id.clear());
        give_birth(&mut known, &[], url);
    }
    let mut ids = HashSet::new();
    let known: Vec<Item> =
        known.items.into_iter().chain(known.gone).filter(|item| ids.insert(item.id.clone())).collect();
    let shared = Shared::of(&[&known, &feed.items], feed);
    let mut taken = vec![false; known.len()];
    for kind in TRAITS {
        recognise(&mut feed.items, &known, &mut taken, kind, &shared);
    }
    copy_to_doubles(&mut feed.items);
    give_birth(feed, &known, url);
    let here: HashSet<&str> = feed.items.iter().map(|item| item.id.as_str()).collect();
    let left = known.into_iter().filter(|item| !here.contains(item.id.as_str())).take(MOST_GONE);
    feed.gone = left.map(slim).collect();
}

/// An item as it is remembered.
pub(super) fn slim(item: Item) -> Item {
    let summary = beginning(&item.summary).to_owned();
    Item { summary, authors: Vec::new(), tags: Vec::new(), ..item }
}

fn beginning(summary: &str) -> &str {
    summary.char_indices().nth(BEGINNING).map_or(summary, |(end, _)| &summary[..end])
}

/// Traits that several different items have, so that they are not a sign of being the same.
struct Shared {
    guids: HashSet<String>,
    links: HashSet<String>,
}

impl Shared {
    /// What neighbouring items have in common does not distinguish them.
    fn of(lists: &[&[Item]], feed: &Feed) -> Self {
        let (mut guids, mut links) = (HashSet::new(), HashSet::new());
        for list in lists {
            let (mut by_guid, mut by_link) = (HashMap::new(), HashMap::new());
            for item in *list {
                let link = item.link.as_deref().map(same_link);
                if let Some(guid) = &item.guid
                    && by_guid
                        .insert(guid, (link.clone(), &item.title))
                        .is_some_and(|other| other.0 != link || !is_edit(other.1, &item.title))
                {
                    guids.insert(guid.clone());
                }
                if let Some(link) = link
                    && by_link.insert(link.clone(), &item.title).is_some_and(|other| *other != item.title)
                {
                    links.insert(link);
                }
            }
        }
        guids.extend(feed.home.clone());
        links.extend(feed.home.as_deref().map(same_link));
        Self { guids, links }
    }

    fn has_guid(&self, item: &Item) -> bool {
        item.guid.as_ref().is_some_and(|guid| self.guids.contains(guid))
    }

    fn has_link(&self, item: &Item) -> bool {
        item.link.as_deref().is_some_and(|link| self.links.contains(&same_link(link)))
    }
}

/// Gives the ids of known items to those that have this in common with them.
fn recognise(items: &mut [Item], known: &[Item], taken: &mut [bool], kind: &str, shared: &Shared) {
    if items.iter().all(|item| !item.id.is_empty()) {
        return;
    }
    let mut alike: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, item) in known.iter().enumerate().filter(|(at, _)| !taken[*at]) {
        if let Some(text) = trait_of(item, kind) {
            let all = alike.entry(text).or_default();
            if all.len() < ALIKE {
                all.push(at);
            }
        }
    }
    if alike.is_empty() {
        return;
    }
    for item in items.iter_mut().filter(|item| item.id.is_empty()) {
        let Some(found) = trait_of(item, kind).and_then(|text| alike.get(&text)) else { continue };
        let one = found.iter().copied().find(|at| !taken[*at] && is_same(&known[*at], item, kind, shared));
        if let Some(at) = one {
            taken[at] = true;
            item.id.clone_from(&known[at].id);
        }
    }
}

/// An item that stands in an answer twice is one.
fn copy_to_doubles(items: &mut [Item]) {
    let whole = |item: &Item| ["gltd", "glt", "ltd", "lt"].iter().find_map(|kind| trait_of(item, kind));
    let known: HashMap<String, String> = items
        .iter()
        .filter(|item| !item.id.is_empty())
        .filter_map(|item| Some((whole(item)?, item.id.clone())))
        .collect();
    for item in items.iter_mut().filter(|item| item.id.is_empty()) {
        if let Some(id) = whole(item).and_then(|text| known.get(&text)) {
            item.id.clone_from(id);
        }
    }
}

/// What an item says of these traits; `None`: it does not have one that the others are worth nothing without.
fn trait_of(item: &Item, kind: &str) -> Option<String> {
    let mut text = String::new();
    for part in kind.chars() {
        text.push('\n');
        match part {
            'g' => text.push_str(item.guid.as_deref()?),
            // to have none is something in common as well, where there is a guid
            'l' if kind.contains('g') => {
                text.push_str(&item.link.as_deref().map(same_link).unwrap_or_default())
            }
            'l' => text.push_str(&same_link(item.link.as_deref()?)),
            't' if kind.contains('g') => text.push_str(&item.title),
            't' => text.push_str(Some(item.title.as_str()).filter(|title| !title.is_empty())?),
            'd' => text.push_str(&item.published?.to_string()),
            's' => text.push_str(Some(beginning(&item.summary)).filter(|text| !text.is_empty())?),
            _ => {}
        }
    }
    Some(text)
}

/// Is an item the known one with which it has these traits in common?
fn is_same(known: &Item, item: &Item, kind: &str, shared: &Shared) -> bool {
    let other_date = matches!((known.published, item.published), (Some(a), Some(b)) if a != b);
    let other_guid = matches!((&known.guid, &item.guid), (Some(a), Some(b)) if a != b);
    let other_link = known.link.is_some() || item.link.is_some();
    let same_date = known.published.is_some() && known.published == item.published;
    let same_text = !item.summary.is_empty() && beginning(&known.summary) == beginning(&item.summary);
    match kind {
        "gltd" | "gtd" => true,
        // one guid for all: only with more than that
        "glt" => !(shared.has_guid(item) && other_date),
        "gt" => !shared.has_guid(item) || same_date,
        "gld" | "gl" | "gd" | "gs" => !shared.has_guid(item),
        // the feed has made a new guid for it, or has just begun to make some
        "ltd" => !other_guid || !shared.has_link(item) || same_text,
        "lt" if other_guid => !other_date && !shared.has_link(item),
        "lt" => !(other_date && shared.has_link(item)),
        // edited
        "ld" | "ls" => !other_guid && !shared.has_link(item),
        "l" => !other_guid && !shared.has_link(item) && !other_date && is_edit(&known.title, &item.title),
        // without anything that names it
        "td" => !other_link && (!other_guid || same_date),
        "t" => !other_link && !other_date && (!other_guid || same_text),
        "ds" | "s" => !other_link && !other_guid && (kind == "ds" || known.title == item.title),
        _ => false,
    }
}

/// Is one title the other one with a mistake less, or with some words more?
fn is_edit(a: &str, b: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (mut few, mut many) = (words(a), words(b));
    if few.len() > many.len() {
        std::mem::swap(&mut few, &mut many);
    }
    if few == many {
        return true;
    }
    let has_number = |word: &String| word.chars().any(char::is_numeric);
    if few.len() == many.len() {
        let others: Vec<_> = few.iter().zip(&many).filter(|(a, b)| a != b).collect();
        let typo = |a: &str, b: &str| {
            let long = a.chars().count().min(b.chars().count()) >= 5;
            long && a.len() < 64 && b.len() < 64 && distance(a, b) <= 2
        };
        return others.len() <= 2
            && others.iter().all(|(a, b)| !has_number(a) && !has_number(b) && typo(a, b));
    }
    let mut left = few.iter().peekable();
    let more: Vec<&String> = many.iter().filter(|word| left.next_if(|next| next == word).is_none()).collect();
    !few.is_empty() && left.peek().is_none() && more.len() <= 3 && !more.iter().any(|word| has_number(word))
}

/// Gives an id to each item that has none: the best that nobody else has.
fn give_birth(feed: &mut Feed, known: &[Item], url: &str) {
    let shared = Shared::at_birth(feed, known);
    let mut ids: HashMap<String, usize> = HashMap::new();
    for (at, item) in feed.items.iter().enumerate().filter(|(_, item)| !item.id.is_empty()) {
        ids.insert(item.id.clone(), at);
    }
    let old: HashSet<&str> = known.iter().map(|item| item.id.as_str()).collect();
    for at in 0..feed.items.len() {
        let item = &feed.items[at];
        if !item.id.is_empty() {
            continue;
        }
        let is_free = |id: &String| match ids.get(id) {
            // the same item once more
            Some(other) => is_double(&feed.items[*other], item),
            None => !old.contains(id.as_str()),
        };
        let mut wanted = candidates(item, feed.home.as_deref(), url, &shared);
        let id = wanted.find(is_free).expect("they have no end");
        drop(wanted);
        ids.entry(id.clone()).or_insert(at);
        feed.items[at].id = id;
    }
}

/// Do two items of one answer say the same?
fn is_double(a: &Item, b: &Item) -> bool {
    let same_link = a.link.as_deref().map(same_link) == b.link.as_deref().map(same_link);
    // with nothing but one page for all, what happened again is another item
    let other_date = matches!((a.published, b.published), (Some(a), Some(b)) if a != b);
    same_link && a.guid == b.guid && is_edit(&a.title, &b.title) && (a.guid.is_some() || !other_date)
}

/// Ids for an item, best first; without end.
fn candidates<'a>(
    item: &'a Item,
    home: Option<&str>,
    url: &'a str,
    shared: &Shared,
) -> impl Iterator<Item = String> + use<'a> {
    let is_home = |text: &str| home.is_some_and(|home| is_home(home, text));
    let guid = item.guid.as_deref().filter(|guid| !shared.guids.contains(*guid) && !is_home(guid));
    let link = item.link.as_deref().filter(|link| !shared.links.contains(*link) && !is_home(link));
    let by_guid = guid.map(|guid| match is_global(guid) {
        true => guid.to_owned(),
        false => format!("{}#{guid}", without_secrets(url)),
    });
    let by_link = link.map(str::to_owned);
    let date = item.published.map(|at| at.to_string()).unwrap_or_default();
    let text = if item.title.is_empty() { item.summary.as_str() } else { "" };
    let parts = [item.link.as_deref().unwrap_or_default(), &item.title, text, &date].join("\n");
    let with_guid = format!("{parts}\n{}", item.guid.as_deref().unwrap_or_default());
    let bounded = move |id: String| if id.len() > LONGEST_ID { hashed(url, &id) } else { id };
    let numbered = (2..).map({
        let with_guid = with_guid.clone();
        move |number: u32| hashed(url, &format!("{with_guid}\n{number}"))
    });
    by_guid
        .into_iter()
        .chain(by_link)
        .map(bounded)
        .chain([hashed(url, &parts), hashed(url, &with_guid)])
        .chain(numbered)
}

impl Shared {
    /// What is no id for a new item: guids with several links, links with several titles.
    fn at_birth(feed: &Feed, known: &[Item]) -> Self {
        let mut behind: HashMap<&str, HashSet<Option<&str>>> = HashMap::new();
        let mut titles: HashMap<&str, HashSet<&str>> = HashMap::new();
        for item in feed.items.iter().chain(known) {
            if let Some(guid) = &item.guid {
                behind.entry(guid).or_default().insert(item.link.as_deref());
            } else if let Some(link) = &item.link {
                titles.entry(link).or_default().insert(&item.title);
            }
        }
        Self { guids: several(behind), links: several(titles) }
    }
}

fn several<T>(found: HashMap<&str, HashSet<T>>) -> HashSet<String> {
    found.into_iter().filter(|(_, all)| all.len() > 1).map(|(key, _)| key.to_owned()).collect()
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

#[cfg(test)]
mod tests;
