//! What a check and a look at a schema have in common.
use regex_lite::Regex;
use serde_json::Value;

/// Bytes that a pattern may need when it is ready: the first that is enough tells how much work it is.
const PATTERN_SIZES: [usize; 3] = [4 << 10, 32 << 10, 256 << 10];

/// Bytes of a pattern for each of its states, about.
const STATE: usize = 32;

/// A pattern that is ready, and what it may cost.
pub(super) struct Pattern {
    pub(super) regex: Regex,
    pub(super) states: u64,
}

pub(super) fn pattern_of(pattern: &str) -> Result<Pattern, regex_lite::Error> {
    let of = |size: usize| {
        let regex = regex_lite::RegexBuilder::new(pattern).size_limit(size).build()?;
        Ok(Pattern { regex, states: (size / STATE) as u64 })
    };
    let [small, middle, large] = PATTERN_SIZES;
    of(small).or_else(|_: regex_lite::Error| of(middle)).or_else(|_| of(large))
}

/// What a reference within the document means: `#`, or a JSON pointer (RFC 6901) behind it.
pub(super) fn lookup<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(reference.strip_prefix('#')?)
}
