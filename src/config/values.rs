//! Values that occur in several tables: references by name, zones, addresses, folders.
use super::machine::{self, Wanted};
use super::walk::{Item, Section};
use crate::domain::{EnvValue, HostPattern, TextOrSecret, nearest};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Advice for an unknown zone.
pub(super) const ZONES: &str = "use an IANA name such as \"Europe/Berlin\", \"America/New_York\" or \"UTC\"";

pub(super) fn zone(item: Item<'_>) -> Option<TimeZone> {
    let name = item.text()?;
    match TimeZone::get(name) {
        Ok(zone) => Some(zone),
        Err(_) => item.refuse_with(format!("there is no time zone `{name}`"), ZONES.into()),
    }
}

pub(super) fn url(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    match text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !text.contains(char::is_whitespace) => {
            Some(text.to_owned())
        }
        _ => item.refuse(format!("`{}` must be an address that begins with http:// or https://", item.name)),
    }
}

/// Reports an error if a name refers to nothing.
pub(super) fn refers<'n>(
    item: Item<'_>,
    name: &str,
    kind: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> bool {
    let table = match kind {
        "notify target" => "notify",
        "model" => "models",
        "runner" => "runners",
        "calendar" => "calendars",
        "webhook" => "webhooks",
        "MCP server" => "mcp",
        _ => "tools",
    };
    if names.clone().any(|known| known == name) || item.file.is_broken(table, name) {
        return true;
    }
    let hint = match nearest(name, names) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("define it in [{table}.{name}]"),
    };
    item.refuse_with::<()>(format!("there is no {kind} `{name}`"), hint);
    false
}

/// The folder of a command, and whether that is the one of the configuration, since nothing is said of another.
pub(super) fn cwd(section: &Section<'_>) -> (PathBuf, bool) {
    let item = section.get("cwd");
    let given = item.and_then(|item| Some(item.file.expand(item.text()?, item.span())));
    let is_default = given.is_none();
    (given.unwrap_or_else(|| section.file.folder.clone()), is_default)
}

/// Checks that the program of a table's `command` exists, if the table had no errors.
pub(super) fn check_program(
    section: &Section<'_>,
    argv: &[String],
    cwd: Option<&Path>,
    env: &BTreeMap<String, EnvValue>,
) {
    let Some(command) = section.own("command") else { return };
    let folder = section.own("cwd").map_or_else(|| command.span(), |item| item.span());
    let program = command.span();
    machine::program(section.file, &Wanted { argv, cwd, env: Some(env), folder, program });
}

/// Minimum size of a kept output: less would not hold a line of its start and its end.
pub(super) const MIN_OUTPUT_BYTES: u64 = 1 << 10;

/// Returns a required key; reports an error if it is missing.
pub(super) fn needs<'a>(section: &Section<'a>, kind: &str, key: &'a str, example: &str) -> Option<Item<'a>> {
    let found = section.get(key);
    if found.is_none() {
        section.missing::<()>(
            &[key],
            format!("a tool of type \"{kind}\" needs `{key}`"),
            Some(example.to_owned()),
        );
    }
    found
}

/// Parses a size from one byte to a number of MiB.
pub(super) fn size_up_to(section: &Section<'_>, key: &'static str, most: u64) -> Option<u64> {
    let (bytes, item) = (section.size(key)?, section.get(key)?);
    if bytes == 0 || bytes > most {
        return item.refuse(format!("`{key}` is at least 1 and at most {}MiB", most >> 20));
    }
    Some(bytes)
}

/// Modes of encryption, as named by libpq.
const SSL_MODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Parses `sqlite:` with a path, which becomes absolute, or an address of PostgreSQL without a password.
pub(super) fn database(item: Item<'_>) -> Option<TextOrSecret> {
    pub(super) const DATABASE_HINT: &str =
        "write sqlite:relative.db, sqlite:///absolute.db or postgres://user@host/db";
    let url = match item.text_or_secret()? {
        TextOrSecret::Text(url) => url,
        secret => return Some(secret),
    };
    if let Some(path) = url.strip_prefix("sqlite:") {
        // As in other programs: three slashes and an absolute path, or no slashes and any path.
        let path = match path.strip_prefix("//") {
            Some(rest) if rest.starts_with('/') => rest,
            Some(_) => {
                return item.refuse_with(format!("`{url}` names a host, not a file"), DATABASE_HINT.into());
            }
            None => path,
        };
        if path.is_empty() || path == ":memory:" || path.contains(['?', '#', '\0']) {
            return item.refuse_with(format!("`{url}` names no database file"), DATABASE_HINT.into());
        }
        let path = item.file.expand(path, item.span());
        return Some(TextOrSecret::Text(format!("sqlite:{}", path.display())));
    }
    let Some(rest) = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")) else {
        return item.refuse_with("`url` names no database that is known".into(), DATABASE_HINT.into());
    };
    let user = rest.split(['/', '?']).next().unwrap_or_default().rsplit_once('@').map(|(user, _)| user);
    if user.is_some_and(|user| user.contains(':')) || rest.contains("password=") {
        return item.refuse_with(
            "a password must not stand in this file".into(),
            "write postgres://user@host/db and password = { env = \"NAME\" }".into(),
        );
    }
    let query = url.split_once('?').map_or("", |(_, query)| query);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        if name == "sslmode" && !SSL_MODES.contains(&value) {
            return item.refuse_with(
                format!("`sslmode={value}` is not known"),
                format!("use one of {}", SSL_MODES.join(", ")),
            );
        }
        // Percent-encoded, it begins with %2F.
        if ["sslrootcert", "sslcert", "sslkey"].contains(&name)
            && !["/", "%2F", "%2f"].iter().any(|start| value.starts_with(start))
            && (name, value) != ("sslrootcert", "system")
        {
            return item.refuse_with(
                format!("`{name}={value}` must be an absolute path"),
                format!("as in {name}=/etc/ssl/certs/{name}.pem"),
            );
        }
    }
    Some(TextOrSecret::Text(url))
}

/// Warns of a secret that is sent to an address over plain HTTP, unless that is on this machine.
pub(super) fn warn_if_unencrypted(address: Item<'_>, has_secret: bool) {
    let Some(text) = address.value.get_ref().as_str().filter(|_| has_secret) else { return };
    if text.to_ascii_lowercase().starts_with("http://") && !is_this_machine(text) {
        address.file.warn(
            address.span(),
            "a secret goes there over plain HTTP, and everybody on the way can read it".into(),
            Some("write https://, or reach it through a tunnel that ends on this machine".into()),
        );
    }
}

/// Returns whether the host of this address is `localhost` or a loopback address.
pub(super) fn is_this_machine(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    HostPattern::parse(authority).is_ok_and(|host| {
        host.fits("localhost") || host.address().is_some_and(|address| address.is_loopback())
    })
}
