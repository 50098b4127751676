//! What the forms of all programs have in common: JSON that may have any shape.
use serde_json::Value;

/// The text at a path of names, if there is one that is not empty.
pub(super) fn text(value: &Value, path: &[&str]) -> Option<String> {
    let found = path.iter().try_fold(value, |value, name| value.get(name))?;
    found.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The whole number at a path of names; 0 where there is none.
pub(super) fn number(value: &Value, path: &[&str]) -> u64 {
    let found = path.iter().try_fold(value, |value, name| value.get(name));
    found.and_then(Value::as_u64).unwrap_or(0)
}

/// A text as it is, and anything else as JSON; nothing where there is nothing.
pub(super) fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Contents of a message that are texts, or a text.
pub(super) fn content(value: Option<&Value>) -> String {
    match value {
        Some(Value::Array(parts)) => {
            let texts: Vec<String> = parts.iter().filter_map(|part| text(part, &["text"])).collect();
            texts.join("\n")
        }
        other => shown(other),
    }
}
