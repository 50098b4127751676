//! A call that is written in a text, and what all formats have in common.
use serde_json::{Deserializer, Value};

/// Maximum bytes in which line breaks within strings are escaped.
const MAX_ESCAPED_BYTES: usize = 1 << 18;

/// A call as written.
#[derive(Debug, PartialEq)]
pub(super) struct Written {
    /// As providers know the tool.
    pub(super) name: String,
    /// As text, as if the call had been made.
    pub(super) arguments: String,
}

pub(super) fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}

/// Returns a name without the namespace that some models put before all tools.
pub(super) fn plain(name: &str) -> &str {
    let name = name.trim();
    let spaces = ["functions.", "function.", "tools.", "default_api.", "call:"];
    spaces.iter().find_map(|space| name.strip_prefix(space)).unwrap_or(name)
}

/// Returns the first JSON value in a text, and its length. Models put raw line breaks into strings.
pub(super) fn first_json(text: &str) -> Option<(Value, usize)> {
    let mut values = Deserializer::from_str(text).into_iter::<Value>();
    if let Some(Ok(value)) = values.next() {
        return Some((value, values.byte_offset()));
    }
    let (escaped, places) = escaped(&text[..text.floor_char_boundary(MAX_ESCAPED_BYTES)]);
    let mut values = Deserializer::from_str(&escaped).into_iter::<Value>();
    let value = values.next()?.ok()?;
    Some((value, places.get(values.byte_offset()).copied().unwrap_or(text.len())))
}

/// Escapes line breaks and tabs within strings for JSON; also returns the position in `text` of each byte.
fn escaped(text: &str) -> (String, Vec<usize>) {
    let (mut out, mut places) = (String::with_capacity(text.len() + 16), Vec::with_capacity(text.len() + 16));
    let (mut inside, mut escapes) = (false, false);
    for (at, c) in text.char_indices() {
        let word = match c {
            '\n' if inside => Some("\\n"),
            '\r' if inside => Some("\\r"),
            '\t' if inside => Some("\\t"),
            _ => None,
        };
        match word {
            Some(word) => out.push_str(word),
            None => out.push(c),
        }
        places.resize(out.len(), at);
        inside ^= c == '"' && !escapes;
        escapes = c == '\\' && !escapes;
    }
    (out, places)
}
