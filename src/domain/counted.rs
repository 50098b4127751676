//! Counts with their nouns.
use std::fmt::Display;

/// Formats a count with its noun, which gets a plural `s`: `1 run`, `2 runs`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let s = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{s}")
}

#[cfg(test)]
mod tests {
    //! Tests of counts.
    use super::counted;

    #[test]
    fn one_is_one_and_none_are_many() {
        assert_eq!([0, 1, 2].map(|n: usize| counted(n, "run")), ["0 runs", "1 run", "2 runs"]);
    }
}
