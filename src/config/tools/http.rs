//! Settings of `[tools.…]` tables of type "http": where requests may go, and what goes with them.
use crate::config::keys::{Key, Kind, key};
use crate::config::values::{needs, size_up_to};
use crate::config::walk::{Item, Section};
use crate::domain::{HostPattern, HttpMethod, HttpSettings, PrivateHost, TextOrSecret, ToolKind};
use std::collections::BTreeMap;

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

/// Headers that the connection itself needs, or that would change whom a request reaches.
const OURS: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "expect",
    "proxy-authorization",
    "proxy-connection",
    "accept-encoding",
    "idempotency-key",
];

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
        headers: headers(section),
        max_bytes: size_up_to(section, "max_bytes", HttpSettings::LARGEST_MAX_BYTES)
            .unwrap_or(default.max_bytes),
        https_only: section.flag("https_only").unwrap_or(default.https_only),
    }
}

fn patterns(list: Item<'_>) -> Vec<HostPattern> {
    parsed(list, HostPattern::parse)
}

/// `allow_private`
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

pub(in crate::config) fn headers(section: &Section<'_>) -> BTreeMap<String, TextOrSecret> {
    let mut all = BTreeMap::new();
    let Some(table) = section.get("headers").and_then(|item| item.table()) else { return all };
    for (name, value) in table {
        let text = name.get_ref().as_ref();
        let refuse = |message: String| section.file.error(Some(name.span()), message, None);
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || !text.bytes().all(token) {
            refuse(format!("`{text}` can't name a header"));
        } else if OURS.contains(&text.to_ascii_lowercase().as_str()) {
            refuse(format!("the header `{text}` is made for each request and can't be set"));
        }
        let item = Item { file: section.file, value, name: "headers" };
        let Some(value) = item.text_or_secret() else { continue };
        if let TextOrSecret::Text(plain) = &value {
            if plain.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
                item.refuse::<()>(format!("the value of the header `{text}` has control characters"));
            }
            secret_in_the_open(item, text, plain);
        }
        all.insert(text.to_owned(), value);
    }
    all
}

/// Headers that exist to carry a secret must refer to it.
fn secret_in_the_open(item: Item<'_>, name: &str, value: &str) {
    const SECRETS: &[&str] =
        &["authorization", "cookie", "x-api-key", "api-key", "x-auth-token", "private-token"];
    if SECRETS.contains(&name.to_ascii_lowercase().as_str()) && !value.is_empty() {
        item.refuse_with::<()>(
            format!("the header `{name}` is a secret and must not stand in this file"),
            "say where it is: { env = \"NAME\" }, { file = \"PATH\" }, { credential = \"NAME\" } or \
             { command = [\"pass\", \"show\", \"x\"] }; the whole value, such as \"Bearer …\""
                .into(),
        );
    }
}
