//! Error messages. A model reads them and tries again, so each says what would be valid.
use crate::domain::{LengthUnit, nearest, shortened};
use serde_json::{Map, Value};

pub(super) fn one_of(name: &str, allowed: &[Value], value: &Value) -> String {
    let words: Vec<String> =
        allowed.iter().map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).collect();
    let mut text = format!("{name} must be one of {}, not {}", words.join(", "), shown(value));
    if let Some(near) = value.as_str().and_then(|word| nearest(word, words.iter().map(String::as_str))) {
        text.push_str(&format!(" (did you mean `{near}`?)"));
    }
    text
}

pub(super) fn unknown_key(name: &str, key: &str, properties: &Map<String, Value>) -> String {
    let start = format!("{name} can't have `{}`", cut(key));
    if let Some(near) = nearest(key, properties.keys().map(String::as_str)) {
        return format!("{start}; did you mean `{near}`?");
    }
    if properties.is_empty() {
        return format!("{start}: nothing can be set there");
    }
    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
    format!("{start}; it can have {}", known.join(", "))
}

pub(super) fn with_article(kind: &str) -> &str {
    match kind {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "number" => "a number",
        "integer" => "a whole number",
        other => other,
    }
}

pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        Value::String(text) => format!("the text \"{}\"", cut(text)),
        other => other.to_string(),
    }
}

pub(super) fn cut(text: &str) -> String {
    shortened(text, LengthUnit::Chars, 40).into_owned()
}
