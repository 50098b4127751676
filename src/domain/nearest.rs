//! "Did you mean": finds the known word that is nearest to a misspelled one.

/// Maximum length of a word, in bytes: the work grows with the product of both lengths.
const MAX_WORD_BYTES: usize = 256;
/// Maximum number of edits of a plausible typo.
const MAX_EDITS: usize = 3;

/// Returns the word with the fewest edits, if these are few for its length: at most half of it, one in a word of up
/// to four letters, and never more than three.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_WORD_BYTES {
        return None;
    }
    let length = word.chars().count();
    known
        .filter(|candidate| {
            candidate.len() <= MAX_WORD_BYTES && candidate.chars().count().abs_diff(length) <= MAX_EDITS
        })
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= max_edits(candidate.chars().count().max(length)))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Returns the limit for the longer of two words: short words are similar to too many.
fn max_edits(length: usize) -> usize {
    if length <= 4 { length.saturating_sub(1).min(1) } else { (length / 2).min(MAX_EDITS) }
}

/// Returns the edit distance between two words, ignoring case: insertions, deletions, replacements and
/// transpositions.
pub fn distance(from: &str, to: &str) -> usize {
    strsim::osa_distance(&from.to_lowercase(), &to.to_lowercase())
}

#[cfg(test)]
mod tests {
    //! Tests of "did you mean".
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["probe", "http", "system_metrics", "sql"];
        for (word, meant) in [
            ("prob", Some("probe")),
            ("porbe", Some("probe")),
            ("Probe", Some("probe")),
            ("htp", Some("http")),
            ("sysem_metric", Some("system_metrics")),
            ("zzz", None),
            ("sqlx", Some("sql")),
            ("soap", None),
            ("system", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
        assert_eq!(nearest("newest", ["latest", "all", "none"].into_iter()), Some("latest"));
    }

    #[test]
    fn long_words_are_near_to_none() {
        let long = "x".repeat(200_000);
        assert_eq!(nearest(&long, [long.as_str(), "x"].into_iter()), None);
        assert_eq!(nearest("abcdef", std::iter::repeat_n(long.as_str(), 10_000)), None);
        assert_eq!(nearest("abcdef", std::iter::repeat_n(&long[..200], 100_000)), None);
    }

    #[test]
    fn counts_edits() {
        for (from, to, edits) in
            [("helth", "health", 1), ("", "abc", 3), ("same", "Same", 0), ("ab", "ba", 1)]
        {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }
}
