//! Lenient JSON parsing. Strict parsing comes first; only if it fails are common mistakes corrected. Nothing is
//! completed: a truncated text remains invalid.
use serde::de::DeserializeOwned;
use serde_json::{Error, Value};

/// Which mistakes are corrected in invalid JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonMistakes {
    /// Encoding of values: invalid UTF-8 and lone surrogates become U+FFFD, control characters in strings are
    /// accepted, `NaN` and infinities become null.
    Encoding,
    /// Also syntax: trailing commas, single quotes, the constants of Python, invalid escapes.
    All,
}

/// Parses JSON, with mistakes corrected if necessary.
///
/// # Errors
/// The error of the original text.
pub fn read_json<T: DeserializeOwned>(text: &[u8], slips: JsonMistakes) -> Result<T, Error> {
    serde_json::from_slice(text).or_else(|error| {
        let text = String::from_utf8_lossy(text);
        serde_json::from_str(&repaired_json(&text, slips)).map_err(|_| error)
    })
}

/// Maximum nesting of lists and objects in a value from outside, so that it can be parsed again when it is stored
/// or sent within another: parsers give up at 128.
pub const MOST_NESTED: usize = 100;

/// Returns whether a value has more than this many levels of lists and objects.
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|item| is_deeper(item, levels - 1)),
        _ => false,
    }
}

/// Returns the text with mistakes corrected, for callers with a parser of their own.
pub fn repaired_json(text: &str, slips: JsonMistakes) -> String {
    let text = text.trim_start_matches('\u{feff}');
    let mut repair =
        Repair { rest: text, out: String::with_capacity(text.len() + 16), all: slips == JsonMistakes::All };
    while let Some(c) = repair.take() {
        match c {
            '"' => repair.string('"'),
            '\'' if repair.all => repair.string('\''),
            ',' if repair.all && repair.closes() => {}
            '\u{a0}' if repair.all => repair.out.push(' '),
            '-' if repair.rest.starts_with("Infinity") => {}
            c if c.is_ascii_alphabetic() => repair.word(c),
            c => repair.out.push(c),
        }
    }
    repair.out
}

struct Repair<'a> {
    rest: &'a str,
    out: String,
    all: bool,
}

impl Repair<'_> {
    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Returns whether an object or a list ends here.
    fn closes(&self) -> bool {
        self.rest.trim_start().starts_with(['}', ']'])
    }

    /// Handles a bare word that begins with this character.
    fn word(&mut self, first: char) {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match (first, word) {
            ('N', "aN") | ('I', "nfinity") => self.out.push_str("null"),
            ('N', "one") | ('u', "ndefined") if self.all => self.out.push_str("null"),
            ('T', "rue") if self.all => self.out.push_str("true"),
            ('F', "alse") if self.all => self.out.push_str("false"),
            _ => {
                self.out.push(first);
                self.out.push_str(word);
            }
        }
    }

    /// Handles the rest of a string that was opened by `quote`.
    fn string(&mut self, quote: char) {
        self.out.push('"');
        while let Some(c) = self.take() {
            match c {
                c if c == quote => {
                    self.out.push('"');
                    return;
                }
                '"' => self.out.push_str("\\\""),
                '\\' => self.escape(),
                '\n' => self.out.push_str("\\n"),
                '\t' => self.out.push_str("\\t"),
                c if c < ' ' => self.out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => self.out.push(c),
            }
        }
    }

    /// Handles the character after a backslash.
    fn escape(&mut self) {
        match self.take() {
            Some('u') => self.unicode(),
            Some(c @ ('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't')) => {
                self.out.push('\\');
                self.out.push(c);
            }
            Some('\'') if self.all => self.out.push('\''),
            Some(c) => {
                // a literal backslash: a path, a pattern
                self.out.push_str(if self.all { "\\\\" } else { "\\" });
                self.out.push(c);
            }
            None => self.out.push('\\'),
        }
    }

    /// Handles the four digits of a Unicode escape, and a second surrogate if needed.
    fn unicode(&mut self) {
        let Some(unit) = digits(self.rest) else {
            self.out.push_str(if self.all { "\\\\u" } else { "\\u" });
            return;
        };
        let own = &self.rest[..4];
        self.rest = &self.rest[4..];
        let other = self.rest.strip_prefix("\\u").and_then(digits);
        match (unit, other) {
            (0xd800..=0xdbff, Some(0xdc00..=0xdfff)) => {
                let pair = &self.rest[..6];
                self.out.push_str("\\u");
                self.out.push_str(own);
                self.out.push_str(pair);
                self.rest = &self.rest[6..];
            }
            (0xd800..=0xdfff, _) => self.out.push('\u{fffd}'),
            _ => {
                self.out.push_str("\\u");
                self.out.push_str(own);
            }
        }
    }
}

