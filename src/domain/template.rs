//! Templates with placeholders in braces, such as `{event.agent_id}`.
//!
//! Substitution is a single pass: inserted values are not expanded, so that a value can't inject a placeholder.
use serde_json::Value;

/// Returns `text` with its placeholders filled in. Braces around unknown names are kept.
pub fn filled(text: &str, mut value_of: impl FnMut(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        filled.push_str(&rest[..open]);
        rest = &rest[open..];
        let end = rest.find('}');
        match end.and_then(|end| value_of(&rest[1..end]).map(|value| (end, value))) {
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

/// Returns the names in braces that look like placeholders: letters, digits, `_`, and `.` within.
pub fn places(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let names = text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    names.filter(move |name| name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_word))
}

/// Formats a value for use within a text.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
