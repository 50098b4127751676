//! Reading answers: each wire looks for its own words, with these. A missing word is nothing; one of a
//! wrong type makes the answer unusable.
use serde_json::Value;

/// What is wrong with an answer. Names the place, never what stands there.
#[derive(Debug)]
pub(super) struct Bad(pub(super) String);

/// A text, if there is one.
pub(super) fn text<'a>(at: &'a Value, key: &str) -> Result<Option<&'a str>, Bad> {
    match at.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Bad(format!("`{key}` is not a text"))),
    }
}

/// A list; a missing one is empty.
pub(super) fn list<'a>(at: &'a Value, key: &str) -> Result<&'a [Value], Bad> {
    match at.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(Bad(format!("`{key}` is not a list"))),
    }
}

/// An object that has to be there.
pub(super) fn object<'a>(at: &'a Value, key: &str) -> Result<&'a Value, Bad> {
    match at.get(key) {
        Some(object @ Value::Object(_)) => Ok(object),
        Some(_) => Err(Bad(format!("`{key}` is not an object"))),
        None => Err(Bad(format!("`{key}` is missing"))),
    }
}

/// Arguments as they were sent. Some servers send the object itself instead of its text.
pub(super) fn arguments(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Puts a part of a text behind the others.
pub(super) fn add(whole: &mut Option<String>, part: &str) {
    if !part.is_empty() {
        whole.get_or_insert_default().push_str(part);
    }
}
