//! Environment variables of programs, and headers for servers: invalid names and values are found before
//! anything runs.
use super::walk::{Item, Section};
use crate::config::values::ZONES;
use crate::domain::{TextOrSecret, nearest};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// Headers that are set for the connection itself, or that would change which server a request reaches.
const RESERVED_HEADERS: &[&str] = &[
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

/// Headers whose purpose is to carry a secret.
const SECRET_HEADERS: &[&str] = &[
    "authorization",
    "cookie",
    "api-key",
    "apikey",
    "private-token",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-goog-api-key",
    "x-vault-token",
];

/// Suffixes of variables whose purpose is to carry a secret.
const SECRET_SUFFIXES: &[&str] =
    &["_API_KEY", "_ACCESS_KEY", "_AUTH_TOKEN", "_ACCESS_TOKEN", "_SECRET", "_SECRET_KEY", "_PASSWORD"];

/// What to write instead of a secret.
const SECRET_HINT: &str = "say where it is: { env = \"NAME\" }, { file = \"PATH\" }, { credential = \"NAME\" } or { command = \
                                 [\"pass\", \"show\", \"x\"] }";

impl Section<'_> {
    /// Parses `env`: the environment of a program.
    pub(super) fn env(&self) -> BTreeMap<String, TextOrSecret> {
        self.pairs("env", |item, name, value| {
            if name.is_empty() || name.contains(['=', '\0']) {
                let message = format!("no program can have a variable named {name:?}");
                return Err((message, "a name is not empty, and has no `=` and no NUL byte".to_owned()));
            }
            let TextOrSecret::Text(text) = value else { return Ok(()) };
            if text.contains('\0') {
                item.refuse::<()>(format!("the value of the variable `{name}` has a NUL byte"));
            }
            if name == "TZ" && !is_zone(text) {
                item.refuse_with::<()>(
                    format!("there is no time zone `{text}`: the program would take UTC"),
                    zone_hint(text),
                );
            }
            if SECRET_SUFFIXES.iter().any(|end| name.ends_with(end))
                && !text.is_empty()
                && !text.contains('{')
            {
                item.file.hide(item.span());
                let message = format!("the variable `{name}` looks like a secret, and stands in this file");
                item.file.warn(item.span(), message, Some(SECRET_HINT.into()));
            }
            Ok(())
        })
    }

    /// Parses `headers` of requests.
    pub(super) fn headers(&self) -> BTreeMap<String, TextOrSecret> {
        self.pairs("headers", |item, name, value| {
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(token) {
                let message = format!("`{name}` can't name a header");
                return Err((message, "letters, digits and `-`".to_owned()));
            }
            let known = name.to_ascii_lowercase();
            if RESERVED_HEADERS.contains(&known.as_str()) {
                let message = format!("the header `{name}` is made for each request and can't be set");
                return Err((message, "leave it out".to_owned()));
            }
            let TextOrSecret::Text(text) = value else { return Ok(()) };
            if text.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
                item.refuse::<()>(format!("the value of the header `{name}` has control characters"));
            }
            if SECRET_HEADERS.contains(&known.as_str()) && !text.is_empty() {
                item.file.hide(item.span());
                item.refuse_with::<()>(
                    format!("the header `{name}` is a secret and must not stand in this file"),
                    format!("{SECRET_HINT}; the whole value, such as \"Bearer …\""),
                );
            }
            Ok(())
        })
    }

    /// Parses a table of texts or secrets, and checks each of them. An error in a name is reported at the
    /// name.
    fn pairs(
        &self,
        key: &'static str,
        look: impl Fn(Item<'_>, &str, &TextOrSecret) -> Result<(), (String, String)>,
    ) -> BTreeMap<String, TextOrSecret> {
        let Some(table) = self.get(key).and_then(|item| item.table()) else { return BTreeMap::new() };
        let pairs = table.iter().filter_map(|(name, value)| {
            let item = Item { file: self.file, value, name: key };
            let value = item.text_or_secret()?;
            if let Err((message, hint)) = look(item, name.get_ref(), &value) {
                self.file.error(Some(name.span()), message, Some(hint));
            }
            Some((name.get_ref().to_string(), value))
        });
        pairs.collect()
    }
}

/// Returns whether the C library accepts this as a zone: a name, a POSIX rule (`CET-1CEST,M3.5.0,M10.5.0/3`),
/// or a file.
pub(super) fn is_zone(text: &str) -> bool {
    let name = text.strip_prefix(':').unwrap_or(text);
    name.is_empty()
        || name.starts_with('/')
        || TimeZone::get(name).is_ok()
        || (text == name && name.contains(|c: char| c.is_ascii_digit()) && TimeZone::posix(name).is_ok())
}

/// Suggests what to write instead of an unknown zone.
pub(super) fn zone_hint(text: &str) -> String {
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
    match nearest(text, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => ZONES.to_owned(),
    }
}
