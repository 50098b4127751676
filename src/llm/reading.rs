//! Helpers for parsing answers: each wire looks up its own keys with these. A missing key is no error; a value of the wrong
//! type makes the answer unusable.
use serde_json::Value;

/// What is wrong with an answer. Names the position, never the content.
#[derive(Debug)]
pub(super) struct Bad(pub(super) String);

/// Returns a string, if there is one.
pub(super) fn text<'a>(at: &'a Value, key: &str) -> Result<Option<&'a str>, Bad> {
    match at.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Bad(format!("`{key}` is not a text"))),
    }
}

/// Returns a list; a missing one is empty.
pub(super) fn list<'a>(at: &'a Value, key: &str) -> Result<&'a [Value], Bad> {
    match at.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(Bad(format!("`{key}` is not a list"))),
    }
}

/// Returns a required object.
pub(super) fn object<'a>(at: &'a Value, key: &str) -> Result<&'a Value, Bad> {
    match at.get(key) {
        Some(object @ Value::Object(_)) => Ok(object),
        Some(_) => Err(Bad(format!("`{key}` is not an object"))),
        None => Err(Bad(format!("`{key}` is missing"))),
    }
}

/// Returns arguments as they were sent. Some servers send the object itself instead of its text.
pub(super) fn arguments(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Appends a part of a text.
pub(super) fn add(whole: &mut Option<String>, part: &str) {
    if !part.is_empty() {
        whole.get_or_insert_default().push_str(part);
    }
}
