//! Places in configured texts that are filled when an attempt begins: `{event.a.b}` and `{gate}`.
//!
//! One pass: what was filled in is never looked at again, so that an event can't smuggle in a
//! place of its own.
use crate::domain::novelty::at_path;
use serde_json::Value;

/// What places are filled with.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The event that started the run; null if none did.
    pub(super) event: Value,
    /// What the gate gave, as text.
    pub(super) gate: String,
}

/// A copy of `value` with the places in all its strings filled; keys stay as they are.
pub(super) fn fill(value: &Value, places: &Places) -> Value {
    match value {
        Value::String(text) => Value::String(fill_text(text, places)),
        Value::Array(items) => items.iter().map(|item| fill(item, places)).collect(),
        Value::Object(fields) => {
            let filled = fields.iter().map(|(key, value)| (key.clone(), fill(value, places)));
            Value::Object(filled.collect())
        }
        other => other.clone(),
    }
}

/// `text` with its places filled. Braces around anything else stay as they are; a path that leads
/// nowhere becomes empty.
pub(super) fn fill_text(text: &str, places: &Places) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        filled.push_str(&rest[..open]);
        rest = &rest[open..];
        let end = rest.find('}');
        match end.and_then(|end| value_at(&rest[1..end], places).map(|value| (end, value))) {
            Some((end, value)) => {
                filled.push_str(&value);
                rest = &rest[end + 1..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// A value as it reads in the middle of a text.
pub(super) fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What stands for the place of this name; `None`: it is no place.
fn value_at(name: &str, places: &Places) -> Option<String> {
    match name {
        "gate" => Some(places.gate.clone()),
        "event" => Some(as_text(&places.event)),
        _ => {
            let path = name.strip_prefix("event.")?;
            Some(at_path(&places.event, path).map(as_text).unwrap_or_default())
        }
    }
}
