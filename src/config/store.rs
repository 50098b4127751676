//! `[store]`: the server that keeps the records, if they are not in a file of this machine.
use super::keys;
use super::values::is_this_machine;
use super::walk::{Item, Section};
use crate::domain::{Durability, SecretRef, StoreSpec};

/// Advice for an invalid address.
const URL_HINT: &str = "write postgres://user@host:5432/database?sslmode=verify-full";

/// Parses the store, if one is configured without errors.
pub(super) fn store(top: &Section<'_>) -> Option<StoreSpec> {
    let section = top.get("store")?.section(keys::STORE)?;
    let url = match section.get("url") {
        Some(url) => address(url),
        None => section.missing(&["url"], "[store] needs `url`".into(), Some(URL_HINT.into())),
    };
    let password = section.get("password").and_then(|item| item.secret());
    let schema = section.get("schema").map_or_else(|| Some(StoreSpec::SCHEMA.to_owned()), schema);
    let durability = section.word("durability").unwrap_or(Durability::Synchronous);
    let url = url?;
    if let Some(item) = section.get("url").filter(|_| is_in_the_clear(&url)) {
        item.file.warn(
            item.span(),
            "the connection to this server may be read and changed on the way".into(),
            Some("add ?sslmode=verify-full to `url`".into()),
        );
    }
    Some(StoreSpec { url, password, schema: schema?, durability })
}

/// Parses a store given on a command line; its password is given separately. An error has a message and
/// advice.
pub fn store_from_flags(
    url: &str,
    schema: Option<&str>,
    password: Option<SecretRef>,
) -> Result<StoreSpec, (String, Option<String>)> {
    let form = |why: &str| (why.to_owned(), Some(URL_HINT.to_owned()));
    check_address(url).map_err(|wrong| match wrong {
        AddressError::Password => (
            "a password must not stand in an address".to_owned(),
            Some("write the address without it, and --password-file FILE".to_owned()),
        ),
        AddressError::Setting(name) => (not_a_setting(&name), Some(PARAMETERS_HINT.to_owned())),
        AddressError::Scheme => form("the address must begin with postgres:// or be sqlite:"),
        AddressError::Database => form("the address names no database"),
    })?;
    let schema = schema.unwrap_or(StoreSpec::SCHEMA);
    check_schema(schema).map_err(|why| (why, None))?;
    let (url, schema) = (url.to_owned(), schema.to_owned());
    Ok(StoreSpec { url, password, schema, durability: Durability::Single })
}

/// Parameters allowed in an address. Host, user and database come before the `?`: a parameter that overrides
/// them would not be seen by the code that shows, trusts and checks addresses.
const SETTINGS: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslsni",
    "sslcompression",
    "ssl_min_protocol_version",
    "gssencmode",
    "channel_binding",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "application_name",
    "options",
];

/// An error in an address.
enum AddressError {
    Setting(String),
    Scheme,
    Password,
    Database,
}

/// Checks that an address is a URL. Other forms that libpq accepts are refused, since it would be ambiguous
/// where their password ends.
fn check_address(text: &str) -> Result<(), AddressError> {
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    let rest = rest.ok_or(AddressError::Scheme)?;
    let (place, settings) = rest.split_once('?').unwrap_or((rest, ""));
    let user = place.split_once('@').map_or("", |(user, _)| user);
    let names = || settings.split('&').map(|one| one.split_once('=').map_or(one, |(name, _)| name));
    let decoded = |name: &str| percent_encoding::percent_decode_str(name).decode_utf8_lossy().to_lowercase();
    let is_secret = |name: &str| decoded(name).contains("pass");
    if user.contains(':') || rest.matches('@').count() > 1 || names().any(is_secret) {
        return Err(AddressError::Password);
    }
    if let Some(odd) = names().find(|name| !name.is_empty() && !SETTINGS.contains(name)) {
        return Err(AddressError::Setting(odd.to_owned()));
    }
    match host_and_database(rest).split_once('/') {
        Some((_, database)) if !database.is_empty() && !database.contains('/') => Ok(()),
        _ => Err(AddressError::Database),
    }
}

/// Returns host and database of what follows the scheme.
fn host_and_database(rest: &str) -> &str {
    let place = rest.split_once('?').map_or(rest, |(place, _)| place);
    place.rsplit_once('@').map_or(place, |(_, place)| place)
}

/// Advice for an unsupported parameter of an address.
const PARAMETERS_HINT: &str = "user, host, port and database stand before the `?`; after it, write sslmode, sslrootcert, sslcert, sslkey or \
     options";

fn not_a_setting(name: &str) -> String {
    format!("`{name}` is not a setting of an address here")
}

fn address(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    match check_address(text) {
        Ok(()) => Some(text.to_owned()),
        Err(AddressError::Setting(name)) => item.refuse_with(not_a_setting(&name), PARAMETERS_HINT.into()),
        Err(AddressError::Scheme) => {
            item.refuse_with("`url` must begin with postgres://".into(), URL_HINT.into())
        }
        Err(AddressError::Database) => item.refuse_with("`url` names no database".into(), URL_HINT.into()),
        Err(AddressError::Password) => {
            item.file.hide(item.span());
            item.refuse_with(
                "a password must not stand in an address".into(),
                "write the address without it, and password = { file = \"~/.secrets/db\" }".into(),
            )
        }
    }
}

fn check_schema(text: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if !begins || !text.chars().all(is_plain) || text.starts_with("pg_") {
        return Err(
            "`schema` must be a name of small letters, digits and _, such as \"bgagent\", that does not begin with pg_".into(),
        );
    }
    if text.len() > StoreSpec::MAX_SCHEMA_BYTES {
        return Err(format!("`schema` is at most {} bytes long", StoreSpec::MAX_SCHEMA_BYTES));
    }
    Ok(())
}

fn schema(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    match check_schema(text) {
        Ok(()) => Some(text.to_owned()),
        Err(why) => item.refuse(why),
    }
}

/// Returns whether the server is another machine, and it is not enforced that the connection is encrypted.
fn is_in_the_clear(url: &str) -> bool {
    let settings = url.split_once('?').map_or("", |(_, settings)| settings);
    let is_checked = settings
        .split('&')
        .any(|one| matches!(one, "sslmode=verify-full" | "sslmode=verify-ca" | "sslrootcert=system"));
    let place = host_and_database(url.split_once("://").map_or(url, |(_, rest)| rest));
    let host = place.split_once('/').map_or(place, |(host, _)| host);
    // An empty host, or a path, is a socket of this machine.
    let is_socket = host.is_empty() || host.starts_with("%2F") || host.starts_with("%2f");
    !is_checked && !is_socket && !host.split(',').all(|one| is_this_machine(&format!("postgres://{one}")))
}
