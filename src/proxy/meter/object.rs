//! A JSON object whose values keep their original text: what is not changed is forwarded byte for byte.
use crate::domain::snake_case;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// An object with its keys in order. Duplicate keys are an error, including those that differ only in case or, where a provider
/// accepts both, in underscores: parsers disagree about which one wins.
#[derive(Debug)]
pub(super) struct Object<'a> {
    /// Key, its [`folded`] form, and value.
    entries: Vec<(String, String, ValueText<'a>)>,
}

/// Maximum keys of an object: no provider's schema has as many.
pub(super) const MOST_KEYS: usize = 1000;

/// A value as text.
#[derive(Debug)]
pub(super) enum ValueText<'a> {
    /// The original text.
    Came(&'a RawValue),
    Put(String),
}

impl ValueText<'_> {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Came(raw) => raw.get(),
            Self::Put(text) => text,
        }
    }
}

/// Returns the form of a key that is equal for all spellings that a lenient parser accepts.
pub(super) fn folded(key: &str) -> String {
    key.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

impl<'a> Object<'a> {
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Returns the value of a key, in any spelling: `max_tokens` finds `maxTokens`.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let wanted = folded(key);
        let found = self.entries.iter().find(|(_, own, _)| *own == wanted);
        found.map(|(_, _, value)| value.text()).filter(|text| *text != "null")
    }

    /// Returns whether a key exists in a spelling that strict parsers ignore.
    pub(super) fn is_odd(&self, key: &str) -> bool {
        let wanted = folded(key);
        let found = self.entries.iter().find(|(_, own, _)| *own == wanted);
        found.is_some_and(|(own, ..)| own != key && *own != snake_case(key))
    }

    /// Returns the string value of a key.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?).ok()
    }

    /// Returns whether the value is `true`.
    pub(super) fn is_true(&self, key: &str) -> bool {
        self.get(key) == Some("true")
    }

    /// Sets a value: replaces the existing one, or appends it.
    pub(super) fn put(&mut self, key: &str, value: String) {
        let wanted = folded(key);
        match self.entries.iter_mut().find(|(_, own, _)| *own == wanted) {
            Some((_, _, place)) => *place = ValueText::Put(value),
            None => self.entries.push((key.to_owned(), wanted, ValueText::Put(value))),
        }
    }

    /// Removes a key. Returns whether it existed.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        let wanted = folded(key);
        let before = self.entries.len();
        self.entries.retain(|(_, own, _)| *own != wanted);
        self.entries.len() < before
    }

    /// Removes all keys except those that `stays` accepts. Returns the removed ones.
    pub(super) fn keep_only(&mut self, stays: impl Fn(&str) -> bool) -> Vec<String> {
        self.entries.extract_if(.., |(key, ..)| !stays(key)).map(|(key, ..)| key).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, _, value)| (key.as_str(), value.text()))
    }

    pub(super) fn to_json(&self) -> String {
        let size = self.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        let mut json = String::with_capacity(size);
        for (key, value) in self.iter() {
            json.push(if json.is_empty() { '{' } else { ',' });
            json.push_str(&serde_json::Value::from(key).to_string());
            json.push(':');
            json.push_str(value);
        }
        if json.is_empty() { "{}".to_owned() } else { json + "}" }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let (mut all, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    let folded = folded(&key);
                    if !seen.insert(folded.clone()) {
                        return Err(de::Error::custom(format_args!("the key `{key}` comes twice")));
                    }
                    if all.len() == MOST_KEYS {
                        return Err(de::Error::custom(format_args!(
                            "an object has more than {MOST_KEYS} keys"
                        )));
                    }
                    all.push((key, folded, ValueText::Came(value)));
                }
                Ok(Object { entries: all })
            }
        }
        from.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what stays and what does not.
    use super::*;

    #[test]
    fn what_is_not_changed_stays_as_it_was_written() {
        let text =
            r#"{"b": 1.0e2 ,"big":123456789012345678901234567890,"a":{"z" :1, "y":"\u00e9"},"c":[ 1,2 ]}"#;
        let mut object = Object::parse(text).unwrap();
        assert_eq!(
            object.to_json(),
            r#"{"b":1.0e2,"big":123456789012345678901234567890,"a":{"z" :1, "y":"\u00e9"},"c":[ 1,2 ]}"#
        );
        object.put("c", "3".into());
        object.put("new\"", "4".into());
        assert!(object.remove("a") && !object.remove("a"));
        assert_eq!(object.to_json(), r#"{"b":1.0e2,"big":123456789012345678901234567890,"c":3,"new\"":4}"#);
        assert_eq!(Object::parse("{}").unwrap().to_json(), "{}");
    }

    #[test]
    fn a_key_that_two_readers_may_read_differently_is_an_error() {
        for twice in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","Model":"b"}"#,
            r#"{"max_tokens":1,"maxTokens":2}"#,
            r#"{"model":"a","mod\u0065l":"b"}"#,
        ] {
            let error = Object::parse(twice).unwrap_err().to_string();
            assert!(error.contains("comes twice"), "{error}");
        }
        let object = Object::parse(r#"{"Max_Tokens": 5, "n": null}"#).unwrap();
        assert_eq!(
            (object.get("maxTokens"), object.get("n")),
            (Some("5"), None),
            "as a lenient reader finds it"
        );
        assert!(object.is_odd("max_tokens") && !object.is_odd("n") && !object.is_odd("absent"));
        let object = Object::parse(r#"{"max_output_tokens": 5, "maxTokens": 1}"#).unwrap();
        assert!(!object.is_odd("maxOutputTokens") && object.is_odd("max_tokens"));
    }
}
