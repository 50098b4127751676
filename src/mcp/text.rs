//! Sanitizes texts of servers: no hidden characters, no control sequences, no bidirectional overrides.
use crate::domain::{LengthUnit, is_unseen, shortened};
use serde_json::Value;
use std::collections::BTreeMap;

/// Maximum length of a server's text in our errors, in characters.
const MAX_SHOWN_CHARS: usize = 300;

/// Returns one line of at most [`MAX_SHOWN_CHARS`] characters.
pub(super) fn shown(text: &str) -> String {
    let printable = text.chars().filter(|c| c.is_whitespace() || !c.is_control()).take(4 * MAX_SHOWN_CHARS);
    let printable: String = printable.collect();
    cut(&visible(&printable.split_whitespace().collect::<Vec<_>>().join(" ")), MAX_SHOWN_CHARS)
}

/// Escapes hidden characters, so that a person reviews the same text that a model reads.
pub(super) fn visible(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        match c {
            // A single one after a symbol makes it an emoji. Several can carry a message.
            '\u{fe0f}' if !before.is_whitespace() && !is_hidden(before) => clean.push(c),
            '\n' | '\t' => clean.push(c),
            '\r' => {}
            _ if is_hidden(c) => clean.extend(c.escape_unicode()),
            _ => clean.push(c),
        }
        before = c;
    }
    clean
}

/// Truncates a text to a number of characters, with an ellipsis.
pub(super) fn cut(text: &str, most: usize) -> String {
    shortened(text, LengthUnit::Chars, most).into_owned()
}

/// Replaces characters other than letters, digits, `_`, `.` and `-` by `_`.
pub(super) fn plain_name(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' })
        .collect()
}

fn is_hidden(c: char) -> bool {
    c.is_control() || is_unseen(c)
}

/// Serializes JSON with sorted keys and no spaces.
pub(super) fn canonical(value: &Value, into: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            into.push('{');
            for (at, (key, value)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    into.push(',');
                }
                into.push_str(&Value::from(key.as_str()).to_string());
                into.push(':');
                canonical(value, into);
            }
            into.push('}');
        }
        Value::Array(list) => {
            into.push('[');
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    into.push(',');
                }
                canonical(value, into);
            }
            into.push(']');
        }
        other => into.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what is shown.
    use super::*;

    #[test]
    fn nothing_hidden_stays_hidden() {
        for (text, clean) in [
            ("Reads äöü 漢字.\n\tTwo lines", "Reads äöü 漢字.\n\tTwo lines"),
            ("a\u{202e}b\u{200b}c", "a\\u{202e}b\\u{200b}c"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
            ("⚠\u{fe0f}!", "⚠\u{fe0f}!"),
            ("x\u{fe0f}\u{fe0f}", "x\u{fe0f}\\u{fe0f}"),
            ("\u{1b}[2Jx\r\n", "\\u{1b}[2Jx\n"),
        ] {
            assert_eq!(visible(text), clean);
        }
        assert_eq!(shown(" a\n\u{7} b \u{200b}"), "a b \\u{200b}");
        assert_eq!(shown(&"ä".repeat(400)).chars().count(), 301);
        assert_eq!(plain_name("get weather/ü-1.x"), "get_weather__-1.x");
    }
}
