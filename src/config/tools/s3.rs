//! Settings of `[tools.…]` tables of type "s3": where the bucket is, who asks, and how far calls reach.
use crate::config::keys::{Key, Kind, key};
use crate::config::values::{common, mode, needs, url};
use crate::config::walk::{Item, Section};
use crate::domain::{TextOrSecret, ToolKind, ToolMode, check_object_key};
use serde_json::{Map, Value};

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::S3.as_str()]), "the built-in tool"),
    key("endpoint", Kind::Text, "address of the server; default: Amazon's in this region"),
    key("region", Kind::Text, "default us-east-1"),
    key("bucket", Kind::Text, "nothing outside it is reached"),
    key("prefix", Kind::Text, "a folder of keys; nothing outside it is reached"),
    key("access_key_id", Kind::TextOrSecret, "credentials: their name; without any, nothing is signed"),
    key("secret_access_key", Kind::Secret, "credentials: their secret"),
    key("session_token", Kind::Secret, "credentials that were lent: their token"),
    key(
        "path_style",
        Kind::Flag,
        "true: the bucket in the path; false: in the host; default: in the host at Amazon, else in the path",
    ),
    key("mode", Kind::Word(ToolMode::WORDS), "read_only (default) or read_write"),
    key(
        "max_bytes",
        Kind::Size,
        "of an object, read or written by one call; default 100 KiB, at most 64 MiB",
    ),
    key("timeout", Kind::Duration, "one operation with its tries; default 30 s"),
];

/// Largest `max_bytes`.
const MOST_BYTES: u64 = 64 << 20;

pub(in crate::config) fn settings(section: &Section<'_>) -> Option<Value> {
    let mut out = Map::new();
    common(section, &mut out);
    let writes = mode(section, &mut out);
    if let (Some(bytes), Some(item)) = (section.size("max_bytes"), section.get("max_bytes"))
        && (bytes == 0 || bytes > MOST_BYTES)
    {
        item.refuse::<()>("`max_bytes` is at least 1 and at most 64MiB".into());
    }
    if let Some(endpoint) = section.get("endpoint").and_then(endpoint) {
        out.insert("endpoint".into(), endpoint.into());
    }
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let item = needs(section, "s3", "bucket", "bucket = \"backups\"");
    for item in item.into_iter().chain(section.get("region")) {
        let Some(text) = item.text() else { continue };
        if text.is_empty() || text.len() > 255 || text.starts_with('.') || !text.chars().all(simple) {
            let hint = match item.name {
                "bucket" => "the name of a bucket alone; folders in it belong into `prefix`",
                _ => "such as \"eu-central-1\"",
            };
            item.refuse_with::<()>(format!("\"{text}\" can't be a {}", item.name), hint.into());
        }
        out.insert(item.name.into(), text.into());
    }
    if let Some(prefix) = section.get("prefix").and_then(prefix) {
        out.insert("prefix".into(), prefix.into());
    }
    if let Some(flag) = section.flag("path_style") {
        out.insert("path_style".into(), flag.into());
    }
    credentials(section, writes, &mut out);
    Some(Value::Object(out))
}

fn endpoint(item: Item<'_>) -> Option<String> {
    let address = url(item)?;
    let hint = || "such as \"https://s3.example.org\" or \"http://127.0.0.1:9000\"".to_owned();
    let rest = address.split_once("://").map_or("", |(_, rest)| rest);
    if rest.split('/').next().is_some_and(|host| host.contains('@')) {
        return item.refuse_with(
            "credentials must not stand in an address".into(),
            "use `access_key_id` and `secret_access_key`".into(),
        );
    }
    if address.contains(['?', '#']) {
        return item.refuse_with("`endpoint` is the address of the server alone".into(), hint());
    }
    Some(address)
}

fn prefix(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    // People write folders with a slash at the end.
    let folder = text.strip_suffix('/').unwrap_or(text);
    match check_object_key(folder) {
        Ok(()) => Some(folder.to_owned()),
        Err(_) if text.is_empty() => None,
        Err(why) => item.refuse_with(
            format!("`prefix` can't be used: {}", why.replacen("the key", "it", 1)),
            "such as \"backups/app\"".into(),
        ),
    }
}

fn credentials(section: &Section<'_>, writes: bool, out: &mut Map<String, Value>) {
    let id = section.get("access_key_id");
    let key = section.get("secret_access_key");
    let token = section.get("session_token");
    for (item, is_id) in [(id, true), (key, false), (token, false)] {
        let Some(item) = item else { continue };
        let value = match is_id {
            true => item.text_or_secret().map(|value: TextOrSecret| value.to_json()),
            false => item.secret().map(|secret| secret.to_json()),
        };
        if let Some(value) = value {
            out.insert(item.name.into(), value);
        }
    }
    let missing = |name: &str, why: &str| {
        section.file.error(
            Some(section.span.clone()),
            format!("{why} needs `{name}` too"),
            Some(format!("{name} = {{ env = \"AWS_{}\" }}", name.to_uppercase())),
        );
    };
    match (id.is_some(), key.is_some()) {
        (true, false) => missing("secret_access_key", "`access_key_id`"),
        (false, true) => missing("access_key_id", "`secret_access_key`"),
        (false, false) if token.is_some() => missing("access_key_id", "`session_token`"),
        (false, false) if writes => missing("access_key_id", "mode = \"read_write\""),
        _ => {}
    }
}
