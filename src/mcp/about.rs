//! A tool's self-description, kept so that a person can see what changed. Bounded in size; the limit for all tools together is
//! left to `pins`.
use super::text::{canonical, cut, visible};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Maximum bytes that are kept of each part.
const MAX_KEPT_BYTES: usize = 8 << 10;
/// Maximum characters of each side of a difference that are shown.
const MAX_SHOWN_CHARS: usize = 1000;
/// Characters before a difference that are shown with it.
const CONTEXT_CHARS: usize = 60;

/// A tool's self-description, in three parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    description: String,
    schema: String,
    hints: String,
}

/// A changed part of a tool. The texts are short and contain no hidden characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `description`, `schema` or `hints`; `rest` if the difference is beyond what is kept.
    pub part: &'static str,
    /// The old text. `None`: unknown.
    pub old: Option<String>,
    pub new: String,
}

impl About {
    /// Creates it from what the server sent.
    pub(super) fn of(description: &str, schema: &Value, hints: &Value) -> Self {
        let mut text = String::new();
        canonical(schema, &mut text);
        let kept = |text: &str| text[..text.floor_char_boundary(MAX_KEPT_BYTES)].to_owned();
        let mut told = String::new();
        canonical(hints, &mut told);
        Self { description: kept(description), schema: kept(&text), hints: kept(&told) }
    }

    /// Parses the [serialized](Self::written) form; returns `None` if invalid.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Returns it as JSON.
    pub fn written(&self) -> String {
        serde_json::to_string(self).expect("texts serialize")
    }

    pub(super) fn size(&self) -> usize {
        self.description.len() + self.schema.len() + self.hints.len()
    }

    fn parts(&self) -> [(&'static str, &str); 3] {
        [("description", &self.description), ("schema", &self.schema), ("hints", &self.hints)]
    }
}

/// Returns the differences between two descriptions with different hashes; never empty.
pub(super) fn differences(old: Option<&About>, new: Option<&About>) -> Vec<Difference> {
    let none = About::default();
    let (known, new) = (old.is_some(), new.unwrap_or(&none));
    let parts = old.unwrap_or(&none).parts().into_iter().zip(new.parts());
    let differ = parts.filter(|((_, old), (_, new))| old != new || !known);
    let mut all: Vec<Difference> = differ
        .map(|((part, old), (_, new))| {
            let at = if known { first_difference(old, new) } else { 0 };
            Difference { part, old: known.then(|| from(old, at)), new: from(new, at) }
        })
        .collect();
    if all.is_empty() {
        let new = format!(
            "differs behind the first {} KiB of a part, of which nothing is kept",
            MAX_KEPT_BYTES >> 10
        );
        all.push(Difference { part: "rest", old: None, new });
    }
    all
}

/// Returns the number of equal characters at the beginning.
fn first_difference(old: &str, new: &str) -> usize {
    old.chars().zip(new.chars()).take_while(|(old, new)| old == new).count()
}

/// Returns the text from shortly before this character.
fn from(text: &str, at: usize) -> String {
    let skipped = at.saturating_sub(CONTEXT_CHARS);
    let shown: String = text.chars().skip(skipped).take(MAX_SHOWN_CHARS + 1).collect();
    let shown = cut(&visible(&shown.replace('\r', "\\r")), MAX_SHOWN_CHARS);
    if skipped > 0 { format!("…{shown}") } else { shown }
}

#[cfg(test)]
mod tests {
    //! Tests of what changed.
    use super::*;
    use serde_json::json;

    #[test]
    fn what_changed_is_shown_and_nothing_is_hidden_in_it() {
        let about = |text: &str, schema: Value| About::of(text, &schema, &json!({"readOnlyHint": true}));
        let old = about("Reads.", json!({"type": "object"}));
        let new = about("Reads.\r\u{200b}\u{1b}[2J", json!({"type": "object"}));
        let difference = |part, old: Option<&str>, new: &str| Difference {
            part,
            old: old.map(str::to_owned),
            new: new.to_owned(),
        };
        assert_eq!(
            differences(Some(&old), Some(&new)),
            [difference("description", Some("Reads."), "Reads.\\r\\u{200b}\\u{1b}[2J")]
        );
        let schema = about("Reads.", json!({"type": "object", "required": ["q"]}));
        assert_eq!(
            differences(Some(&old), Some(&schema)),
            [difference("schema", Some(r#"{"type":"object"}"#), r#"{"required":["q"],"type":"object"}"#)]
        );
        let unknown = differences(None, Some(&new));
        assert_eq!((unknown.len(), unknown[0].old.as_deref()), (3, None));
        assert_eq!(About::read(&new.written()), Some(new));
    }

    #[test]
    fn a_difference_at_the_end_of_a_long_text_is_seen() {
        let about = |end: &str| About::of(&("x".repeat(5000) + end), &json!({}), &json!({}));
        let found = differences(Some(&about("a")), Some(&about(&"b".repeat(2000)))).remove(0);
        let same = "x".repeat(CONTEXT_CHARS);
        assert_eq!(found.old.unwrap(), format!("…{same}a"));
        assert_eq!(found.new, format!("…{same}{}…", "b".repeat(MAX_SHOWN_CHARS - CONTEXT_CHARS)));
        // What is not kept is said.
        let about = |end: &str| About::of(&("x".repeat(MAX_KEPT_BYTES) + end), &json!({}), &json!({}));
        let found = differences(Some(&about("a")), Some(&about("b")));
        assert_eq!((found.len(), found[0].part), (1, "rest"));
    }
}