/// Parses the first four characters as hexadecimal.
fn digits(text: &str) -> Option<u16> {
    let four = text.get(..4).filter(|four| four.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u16::from_str_radix(four, 16).ok()
}

#[cfg(test)]
mod tests {
    //! Tests of careless JSON.
    use super::*;
    use serde_json::json;

    #[test]
    fn levels_are_counted() {
        for (value, levels) in
            [(json!(1), 0), (json!([]), 1), (json!({"a": [1]}), 2), (json!([1, {"a": [{}]}, []]), 4)]
        {
            assert!(!is_deeper(&value, levels), "{value}");
            assert!(levels == 0 || is_deeper(&value, levels - 1), "{value}");
        }
    }

    #[test]
    fn what_is_badly_encoded_is_read() {
        for (text, value) in [
            (r#"{"a": "cut \ud83d"}"#.as_bytes(), json!({"a": "cut \u{fffd}"})),
            (br#"{"a": "\udc00\ud83d x \ud83d\ude00"}"#, json!({"a": "\u{fffd}\u{fffd} x \u{1f600}"})),
            (br#"{"\\ud83d": "\\\ud83d"}"#, json!({"\\ud83d": "\\\u{fffd}"})),
            (b"{\"a\": \"caf\xe9\"}", json!({"a": "caf\u{fffd}"})),
            (b"[NaN, -Infinity, Infinity, \"NaN\", -1]", json!([null, null, null, "NaN", -1])),
            (b"{\"a\": \"one\ntwo\tthree\x01\"}", json!({"a": "one\ntwo\tthree\u{1}"})),
            ("\u{feff}[true]".as_bytes(), json!([true])),
        ] {
            assert_eq!(read_json::<Value>(text, JsonMistakes::Encoding).unwrap(), value);
            assert_eq!(read_json::<Value>(text, JsonMistakes::All).unwrap(), value);
        }
    }

    #[test]
    fn what_is_carelessly_written_is_read_where_that_is_wanted() {
        for (text, value) in [
            (r#"{"a": [1, 2, ], "b": {"c": 1,},}"#, json!({"a": [1, 2], "b": {"c": 1}})),
            (
                r#"{'a': 'it\'s "so"', 'b': True, 'c': [None, False]}"#,
                json!({"a": "it's \"so\"", "b": true, "c": [null, false]}),
            ),
            (r#"{"path": "C:\Users\x", "re": "\d+\."}"#, json!({"path": "C:\\Users\\x", "re": "\\d+\\."})),
        ] {
            assert_eq!(read_json::<Value>(text.as_bytes(), JsonMistakes::All).unwrap(), value);
            assert!(read_json::<Value>(text.as_bytes(), JsonMistakes::Encoding).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_stays_so() {
        for text in ["", "{\"a\": \"b", "{\"a\": 1", "[1,", "{\"a\": \"\\ud83d", "nonsense", "{'a"] {
            assert!(read_json::<Value>(text.as_bytes(), JsonMistakes::All).is_err(), "{text}");
        }
    }
}
