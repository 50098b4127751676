//! Settings of `[tools.…]` tables of type "s3": bucket, credentials, and limits of calls.
use crate::config::keys::{Key, Kind, key};
use crate::config::values::{needs, size_up_to, url};
use crate::config::walk::{Item, Section};
use crate::domain::{S3Settings, ToolKind, ToolMode, check_object_key};

pub(in crate::config) const KEYS: &[Key] = &[
    key("type", Kind::Word(&[ToolKind::S3.as_str()]), "the built-in tool"),
    key("endpoint", Kind::Text, "address of the server; default: Amazon's in this region"),
    key("region", Kind::Text, "default us-east-1"),
    key("bucket", Kind::Text, "nothing outside it is reached"),
    key("prefix", Kind::Text, "a folder of keys; nothing outside it is reached"),
    key("access_key_id", Kind::TextOrSecret, "credentials: their id; without any, requests are not signed"),
    key("secret_access_key", Kind::Secret, "credentials: their secret"),
    key("session_token", Kind::Secret, "temporary credentials: their token"),
    key(
        "path_style",
        Kind::Flag,
        "true: the bucket in the path; false: in the host; default: in the host at Amazon, else in the path",
    ),
    key("mode", Kind::Word(ToolMode::WORDS), "read_only (default) or read_write"),
    key("max_bytes", Kind::Size, "of an object, read or written by one call; default {} KiB, at most {} MiB")
        .with(&[S3Settings::MAX_BYTES >> 10, S3Settings::LARGEST_MAX_BYTES >> 20]),
    key("timeout", Kind::Duration, "one operation, all tries included; default {} s")
        .with(&[S3Settings::TIMEOUT.as_secs().unsigned_abs()]),
];

pub(in crate::config) fn settings(section: &Section<'_>) -> Option<S3Settings> {
    let mode = section.word("mode").unwrap_or(ToolMode::ReadOnly);
    let max_bytes = size_up_to(section, "max_bytes", S3Settings::LARGEST_MAX_BYTES);
    let endpoint = section.get("endpoint").and_then(endpoint);
    let bucket = needs(section, "s3", "bucket", "bucket = \"backups\"");
    let bucket = bucket.and_then(|item| name(item, "the name of a bucket alone; put folders in `prefix`"));
    let region = section.get("region").and_then(|item| name(item, "such as \"eu-central-1\""));
    credentials(section, mode.writes());
    let default = S3Settings::of(bucket?);
    Some(S3Settings {
        mode,
        endpoint,
        region: region.unwrap_or(default.region),
        prefix: section.get("prefix").and_then(prefix),
        access_key_id: section.get("access_key_id").and_then(|item| item.text_or_secret()),
        secret_access_key: section.get("secret_access_key").and_then(|item| item.secret()),
        session_token: section.get("session_token").and_then(|item| item.secret()),
        path_style: section.flag("path_style"),
        max_bytes: max_bytes.unwrap_or(default.max_bytes),
        timeout: section.positive("timeout").unwrap_or(default.timeout),
        bucket: default.bucket,
    })
}

/// Parses the name of a bucket or a region.
fn name(item: Item<'_>, hint: &str) -> Option<String> {
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let text = item.text()?;
    if text.is_empty() || text.len() > 255 || text.starts_with('.') || !text.chars().all(simple) {
        item.refuse_with::<()>(format!("\"{text}\" can't be a {}", item.name), hint.into());
    }
    Some(text.to_owned())
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
    // Folders are often written with a trailing slash.
    let folder = text.strip_suffix('/').unwrap_or(text);
    match check_object_key(folder) {
        Ok(()) => Some(folder.to_owned()),
        Err(_) if text.is_empty() => None,
        Err(why) => item.refuse_with(
            format!("`prefix` can't be used: {}", why.replacen("the key ", "", 1)),
            "such as \"backups/app\"".into(),
        ),
    }
}

/// Reports incomplete credentials.
fn credentials(section: &Section<'_>, writes: bool) {
    let [id, key, token] =
        ["access_key_id", "secret_access_key", "session_token"].map(|key| section.get(key).is_some());
    let missing = |name: &str, why: &str| {
        section.file.error(
            Some(section.span.clone()),
            format!("{why} needs `{name}` too"),
            Some(format!("{name} = {{ env = \"AWS_{}\" }}", name.to_uppercase())),
        );
    };
    match (id, key) {
        (true, false) => missing("secret_access_key", "`access_key_id`"),
        (false, true) => missing("access_key_id", "`secret_access_key`"),
        (false, false) if token => missing("access_key_id", "`session_token`"),
        (false, false) if writes => missing("access_key_id", "mode = \"read_write\""),
        _ => {}
    }
}
