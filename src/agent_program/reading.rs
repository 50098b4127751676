//! Helpers for all formats: JSON of any shape.
use serde_json::Value;

/// Returns the string at a path, if it exists and is not empty.
pub(super) fn text(value: &Value, path: &[&str]) -> Option<String> {
    let found = path.iter().try_fold(value, |value, name| value.get(name))?;
    found.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Returns the integer at a path; 0 if there is none.
pub(super) fn number(value: &Value, path: &[&str]) -> u64 {
    let found = path.iter().try_fold(value, |value, name| value.get(name));
    found.and_then(Value::as_u64).unwrap_or(0)
}

/// Returns a string as it is, and anything else as JSON; empty if there is nothing.
pub(super) fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Returns the text parts of a message's content, which may also be a string.
pub(super) fn content(value: Option<&Value>) -> String {
    match value {
        Some(Value::Array(parts)) => {
            let texts: Vec<String> = parts.iter().filter_map(|part| text(part, &["text"])).collect();
            texts.join("\n")
        }
        other => shown(other),
    }
}
