//! Encoded texts that were split into lines, as by base64(1) after 76 columns and PEM after 64: the parts before and after a
//! line break belong together.
//!
//! Only a line break after a long run of base64 characters counts, so that prose is not affected. Within JSON a line break is a
//! `\n` of two characters.

/// Minimum number of base64 characters before a line break.
const MIN_RUN_CHARS: usize = 16;

/// A text without its line breaks, with the position of each byte.
pub(super) struct Joined {
    pub(super) bytes: Vec<u8>,
    /// The original position of each byte.
    pub(super) at: Vec<usize>,
}

/// Removes line breaks, if there are any. `run`: number of base64 characters directly before the text. `goes_on`: more may
/// follow, so that a backslash at its end may become a line break.
pub(super) fn join(text: &str, run: usize, goes_on: bool) -> Option<Joined> {
    let bytes = text.as_bytes();
    let breaks = breaks(bytes, run, goes_on);
    if breaks.is_empty() {
        return None;
    }
    let mut joined = Joined { bytes: Vec::with_capacity(bytes.len()), at: Vec::with_capacity(bytes.len()) };
    let mut from = 0;
    for (start, end) in breaks.into_iter().chain([(bytes.len(), bytes.len())]) {
        joined.bytes.extend_from_slice(&bytes[from..start]);
        joined.at.extend(from..start);
        from = end;
    }
    Some(joined)
}

/// Returns the number of base64 characters at the end of a text that followed `run` of them.
pub(super) fn run_at_end(text: &str, run: usize) -> usize {
    let own = text.bytes().rev().take_while(|byte| is_letter(*byte)).count();
    if own == text.len() { run + own } else { own }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// Returns the ranges of line breaks.
fn breaks(bytes: &[u8], mut run: usize, goes_on: bool) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if is_letter(bytes[at]) {
            run += 1;
            at += 1;
            continue;
        }
        let start = at;
        while let Some(length) = blank(&bytes[at..], goes_on) {
            at += length;
        }
        if at > start && run >= MIN_RUN_CHARS {
            all.push((start, at));
        }
        at = at.max(start + 1);
        run = 0;
    }
    all
}

/// Returns the length of a blank, or of an escaped one, at the beginning.
fn blank(bytes: &[u8], goes_on: bool) -> Option<usize> {
    match bytes {
        [b' ' | b'\t' | b'\n' | b'\r', ..] => Some(1),
        [b'\\', b'n' | b'r' | b't', ..] => Some(2),
        [b'\\'] if goes_on => Some(1),
        _ => None,
    }
}
