//! Masks the key in a provider's answer: each byte of it becomes an asterisk, so that lengths are kept.
use aho_corasick::AhoCorasick;
use hyper::body::Bytes;
use zeroize::Zeroizing;

/// Shorter values could match by coincidence.
const MIN_SECRET_BYTES: usize = 8;

/// Masks secrets in a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Keyhole {
    secrets: Vec<Zeroizing<Vec<u8>>>,
    finder: Option<AhoCorasick>,
    /// The end of the input, which may be the beginning of a secret.
    open: Vec<u8>,
}

impl Keyhole {
    pub(super) fn new(secrets: &[Zeroizing<String>]) -> Self {
        let long = secrets.iter().filter(|secret| secret.len() >= MIN_SECRET_BYTES);
        let secrets: Vec<_> = long.map(|secret| Zeroizing::new(secret.as_bytes().to_vec())).collect();
        let finder =
            if secrets.is_empty() { None } else { AhoCorasick::new(secrets.iter().map(|s| &s[..])).ok() };
        Self { secrets, finder, open: Vec::new() }
    }

    /// Returns what may be forwarded. A byte is only held back while it may belong to the beginning of a secret.
    pub(super) fn push(&mut self, bytes: Bytes) -> Bytes {
        let Some(finder) = &self.finder else { return bytes };
        let bytes = match self.open.is_empty() {
            true => bytes,
            false => {
                let mut whole = std::mem::take(&mut self.open);
                whole.extend_from_slice(&bytes);
                Bytes::from(whole)
            }
        };
        let bytes = if finder.is_match(&bytes[..]) { masked(finder, &bytes) } else { bytes };
        let open = self.open_end(&bytes);
        self.open = bytes[bytes.len() - open..].to_vec();
        bytes.slice(..bytes.len() - open)
    }

    /// Returns what is still held back at the end of the input.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.open).into()
    }

    /// Returns whether the bytes contain a secret.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        self.finder.as_ref().is_some_and(|finder| finder.is_match(bytes))
    }

    /// Returns how many bytes at the end may be the beginning of a secret.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let of = |secret: &Zeroizing<Vec<u8>>| {
            let most = (secret.len() - 1).min(bytes.len());
            (1..=most).rev().find(|length| secret.starts_with(&bytes[bytes.len() - length..])).unwrap_or(0)
        };
        self.secrets.iter().map(of).max().unwrap_or(0)
    }
}

fn masked(finder: &AhoCorasick, bytes: &[u8]) -> Bytes {
    let mut clean = bytes.to_vec();
    // including overlapping matches: otherwise part of a secret would remain
    for found in finder.find_overlapping_iter(bytes) {
        clean[found.range()].fill(b'*');
    }
    clean.into()
}

#[cfg(test)]
mod tests {
    //! Tests of keys that come in pieces.
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "sk-secret-sk-sec-0123";

    fn passed(text: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut hole = Keyhole::new(&[Zeroizing::new(KEY.to_owned()), Zeroizing::new("short".into())]);
        let mut out = Vec::new();
        let mut rest = text;
        for cut in cuts {
            let (piece, more) = rest.split_at((*cut).min(rest.len()));
            out.extend_from_slice(&hole.push(Bytes::copy_from_slice(piece)));
            rest = more;
        }
        out.extend_from_slice(&hole.push(Bytes::copy_from_slice(rest)));
        out.extend_from_slice(&hole.rest());
        out
    }

    #[test]
    fn nothing_is_held_back_that_is_no_begin_of_a_key() {
        let mut hole = Keyhole::new(&[Zeroizing::new(KEY.to_owned())]);
        let event = Bytes::from_static(b"data: {\"text\":\"task-s\"}\n\n");
        assert_eq!(hole.push(event.clone()), event);
        assert_eq!(hole.push(Bytes::from_static(b"a sk-s")), Bytes::from_static(b"a "));
        assert_eq!(hole.push(Bytes::from_static(b"ky\n")), Bytes::from_static(b"sk-sky\n"));
        assert!(hole.is_in(KEY.as_bytes()) && !hole.is_in(b"sk-secret-"));
    }

    proptest! {
        #[test]
        fn a_key_never_goes_through_and_all_else_does(
            parts in proptest::collection::vec(prop_oneof![Just(KEY.to_owned()), Just("sk-secret-".into()), "[a-z -]{0,12}"], 0..8),
            cuts in proptest::collection::vec(0_usize..9, 0..40),
        ) {
            let text = parts.concat();
            let through = String::from_utf8(passed(text.as_bytes(), &cuts)).unwrap();
            prop_assert!(!through.contains(KEY));
            prop_assert_eq!(through, text.replace(KEY, &"*".repeat(KEY.len())));
        }
    }
}
