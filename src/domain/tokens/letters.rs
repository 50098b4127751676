//! What the measured tokenizers have in common for plain letters: pairs that each of them merges, and words that
//! are one token to all.
//!
//! Tokenizers of this kind merge neighbours until no known pair is left. So two single-letter tokens are never
//! adjacent where their pair is known, and in a row of such letters at most two of three begin a token. That holds
//! for any text, even an adversarial one.

use std::sync::LazyLock;

/// Letter pairs: bit `b` of row `a` is set if `ab` is one token to all tokenizers.
type Pairs = [u32; 26];

const SMALL: Pairs = [
    0x3feffff, 0x11ef9ff, 0x3bffdff, 0x3fefdbf, 0x3ffbfff, 0x1def97f, 0x31ee9df, 0x15ef9bd, 0x3ffffff,
    0x0144719, 0x17e7dd7, 0x13efb5f, 0x1bffd7f, 0x1bef9ff, 0x3feffff, 0x1fefdff, 0x01d8801, 0x3fef9ff,
    0x37ffdff, 0x3fefdff, 0x3feffff, 0x12ed93f, 0x1cef99f, 0x18c893f, 0x10efc5d, 0x35c759b,
];
const CAPITALS: Pairs = [
    0x1febdff, 0x11ef97f, 0x13efdff, 0x01ef93f, 0x0aff83f, 0x0cef93f, 0x01ef97f, 0x14ec99d, 0x2aef97f,
    0x0044000, 0x0040410, 0x10cd91d, 0x18ed97f, 0x13ef97d, 0x00efc6e, 0x11efdff, 0x0100800, 0x0eed97f,
    0x17efdff, 0x1aed9bd, 0x0aebd5f, 0x00ed93f, 0x04ef1bd, 0x18a0000, 0x100a000, 0x2000010,
];
/// A capital followed by a small letter.
const CAPITALISED: Pairs = [
    0x22eb8ee, 0x1124910, 0x0024880, 0x0124113, 0x0a73808, 0x0022910, 0x0124811, 0x3000111, 0x00ef828,
    0x0044010, 0x0000010, 0x0104111, 0x1164015, 0x0044019, 0x006b4a2, 0x10e4990, 0x0180000, 0x0804010,
    0x158fd95, 0x1c24090, 0x00ca100, 0x0004100, 0x0000090, 0x0000000, 0x0000000, 0x0000000,
];

/// Words that are one token to all tokenizers after a blank. A word marked with a period is one token without a
/// blank as well; one marked with a hyphen only without.
const WORDS: &str = include_str!("words.txt");
/// Length of the longest word, in bytes.
const MAX_WORD_BYTES: usize = 20;

/// Returns whether a pair of letters is one token to all tokenizers.
pub(super) fn is_joined(before: u8, letter: u8) -> bool {
    let pairs = match (before.is_ascii_lowercase(), letter.is_ascii_lowercase()) {
        (true, true) => &SMALL,
        (false, false) => &CAPITALS,
        (false, true) => &CAPITALISED,
        // some split there
        (true, false) => return false,
    };
    let place = |letter: u8| usize::from(letter.to_ascii_lowercase() - b'a');
    pairs[place(before)] >> place(letter) & 1 == 1
}

/// The context in which a word is one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    BehindBlank,
    Elsewhere,
    Anywhere,
}

/// Returns whether a word is one token to all tokenizers. A single letter is.
pub(super) fn is_one_token(word: &str, behind_blank: bool) -> bool {
    if word.len() == 1 {
        return true;
    }
    match (word.len() <= MAX_WORD_BYTES).then(|| known(word)).flatten() {
        Some(Known::Anywhere) => true,
        Some(Known::BehindBlank) => behind_blank,
        Some(Known::Elsewhere) => !behind_blank,
        None => false,
    }
}

/// Size of the hash table: twice the number of words, to limit collisions.
const SLOTS: usize = 1 << 15;

/// Hash table of the offsets of words in [`WORDS`], plus one; 0: empty. Collisions are resolved by linear probing.
static WORD_OFFSETS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut places = vec![0; SLOTS];
    let mut begin = 1;
    for line in WORDS.lines() {
        let mut slot = slot_of(line.trim_end_matches(['.', '-']));
        while places[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        places[slot] = begin;
        begin += line.len() as u32 + 1;
    }
    places
});

/// FNV-1a, since a page requires some ten thousand lookups.
fn slot_of(word: &str) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    for byte in word.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    (hash ^ hash >> 15) as usize % SLOTS
}

fn known(word: &str) -> Option<Known> {
    let mut slot = slot_of(word);
    loop {
        let begin = WORD_OFFSETS[slot].checked_sub(1)? as usize;
        let line = &WORDS.as_bytes()[begin..];
        if line.starts_with(word.as_bytes()) {
            match line[word.len()] {
                b'\n' => return Some(Known::BehindBlank),
                b'.' => return Some(Known::Anywhere),
                b'-' => return Some(Known::Elsewhere),
                _ => {}
            }
        }
        slot = (slot + 1) % SLOTS;
    }
}

#[cfg(test)]
mod tests {
    //! Tests of what is known.
    use super::*;

    #[test]
    fn each_word_is_found_and_no_other() {
        for line in WORDS.lines() {
            let word = line.trim_end_matches(['.', '-']);
            let expected = match line.as_bytes()[line.len() - 1] {
                b'.' => Known::Anywhere,
                b'-' => Known::Elsewhere,
                _ => Known::BehindBlank,
            };
            assert_eq!((known(word), word.len() <= MAX_WORD_BYTES), (Some(expected), true), "{word}");
        }
        assert!((15_000..SLOTS / 2).contains(&WORDS.lines().count()));
        for other in ["", "aaaaaaaa", "zzzz", "Zzzz", "thez", "responsibilit", "A", "zebrafishes"] {
            assert_eq!(known(other), None, "{other}");
        }
        assert!(is_one_token("the", true) && is_one_token("the", false) && is_one_token("q", false));
        assert!(!is_one_token("qzjx", true));
    }

    #[test]
    fn pairs_are_told_apart_by_their_case() {
        assert!(is_joined(b't', b'h') && is_joined(b'T', b'h') && is_joined(b'S', b'T'));
        assert!(!is_joined(b'j', b'q') && !is_joined(b'e', b'T') && !is_joined(b'Z', b'q'));
    }
}
