//! `[events.redis]` and `[memory.redis]`: Redis servers, and their use.
use super::keys;
use super::values::is_this_machine;
use super::walk::{Item, Section};
use crate::domain::{
    RedisAddress, RedisMemorySpec, RedisSection, RedisServer, RedisSpec, StreamFormat, StreamFrom,
};
use std::path::PathBuf;

/// Advice for an invalid address.
const URL_HINT: &str =
    "write redis://host:6379/0, with TLS rediss://host:6379/0, or unix:///path/to/redis.sock?db=0";
/// Advice for a name or a password in an address.
const LOGIN_HINT: &str =
    "write the address without them, and username = \"…\" and password = { env = \"REDIS_PASSWORD\" }";

/// Parses the stream that events are copied to, if one is configured without errors.
pub(super) fn events(top: &Section<'_>) -> Option<RedisSpec> {
    let events = top.get("events")?.section(keys::EVENTS_TO)?;
    let section = events.get("redis")?.section(keys::EVENTS_REDIS)?;
    let server = server(&section, RedisSection::Events);
    let stream = section.get("stream").map_or_else(
        || Some(RedisSpec::STREAM.to_owned()),
        |item| key_name(item, RedisSpec::STREAM, RedisSpec::LONGEST_STREAM),
    );
    let maxlen = section.whole("maxlen", 1).unwrap_or(RedisSpec::MAXLEN);
    let format = section.word("format").unwrap_or(StreamFormat::Bgagent);
    let from = section.get("from").map_or(Some(StreamFrom::Now), from);
    Some(RedisSpec { server: server?, stream: stream?, maxlen, format, from: from? })
}

/// Parses where agents with `store = "redis"` keep their memory, if that is configured without errors.
pub(super) fn memory(top: &Section<'_>) -> Option<RedisMemorySpec> {
    let memory = top.get("memory")?.section(keys::MEMORY_IN)?;
    let section = memory.get("redis")?.section(keys::MEMORY_REDIS)?;
    let server = server(&section, RedisSection::Memory);
    let prefix = section.get("prefix").map_or_else(
        || Some(RedisMemorySpec::PREFIX.to_owned()),
        |item| key_name(item, RedisMemorySpec::PREFIX, RedisMemorySpec::MAX_PREFIX_BYTES),
    );
    Some(RedisMemorySpec { server: server?, prefix: prefix? })
}

/// Parses the server, and the daemon's login.
fn server(section: &Section<'_>, of: RedisSection) -> Option<RedisServer> {
    let address = match section.get("url") {
        Some(url) => address(url),
        None => section.missing(&["url"], format!("{} needs `url`", of.header()), Some(URL_HINT.into())),
    };
    let username = section.get("username").and_then(|item| item.text_or_secret());
    let password = section.get("password").and_then(|item| item.secret());
    if let (Some(name), None) = (section.own("username"), section.own("password")) {
        name.refuse_with::<()>(
            "`username` has no `password`".into(),
            "write password = { env = \"REDIS_PASSWORD\" } as well".into(),
        );
    }
    let (address, database) = address?;
    if let (RedisAddress::Host { host, tls: false, .. }, Some(_), Some(item)) =
        (&address, &password, section.get("url"))
        && !is_this_machine(&format!(
            "redis://{}",
            if host.contains(':') { format!("[{host}]") } else { host.clone() }
        ))
    {
        item.file.warn(
            item.span(),
            "the password is sent to this server in the clear, and anyone on the way can read it".into(),
            Some("write rediss://, or reach it through a tunnel that ends on this machine".into()),
        );
    }
    Some(RedisServer { section: of, address, database, username, password })
}

/// Parses the server's address, and the number of the database.
fn address(item: Item<'_>) -> Option<(RedisAddress, u32)> {
    let text = item.text()?;
    let refuse = |why: &str| item.refuse_with(format!("`url` {why}"), URL_HINT.into());
    if let Some(rest) = text.strip_prefix("unix://") {
        return socket(item, rest);
    }
    let tls = match text.split_once("://").map(|(scheme, _)| scheme) {
        Some("redis") => false,
        Some("rediss") => true,
        _ => return refuse("must begin with redis://, rediss:// or unix://"),
    };
    if text.contains('@') {
        item.file.hide(item.span());
        return item
            .refuse_with("a name and a password must not stand in an address".into(), LOGIN_HINT.into());
    }
    let Ok(url) = url::Url::parse(text) else { return refuse("is not an address") };
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("must end with the number of the database, with nothing after it");
    }
    let host = match url.host() {
        Some(url::Host::Ipv6(address)) => address.to_string(),
        Some(host) => host.to_string(),
        None => return refuse("names no host"),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_plain) || url.port() == Some(0) {
        return refuse("has a host or port that is not valid");
    }
    let Some(database) = database(url.path().trim_start_matches('/')) else {
        return refuse("must end with the number of the database");
    };
    Some((RedisAddress::Host { host, port: url.port().unwrap_or(6379), tls }, database))
}

fn socket(item: Item<'_>, rest: &str) -> Option<(RedisAddress, u32)> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let number = if query.is_empty() { Some(0) } else { query.strip_prefix("db=").and_then(database) };
    match number {
        Some(number) if path.starts_with('/') && !path.contains('\0') => {
            Some((RedisAddress::Socket(PathBuf::from(path)), number))
        }
        _ => item.refuse_with("`url` names no socket".into(), URL_HINT.into()),
    }
}

/// Parses the number of a database; empty means 0.
fn database(text: &str) -> Option<u32> {
    if text.is_empty() { Some(0) } else { text.parse().ok() }
}

/// Parses a key or a prefix of keys: Redis would accept any bytes, but these can be typed and displayed.
fn key_name(item: Item<'_>, example: &str, longest: usize) -> Option<String> {
    let (text, name) = (item.text()?, item.name);
    let odd = |c: char| c.is_control() || c.is_whitespace();
    if text.is_empty() || text.contains(odd) {
        return item.refuse(format!("`{name}` must be a name without spaces, such as \"{example}\""));
    }
    if text.len() > longest {
        return item.refuse(format!("`{name}` is at most {longest} bytes long"));
    }
    Some(text.to_owned())
}

fn from(item: Item<'_>) -> Option<StreamFrom> {
    if item.value.get_ref().as_str() == Some("now") {
        return Some(StreamFrom::Now);
    }
    if item.value.get_ref().as_integer().is_none() {
        return item.refuse("`from` is \"now\" or the number of an event, from 1".into());
    }
    item.whole(1).map(StreamFrom::Event)
}
