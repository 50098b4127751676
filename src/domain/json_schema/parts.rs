//! Helpers shared by validating values and checking schemas.
use regex_lite::Regex;
use serde_json::Value;

/// Size limits for a compiled pattern, in bytes: the smallest sufficient one tells its cost.
const MAX_PATTERN_BYTES: [usize; 3] = [4 << 10, 32 << 10, 256 << 10];

/// Approximate size of a state in a compiled pattern, in bytes.
const STATE_BYTES: usize = 32;

/// A compiled pattern, and its cost.
pub(super) struct Pattern {
    pub(super) regex: Regex,
    pub(super) states: u64,
}

pub(super) fn pattern_of(pattern: &str) -> Result<Pattern, regex_lite::Error> {
    let of = |size: usize| {
        let regex = regex_lite::RegexBuilder::new(pattern).size_limit(size).build()?;
        Ok(Pattern { regex, states: (size / STATE_BYTES) as u64 })
    };
    let [small, middle, large] = MAX_PATTERN_BYTES;
    of(small).or_else(|_: regex_lite::Error| of(middle)).or_else(|_| of(large))
}

/// Resolves a reference within the document: `#`, or `#` and a JSON pointer (RFC 6901).
pub(super) fn lookup<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(reference.strip_prefix('#')?)
}
