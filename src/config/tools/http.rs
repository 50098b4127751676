//! Settings of `[tools.…]` tables of type "http": where requests may go, and what goes with them.
use crate::config::keys::{Key, Kind, key};
use crate::config::values::{needs, size_up_to};
use crate::config::walk::{Item, Section};
use crate::domain::{HostPattern, HttpMethod, HttpSettings, PrivateHost, ToolKind};

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::Http.as_str()]), "the built-in tool"),
    key("hosts", Kind::Texts, "where requests may go: a host, host:port, or *.example.org"),
    ALLOW_PRIVATE,
    key("methods", Kind::Texts, "allowed methods; default GET and HEAD"),
    key("headers", Kind::Texts2, "sent with each request, and not on to other hosts"),
    key("max_bytes", Kind::Size, "largest answer; default {} MiB, at most {} MiB")
        .with(&[HttpSettings::MAX_BYTES >> 20, HttpSettings::LARGEST_MAX_BYTES >> 20]),
    key("https_only", Kind::Flag, "true: no plain HTTP, except to private hosts"),
];

pub(in crate::config) const ALLOW_PRIVATE: Key = key(
    "allow_private",
    Kind::Texts,
    "hosts that may be asked although their addresses are private: nas.lan=10.1.2.0/24, within this range only; nas.lan, \
     wherever it is; 10.1.2.3:8080. Addresses where clouds hand out keys (169.254.169.254, …) must be written out",
);

pub(in crate::config) fn settings(section: &Section<'_>) -> HttpSettings {
    let default = HttpSettings::default();
    let private = private_hosts(section);
    // Private hosts are allowed hosts too, so a tool for them alone needs no other.
    let hosts = match section.get("hosts") {
        Some(item) => patterns(item),
        None if private.is_empty() => {
            needs(section, "http", "hosts", "hosts = [\"api.github.com\", \"*.example.org\"]");
            Vec::new()
        }
        None => Vec::new(),
    };
    if let (true, true, Some(item)) = (hosts.is_empty(), private.is_empty(), section.get("hosts")) {
        let empty = item.value.get_ref().as_array().is_some_and(|list| list.is_empty());
        if empty {
            item.refuse_with::<()>("`hosts` is empty".into(), "hosts = [\"api.github.com\"]".into());
        }
    }
    HttpSettings {
        hosts,
        allow_private: private,
        methods: methods(section).unwrap_or(default.methods),
        headers: section.headers(),
        max_bytes: size_up_to(section, "max_bytes", HttpSettings::LARGEST_MAX_BYTES)
            .unwrap_or(default.max_bytes),
        https_only: section.flag("https_only").unwrap_or(default.https_only),
    }
}

fn patterns(list: Item<'_>) -> Vec<HostPattern> {
    parsed(list, HostPattern::parse)
}

/// Parses `allow_private`.
pub(in crate::config) fn private_hosts(section: &Section<'_>) -> Vec<PrivateHost> {
    section.get("allow_private").map(|list| parsed(list, PrivateHost::parse)).unwrap_or_default()
}

fn parsed<T>(list: Item<'_>, parse: fn(&str) -> Result<T, (String, String)>) -> Vec<T> {
    let mut all = Vec::new();
    for item in list.items().unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        match parse(text) {
            Ok(host) => all.push(host),
            Err((message, hint)) => drop(item.refuse_with::<()>(message, hint)),
        }
    }
    all
}

fn methods(section: &Section<'_>) -> Option<Vec<HttpMethod>> {
    let list = section.get("methods")?;
    let items = list.items().unwrap_or_default();
    if items.is_empty() {
        list.refuse_with::<()>("`methods` is empty".into(), "leave it out for GET and HEAD".into());
    }
    let mut all: Vec<HttpMethod> =
        items.iter().filter_map(|item| item.word_among(HttpSettings::METHODS)).collect();
    all.sort_unstable();
    all.dedup();
    Some(all)
}
