//! Tests of redaction. What is known is known to the whole process, so each test has canaries of its own.
use super::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::json;

const CANARIES: [&str; 6] = [
    "canary-7f3a91",
    "sk-proj-Zq8_wP4~tL0+vN2/xB6=",
    "p@ss \"word\"\\ & more",
    "Schlüssel🔑geheim",
    "first line\nsecond line\n",
    "tab\there",
];

fn known() {
    CANARIES.iter().for_each(|canary| remember(canary));
}

/// What programs make of a secret, by means other than `forms`.
fn encoded(value: &str) -> Vec<String> {
    let bytes = value.as_bytes();
    let url = reqwest::Url::parse_with_params("http://x/", [("k", value)]).unwrap();
    let ascii: String = value
        .encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte @ 0x20..0x7f) if byte != b'"' && byte != b'\\' => char::from(byte).to_string(),
            Ok(b'"') => "\\\"".into(),
            Ok(b'\\') => "\\\\".into(),
            Ok(b'\n') => "\\n".into(),
            Ok(b'\t') => "\\t".into(),
            _ => format!("\\u{unit:04x}"),
        })
        .collect();
    vec![
        value.into(),
        STANDARD.encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        bytes.iter().map(|byte| format!("%{byte:02X}")).collect::<String>(),
        url.query().unwrap()[2..].to_owned(),
        json!(value).to_string().trim_matches('"').to_owned(),
        ascii,
    ]
}

#[test]
fn every_form_is_found() {
    known();
    for canary in CANARIES {
        for form in encoded(canary) {
            if form.starts_with('%') {
                continue; // all bytes escaped: nobody does that with letters
            }
            let text = format!("before {form} after");
            assert_eq!(redact(&text), format!("before {REDACTED} after"), "{canary:?} as {form:?}");
        }
        // Basic authentication, and any other place within what was encoded.
        for before in ["", "u", "us", "use", "user:"] {
            for engine in [&STANDARD, &URL_SAFE] {
                let text = engine.encode(format!("{before}{canary}, and more"));
                let clean = redact(&text);
                assert!(clean.contains(REDACTED), "{canary:?} after {before:?}: {clean}");
                let left = clean.replace(REDACTED, "").len();
                assert!(
                    left <= text.len() - canary.len() * 4 / 3 + 4,
                    "{canary:?} after {before:?}: {clean}"
                );
            }
        }
    }
}

/// Base64 as base64(1), PEM and mail break it, and as a value of JSON.
fn wrapped(value: &str) -> Vec<String> {
    let mut all = Vec::new();
    for engine in [&STANDARD, &URL_SAFE] {
        for around in ["", "some words before it, enough for a line: "] {
            let text = engine.encode(format!("{around}{value}{around}"));
            for columns in [64, 76, 60, 20] {
                for between in ["\n", "\r\n", "\n    ", "\\n", " "] {
                    let lines: Vec<&str> = text
                        .as_bytes()
                        .chunks(columns)
                        .map(|line| std::str::from_utf8(line).unwrap())
                        .collect();
                    all.push(lines.join(between));
                }
            }
        }
    }
    all
}

const LONG: &str = "sk-ant-api03-4hX9vQ2mWz7TbN1cLk8sYd5uRf0oGj3eHaPi6xVtBnMqZwCy_-8KdLs2fJg9";

#[test]
fn base64_with_line_breaks_is_found() {
    remember(LONG);
    for text in wrapped(LONG) {
        let clean = redact(&format!("{text}\n")).into_owned();
        let left: String = clean.replace(REDACTED, "").split_whitespace().collect();
        let joined: String = text.replace("\\n", "").split_whitespace().collect();
        assert!(
            left.replace("\\n", "").len() + LONG.len() * 4 / 3 <= joined.len() + 4,
            "{text:?}: {clean:?}"
        );
    }
    let prose = "a line of words\nand another line of them\n";
    assert!(matches!(redact(prose), Cow::Borrowed(_)));
}

#[test]
fn base64_with_line_breaks_is_found_in_pieces() {
    remember(LONG);
    for text in wrapped(LONG).iter().step_by(3) {
        let text = format!("{text}\nand more\n");
        let whole = redact(&text);
        for first in 0..text.len() {
            let (a, rest) = text.split_at(first);
            assert_eq!(in_pieces(&[a, rest]), whole, "{a:?} {rest:?}");
        }
        let single: Vec<String> = text.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        assert_eq!(in_pieces(&single), whole, "{text:?} by letters");
    }
}

#[test]
fn what_a_configuration_refers_to_is_not_crowded_out() {
    remember_all(["learnt-canary-1142"].into_iter());
    assert_eq!(redact("learnt-canary-1142"), REDACTED);
    remember("learnt-canary-1142");
    let known = VALUES.lock().unwrap();
    assert!(!known.used.iter().any(|value| value.as_str() == "learnt-canary-1142"), "it is known already");
}

