//! The forms in which a secret may occur in a text: as it is, and as programs encode it.
use crate::domain::hex;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Returns all forms of a value that are searched for, without duplicates.
pub(super) fn forms(value: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::from([value.to_owned()]);
    base64(value.as_bytes(), &mut all);
    let digits = hex(value.as_bytes());
    all.insert(digits.to_ascii_uppercase());
    all.insert(digits);
    percent(value, &mut all);
    json(value, &mut all);
    all
}

/// Adds the encoding of the value alone, and the invariant parts of its encodings within longer data: base64 encodes three
/// bytes at a time, so there are three alignments.
fn base64(value: &[u8], all: &mut BTreeSet<String>) {
    for engine in [&STANDARD, &URL_SAFE] {
        let alone = engine.encode(value);
        all.insert(alone.trim_end_matches('=').to_owned());
        all.insert(alone);
        for before in 0..3 {
            let within = engine.encode([&[0; 2][..before], value].concat());
            // 6 bits per character: the first few contain bits of the preceding data, the last one of the following.
            let first = (before * 8).div_ceil(6);
            let end = (before + value.len()) * 8 / 6;
            all.insert(within[first..end].to_owned());
        }
    }
}

/// Adds URL and form encodings. Encoders differ in which characters they keep.
fn percent(value: &str, all: &mut BTreeSet<String>) {
    const KEPT: [&str; 4] = [
        // RFC 3986, 2.3
        "-._~",
        // JavaScript's encodeURIComponent
        "-._~!'()*",
        // application/x-www-form-urlencoded
        "*-._+",
        // Python's quote()
        "-._~/",
    ];
    for kept in KEPT {
        for upper in [true, false] {
            let mut text = String::new();
            for byte in value.bytes() {
                match char::from(byte) {
                    ' ' if kept.ends_with('+') => text.push('+'),
                    c if c.is_ascii_alphanumeric() || (kept.contains(c) && c != '+') => text.push(c),
                    _ if upper => {
                        let _ = write!(text, "%{byte:02X}");
                    }
                    _ => {
                        let _ = write!(text, "%{byte:02x}");
                    }
                }
            }
            all.insert(text);
        }
    }
}

/// Adds JSON string encodings: the minimum of escapes, also with `/`, and also with all non-ASCII characters.
fn json(value: &str, all: &mut BTreeSet<String>) {
    let quoted = serde_json::Value::from(value).to_string();
    let least = &quoted[1..quoted.len() - 1];
    for text in [least.to_owned(), least.replace('/', "\\/")] {
        for upper in [false, true] {
            let mut ascii = String::new();
            for unit in text.encode_utf16() {
                match u8::try_from(unit) {
                    Ok(byte) if byte.is_ascii() => ascii.push(char::from(byte)),
                    _ if upper => {
                        let _ = write!(ascii, "\\u{unit:04X}");
                    }
                    _ => {
                        let _ = write!(ascii, "\\u{unit:04x}");
                    }
                }
            }
            all.insert(ascii);
        }
        all.insert(text);
    }
}
