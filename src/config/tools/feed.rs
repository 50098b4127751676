//! Settings of `[tools.…]` tables of type "feed", and arguments of calls of `feed`: which addresses, and
//! which of their items.
use super::http::{ALLOW_PRIVATE, private_hosts};
use crate::config::duration::parse_duration;
use crate::config::keys::{Key, Kind, key};
use crate::config::values::{needs, size_up_to};
use crate::config::walk::{Item, Section};
use crate::domain::{FeedArgs, FeedLogin, FeedSettings, HostPattern, Since, ToolKind};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use std::collections::BTreeMap;

/// Keys that are also arguments of `feed`.
const ARGS: &[Key] = &[
    key("urls", Kind::Texts, "addresses of RSS, Atom or JSON feeds"),
    key("max_items", Kind::Whole, "of a result: the newest; default {}").with(&[FeedArgs::MAX_ITEMS]),
    key("max_per_source", Kind::Whole, "of each source: the newest; default all"),
    key("since", Kind::Any, "items with an older date are left out: a duration before now, or a time"),
    key("max_summary", Kind::Whole, "characters of a summary; default {}, at most {}, 0 for none")
        .with(&[FeedArgs::MAX_SUMMARY, FeedArgs::LARGEST_MAX_SUMMARY]),
];
/// Keys of a source with a login.
const SOURCE: &[Key] = &[
    key("url", Kind::Text, "its address"),
    key("username", Kind::TextOrSecret, "the user"),
    key("password", Kind::Secret, "the password; sent to this address, and not on to other hosts"),
];
pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::Feed.as_str()]), "the built-in tool"),
    ARGS[0],
    ARGS[1],
    ARGS[2],
    ARGS[3],
    ARGS[4],
    key("sources", Kind::Tables(SOURCE), "more addresses, each with a login (basic authentication)"),
    ALLOW_PRIVATE,
    key("headers", Kind::Texts2, "sent to each of `urls` and `sources`, and not on to other hosts"),
    key("timeout", Kind::Duration, "one source; default {} s")
        .with(&[FeedSettings::TIMEOUT.as_secs().unsigned_abs()]),
    key("max_bytes", Kind::Size, "of one source; default {} MiB, at most {} MiB")
        .with(&[FeedSettings::MAX_BYTES >> 20, FeedSettings::LARGEST_MAX_BYTES >> 20]),
];

const EXAMPLE: &str = "urls = [\"https://example.org/feed.xml\"]";

/// Parses a table.
pub(in crate::config) fn settings(section: &Section<'_>) -> Option<FeedSettings> {
    let sources = section.get("sources");
    let mut addresses = match section.get("urls") {
        Some(list) => urls(list, true)?,
        None if sources.is_some() => Vec::new(),
        None => {
            needs(section, "feed", "urls", EXAMPLE);
            Vec::new()
        }
    };
    let logins = match sources {
        Some(list) => logins(list, &mut addresses)?,
        None => BTreeMap::new(),
    };
    let urls = addresses.into_iter().map(str::to_owned).collect();
    Some(FeedSettings {
        fixed: FeedArgs { urls: Some(urls), ..bounds(section) },
        allow_private: private_hosts(section),
        logins,
        headers: section.headers(),
        timeout: section.positive("timeout").unwrap_or(FeedSettings::TIMEOUT),
        max_bytes: size_up_to(section, "max_bytes", FeedSettings::LARGEST_MAX_BYTES)
            .unwrap_or(FeedSettings::MAX_BYTES),
    })
}

/// Parses the arguments of a call of `tool`. `settings`: those of its table, if it has one.
pub(in crate::config) fn args(
    tool: Item<'_>,
    args: Option<Item<'_>>,
    settings: Option<&FeedSettings>,
) -> Option<FeedArgs> {
    let hint = format!("args = {{ {EXAMPLE} }}");
    let missing = || tool.refuse_with("`feed` needs `args` with `urls`".into(), hint.clone());
    let Some(args) = args else {
        return if settings.is_some() { Some(FeedArgs::default()) } else { missing() };
    };
    let section = args.section(ARGS)?;
    let urls = match (section.get("urls"), settings) {
        (Some(list), None) => Some(urls(list, false)?.into_iter().map(str::to_owned).collect()),
        (Some(list), Some(_)) => {
            return list.refuse_with(
                "the addresses of this tool are fixed in its table".into(),
                "add them there, or use tool = \"feed\"".into(),
            );
        }
        (None, None) if section.misspelled.contains(&"urls") => return None,
        (None, None) => return missing(),
        (None, Some(_)) => None,
    };
    let wanted = FeedArgs { urls, ..bounds(&section) };
    let most = settings.and_then(|settings| settings.fixed.max_items);
    if let (Some(most), Some(items), Some(item)) = (most, wanted.max_items, section.get("max_items"))
        && items > most
    {
        item.refuse::<()>(format!("the table of this tool allows at most {most} items"));
    }
    Some(wanted)
}

fn bounds(section: &Section<'_>) -> FeedArgs {
    let whole = |key: &'static str, least, most| {
        let (number, item) = (section.whole(key, least)?, section.get(key)?);
        if number > most {
            item.refuse::<()>(format!("`{key}` is at most {most}"));
        }
        Some(number)
    };
    FeedArgs {
        urls: None,
        max_items: whole("max_items", 1, FeedArgs::LARGEST_MAX_ITEMS),
        max_per_source: whole("max_per_source", 1, FeedArgs::LARGEST_MAX_ITEMS),
        since: section.get("since").and_then(since),
        max_summary: whole("max_summary", 0, FeedArgs::LARGEST_MAX_SUMMARY),
    }
}