#[test]
fn innocent_texts_are_not_copied() {
    known();
    for text in ["", "nothing here", "canary-7f3a9", "🔑"] {
        assert!(matches!(redact(text), Cow::Borrowed(_)), "{text}");
    }
    let count = || VALUES.lock().unwrap().used.len();
    let before = count();
    remember("short");
    remember(CANARIES[0]);
    assert!(count() >= before);
    assert_eq!(redact("short"), "short");
}

#[test]
fn what_overlaps_is_one() {
    remember("overlap-abc-def");
    remember("def-ghi-overlap");
    remember("abc-def-ghi");
    assert_eq!(redact("[overlap-abc-def-ghi-overlap]"), format!("[{REDACTED}]"));
    assert_eq!(redact("overlap-abc-defoverlap-abc-def!"), format!("{REDACTED}{REDACTED}!"));
    assert_eq!(redact("overlap-abc-def overlap-abc-def"), format!("{REDACTED} {REDACTED}"));
}

#[test]
fn json_is_clean_inside() {
    known();
    remember("8675309867");
    let mut value = json!({
        "a": ["x", CANARIES[0], {"b": format!("Bearer {}", CANARIES[1])}],
        CANARIES[3]: {"c": 8675309867_u64},
        "d": [null, true, 1.5],
    });
    redact_json(&mut value);
    let clean = json!({
        "a": ["x", REDACTED, {"b": format!("Bearer {REDACTED}")}],
        REDACTED: {"c": REDACTED},
        "d": [null, true, 1.5],
    });
    assert_eq!(value, clean);
}

fn in_pieces(pieces: &[&str]) -> String {
    let mut redactor = Redactor::new();
    let mut out: String = pieces.iter().map(|piece| redactor.push(piece)).collect();
    out.push_str(&redactor.finish());
    out
}

/// The streams give what the whole text would.
#[test]
fn a_split_at_each_place_is_found() {
    known();
    remember("overlap-abc-def");
    remember("def-ghi-overlap");
    let mut texts: Vec<String> = CANARIES
        .iter()
        .flat_map(|canary| encoded(canary))
        .map(|form| format!("x{form}{form} y{form}"))
        .collect();
    texts.push("overlap-abc-def-ghi-overlap-abc-def canary-7f3a9".into());
    texts.push("canary-canary-7f3a91canary-7f3acanary-7f3a91".into());
    for text in &texts {
        let whole = redact(text);
        let cuts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        for first in &cuts {
            let (a, rest) = text.split_at(*first);
            assert_eq!(in_pieces(&[a, rest]), whole, "{a:?} {rest:?}");
            for second in cuts.iter().filter(|second| *second > first).step_by(17) {
                let (b, c) = rest.split_at(second - first);
                assert_eq!(in_pieces(&[a, b, c]), whole, "{a:?} {b:?} {c:?}");
            }
        }
        let single: Vec<String> = text.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        assert_eq!(in_pieces(&single), whole, "{text:?} by letters");
    }
}

#[test]
fn only_what_may_be_a_secret_is_held_back() {
    let finder = Finder::of(["canary-7f3a91"].into_iter()).unwrap();
    let mut redactor = Redactor::new();
    let mut push = |chunk: &str| redactor.push_for(&finder, chunk);
    assert_eq!(push("a line of output\n"), "a line of output\n");
    assert_eq!(push("the key is canary-7f"), "the key is ");
    assert_eq!(push("3a91"), REDACTED);
    assert_eq!(push(" and"), " and");
    assert_eq!(push(" canary-7"), " ");
    assert_eq!(push(" no"), "canary-7 no");
    assert_eq!(push(&"canary-7f3a91".repeat(10_000)), REDACTED.repeat(10_000));
}

#[test]
fn long_ones_are_known() {
    let finder = Finder::of(["x".repeat(60 << 10), "k".repeat(700)].iter().map(String::as_str)).unwrap();
    assert_eq!(finder.redact(&format!("<{}>", "k".repeat(700))), format!("<{REDACTED}>"));
    assert_eq!(finder.redact(&format!("<{}>", "x".repeat(60 << 10))), format!("<{REDACTED}>"));
}

proptest::proptest! {
    /// However a text is cut, streams and whole texts agree.
    #[test]
    fn streams_agree_with_whole_texts(
        parts in proptest::collection::vec("(abcabc-secret|abcabc|secret-abc|[a-c -]{0,4}|c2VjcmV0)", 0..20),
        cuts in proptest::collection::vec(0usize..200, 0..12),
    ) {
        remember("abcabc-secret");
        remember("secret-abcabc");
        let text = parts.concat();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.push(0);
        cuts.push(text.len());
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        proptest::prop_assert_eq!(in_pieces(&pieces), redact(&text).into_owned());
    }
}
