//! Identity of items: each gets an id that is stable when the item is edited, when its feed changes its own
//! ids, and whatever other items are added or removed. Pure.
//!
//! Theory of operation. What a feed says about an item may be missing (`guid`), shared by several (one page
//! as the link of all), or different each time. So no property alone decides. The items of the last answer,
//! and those that recently disappeared, are stored with their ids (`Feed`); an item of a new answer is
//! matched with the known item with which it has the most in common, each of them with one item only
//! (`TRAITS`, strongest first). An item without a match is new: it gets the best id that is not taken. If it
//! is in doubt whether two items are the same, they are different: reported twice is better than lost.
use super::gather::{is_home, same_link, without_secrets};
use super::item::{Feed, Item};
use crate::domain::distance;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// Maximum length of an id, in bytes.
const MAX_ID_BYTES: usize = 512;
/// Maximum number of items remembered after they disappeared.
const MAX_REMEMBERED_ITEMS: usize = 1000;
/// Number of characters of a summary that are compared.
const COMPARED_SUMMARY_CHARS: usize = 80;
/// Maximum number of known items with the same trait that are compared.
const MAX_COMPARED_ITEMS: usize = 8;

/// What two items have in common: `g`uid, `l`ink, `t`itle, `d`ate, beginning of the `s`ummary. Strongest
/// first.
const TRAITS: [&str; 17] =
    ["gltd", "glt", "gtd", "gld", "gl", "gt", "gd", "gs", "ltd", "lt", "ld", "ls", "l", "td", "t", "ds", "s"];

/// Gives each item its id. `before` is what was stored of the last answer.
pub(super) fn assign(feed: &mut Feed, before: Option<Feed>, url: &str) {
    feed.items.iter_mut().for_each(|item| item.id.clear());
    let mut known = before.unwrap_or_default();
    if known.items.iter().any(|item| item.id.is_empty()) {
        // Stored before items had ids: these would have been theirs.
        known.items.iter_mut().for_each(|item| item.id.clear());
        assign_new_ids(&mut known, &[], url);
    }
    let mut ids = HashSet::new();
    let known: Vec<Item> =
        known.items.into_iter().chain(known.gone).filter(|item| ids.insert(item.id.clone())).collect();
    let shared = Shared::of(&[&known, &feed.items], feed);
    let mut taken = vec![false; known.len()];
    for kind in TRAITS {
        match_known(&mut feed.items, &known, &mut taken, kind, &shared);
    }
    copy_to_doubles(&mut feed.items);
    assign_new_ids(feed, &known, url);
    let here: HashSet<&str> = feed.items.iter().map(|item| item.id.as_str()).collect();
    let left = known.into_iter().filter(|item| !here.contains(item.id.as_str())).take(MAX_REMEMBERED_ITEMS);
    feed.gone = left.map(without_details).collect();
}

/// Reduces an item to what is remembered.
pub(super) fn without_details(item: Item) -> Item {
    let summary = beginning(&item.summary).to_owned();
    Item { summary, authors: Vec::new(), tags: Vec::new(), ..item }
}

fn beginning(summary: &str) -> &str {
    summary.char_indices().nth(COMPARED_SUMMARY_CHARS).map_or(summary, |(end, _)| &summary[..end])
}

/// Traits that several different items have, so that they do not identify one.
struct Shared {
    guids: HashSet<String>,
    links: HashSet<String>,
}

impl Shared {
    /// Finds traits that several items of one list share, which do not distinguish them.
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

/// Gives the ids of known items to those that have these traits in common with them.
fn match_known(items: &mut [Item], known: &[Item], taken: &mut [bool], kind: &str, shared: &Shared) {
    if items.iter().all(|item| !item.id.is_empty()) {
        return;
    }
    let mut alike: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, item) in known.iter().enumerate().filter(|(at, _)| !taken[*at]) {
        if let Some(text) = trait_of(item, kind) {
            let all = alike.entry(text).or_default();
            if all.len() < MAX_COMPARED_ITEMS {
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

/// Gives an item that occurs twice in an answer the same id.
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

/// Returns the values of these traits; `None` if one is missing that is required for a match.
fn trait_of(item: &Item, kind: &str) -> Option<String> {
    let mut text = String::new();
    for part in kind.chars() {
        text.push('\n');
        match part {
            'g' => text.push_str(item.guid.as_deref()?),
            // Having no link is a trait as well, if there is a guid.
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

/// Returns whether an item is the known one with which it has these traits in common.
fn is_same(known: &Item, item: &Item, kind: &str, shared: &Shared) -> bool {
    let other_date = matches!((known.published, item.published), (Some(a), Some(b)) if a != b);
    let other_guid = matches!((&known.guid, &item.guid), (Some(a), Some(b)) if a != b);
    let other_link = known.link.is_some() || item.link.is_some();
    let same_date = known.published.is_some() && known.published == item.published;
    let same_text = !item.summary.is_empty() && beginning(&known.summary) == beginning(&item.summary);
    match kind {
        "gltd" | "gtd" => true,
        // All items have the same guid: a match requires more than that.
        "glt" => !(shared.has_guid(item) && other_date),
        "gt" => !shared.has_guid(item) || same_date,
        "gld" | "gl" | "gd" | "gs" => !shared.has_guid(item),
        // The feed has assigned a new guid to it, or has just started to assign guids.
        "ltd" => !other_guid || !shared.has_link(item) || same_text,
        "lt" if other_guid => !other_date && !shared.has_link(item),
        "lt" => !(other_date && shared.has_link(item)),
        // Edited.
        "ld" | "ls" => !other_guid && !shared.has_link(item),
        "l" => !other_guid && !shared.has_link(item) && !other_date && is_edit(&known.title, &item.title),
        // Without any identifier.
        "td" => !other_link && (!other_guid || same_date),
        "t" => !other_link && !other_date && (!other_guid || same_text),
        "ds" | "s" => !other_link && !other_guid && (kind == "ds" || known.title == item.title),
        _ => false,
    }
}

/// Returns whether one title is the other one with a typo corrected, or with a few words added.
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

/// Gives an id to each item that has none: the best one that is not taken.
fn assign_new_ids(feed: &mut Feed, known: &[Item], url: &str) {
    let shared = Shared::for_new_ids(feed, known);
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
            // The same item occurs twice.
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

/// Returns whether two items of one answer are the same.
fn is_double(a: &Item, b: &Item) -> bool {
    let same_link = a.link.as_deref().map(same_link) == b.link.as_deref().map(same_link);
    // If all items share one page, a different date means a different item.
    let other_date = matches!((a.published, b.published), (Some(a), Some(b)) if a != b);
    same_link && a.guid == b.guid && is_edit(&a.title, &b.title) && (a.guid.is_some() || !other_date)
}

/// Returns ids for an item, best first; an endless sequence.
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
    let bounded = move |id: String| if id.len() > MAX_ID_BYTES { hashed(url, &id) } else { id };
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
    /// Finds what can't identify a new item: guids with several links, links with several titles.
    fn for_new_ids(feed: &Feed, known: &[Item]) -> Self {
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

/// Returns whether a guid is globally unique, such as `tag:…`, `urn:…` or an address. Others, such as `17`,
/// are only unique within their feed.
fn is_global(guid: &str) -> bool {
    let Some((scheme, rest)) = guid.split_once(':') else { return false };
    let word = scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    word && rest.len() > 3 && scheme.as_bytes()[0].is_ascii_alphabetic()
}

#[cfg(test)]
mod tests;
