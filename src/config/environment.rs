//! What programs are given in their environment, and servers in their headers: names and values that
//! can't be had there are found before anything runs.
use super::walk::{Item, Section};
use crate::config::values::ZONES;
use crate::domain::{TextOrSecret, nearest};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

impl Section<'_> {
    /// `env`: the environment of a program.
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
            Ok(())
        })
    }

    /// `headers` of requests.
    pub(super) fn headers(&self) -> BTreeMap<String, TextOrSecret> {
        self.pairs("headers", |item, name, value| {
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(token) {
                let message = format!("`{name}` can't name a header");
                return Err((message, "letters, digits and `-`".to_owned()));
            }
            if let TextOrSecret::Text(text) = value
                && text.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f)
            {
                item.refuse::<()>(format!("the value of the header `{name}` has control characters"));
            }
            Ok(())
        })
    }

    /// A table of texts or secrets, each of which is looked at. What is wrong with a name is noted
    /// where that stands.
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

/// What the C library takes for a zone: a name, a rule of POSIX (`CET-1CEST,M3.5.0,M10.5.0/3`), or a
/// file.
pub(super) fn is_zone(text: &str) -> bool {
    let name = text.strip_prefix(':').unwrap_or(text);
    name.is_empty()
        || name.starts_with('/')
        || TimeZone::get(name).is_ok()
        || (text == name && name.contains(|c: char| c.is_ascii_digit()) && TimeZone::posix(name).is_ok())
}

/// What to write instead of a zone that there is not.
pub(super) fn zone_hint(text: &str) -> String {
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
    match nearest(text, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => ZONES.to_owned(),
    }
}