/// Parses seconds before now, or a time.
fn since(item: Item<'_>) -> Option<Since> {
    if let toml::de::DeValue::Datetime(at) = item.value.get_ref() {
        return Some(Since::Text(at.to_string()));
    }
    if item.value.get_ref().is_integer() {
        return item.whole(1).map(|secs| Since::Seconds(i64::try_from(secs).unwrap_or(i64::MAX)));
    }
    let text = item.text()?;
    if let Ok(span) = parse_duration(text) {
        return Some(Since::Seconds(span.as_secs()));
    }
    let is_time =
        text.parse::<Timestamp>().is_ok() || text.parse::<DateTime>().is_ok() || text.parse::<Date>().is_ok();
    if is_time || text.contains('{') {
        return Some(Since::Text(text.to_owned()));
    }
    item.refuse_with(
        format!("`{text}` is neither a duration nor a time"),
        "write \"36h\", \"7d\" or \"2026-11-24T08:00:00Z\"".into(),
    )
}

fn too_many(what: &str, count: usize) -> String {
    format!("{what} {count} addresses, and {} are the most", FeedArgs::MAX_URLS)
}

/// Parses the addresses. `fixed`: they may not contain placeholders.
fn urls<'a>(list: Item<'a>, fixed: bool) -> Option<Vec<&'a str>> {
    let items = list.items()?;
    if items.is_empty() {
        return list.refuse_with("`urls` is empty".into(), EXAMPLE.into());
    }
    if items.len() > FeedArgs::MAX_URLS {
        return list.refuse(too_many("`urls` has", items.len()));
    }
    let mut all: Vec<&str> = Vec::new();
    for item in items {
        address(item, fixed, &mut all);
    }
    Some(all)
}

fn address<'a>(item: Item<'a>, fixed: bool, all: &mut Vec<&'a str>) -> Option<&'a str> {
    let text = item.text()?;
    if let Err((message, hint)) = check_url(text, fixed) {
        item.refuse_with::<()>(message, hint);
    }
    if all.contains(&text) {
        item.refuse_with::<()>(format!("`{text}` stands here twice"), "one of them is enough".into());
    }
    all.push(text);
    Some(text)
}

/// Parses sources with a login; their addresses are appended to the others.
fn logins<'a>(list: Item<'a>, addresses: &mut Vec<&'a str>) -> Option<BTreeMap<String, FeedLogin>> {
    let items = list.items()?;
    if items.len() + addresses.len() > FeedArgs::MAX_URLS {
        return list.refuse(too_many("there are", items.len() + addresses.len()));
    }
    let mut all = BTreeMap::new();
    for item in items {
        let Some(section) = item.section(SOURCE) else { continue };
        let [url, user, password] = ["url", "username", "password"].map(|key| {
            if section.get(key).is_none() {
                let example = "{ url = \"https://example.org/feed\", username = \"me\", password = { env = \"NAME\" } }";
                item.refuse_with::<()>(format!("a source with a login needs `{key}`"), example.into());
            }
            section.get(key)
        });
        let Some(url) = url.and_then(|item| address(item, true, addresses)) else { continue };
        let (Some(username), Some(password)) =
            (user.and_then(|item| item.text_or_secret()), password.and_then(|item| item.secret()))
        else {
            continue;
        };
        all.insert(url.to_owned(), FeedLogin { username, password });
    }
    Some(all)
}

/// Checks that this is a valid address. An error has a message and advice.
fn check_url(text: &str, fixed: bool) -> Result<(), (String, String)> {
    let refuse = |what: &str, hint: String| Err((format!("`{text}` {what}"), hint));
    if text.contains('{') && text.contains('}') {
        return if fixed {
            refuse(
                "has a place to fill, and a table is fixed",
                "give such addresses to tool = \"feed\" as `args`".into(),
            )
        } else {
            Ok(())
        };
    }
    let lower = text.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")) else {
        let bare = lower.split_once(':').filter(|(_, rest)| rest.starts_with("//"));
        return match bare {
            Some(("feed" | "rss" | "htps" | "htp" | "http" | "https", rest)) => {
                refuse("is not a web address", format!("write \"https:{rest}\""))
            }
            Some((scheme, _)) => refuse(
                &format!("begins with {scheme}:, and feeds are read over http:// and https:// only"),
                "for a file, serve its folder on this machine".into(),
            ),
            None => refuse(
                "does not begin with https:// or http://",
                format!("write \"https://{}\"", text.trim_start_matches('/')),
            ),
        };
    };
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return refuse("has characters that no address has", "write a blank as %20".into());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return refuse(
            "names a user or a password",
            "use a [tools.…] table with sources = [{ url = \"https://…\", username = \"me\", password = { env = \
             \"NAME\" } }]"
                .into(),
        );
    }
    if authority.is_empty() {
        return refuse("names no host", "write \"https://example.org/feed.xml\"".into());
    }
    if authority.is_ascii() && !authority.starts_with("*.") {
        return HostPattern::parse(authority)
            .map(drop)
            .map_err(|(what, hint)| (format!("`{text}`: the host {what}"), hint));
    }
    if authority.starts_with("*.") {
        return refuse("is many hosts", "name each feed by itself".into());
    }
    Ok(())
}
