//! Texts that were encoded and broken into lines, as base64(1) does it after 76 columns and PEM after 64: what stands
//! behind a break belongs to what stands before it.
//!
//! Only a break behind a long run of letters of base64 counts, so that prose is no such text. Within JSON a break is
//! a `\n` of two characters.

/// Letters that stand before a break of lines, at the least.
const LEAST_RUN: usize = 16;

/// A text without its breaks, with the place of each byte.
pub(super) struct Joined {
    pub(super) bytes: Vec<u8>,
    /// Where each byte was.
    pub(super) at: Vec<usize>,
}

/// The text without breaks, if it has some. `run`: so many letters of base64 stood directly before it. `goes_on`: more
/// may come, so that a backslash at its end may become a break.
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

/// How many letters of base64 stand at the end of a text, which followed `run` of them.
pub(super) fn run_at_end(text: &str, run: usize) -> usize {
    let own = text.bytes().rev().take_while(|byte| is_letter(*byte)).count();
    if own == text.len() { run + own } else { own }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// Where breaks begin and end.
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
        if at > start && run >= LEAST_RUN {
            all.push((start, at));
        }
        at = at.max(start + 1);
        run = 0;
    }
    all
}

/// Length of a blank, or of the escape of one, at the beginning.
fn blank(bytes: &[u8], goes_on: bool) -> Option<usize> {
    match bytes {
        [b' ' | b'\t' | b'\n' | b'\r', ..] => Some(1),
        [b'\\', b'n' | b'r' | b't', ..] => Some(2),
        [b'\\'] if goes_on => Some(1),
        _ => None,
    }
}
