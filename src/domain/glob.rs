//! Patterns for names, as in a shell.

/// Returns whether a text has wildcards.
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Returns whether the whole name matches a pattern with `*` (any text) and `?` (any character).
pub fn glob(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    // where to backtrack to: after the last `*`, one character further
    let mut back = None;
    loop {
        let rest = name.clone();
        match (pattern.next(), name.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                name = rest;
                back = Some((pattern.clone(), name.clone()));
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {}
            _ => {
                let Some((after, from)) = &mut back else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, name) = (after.clone(), from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of patterns.
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, matches) in [
            ("news", "news", true),
            ("news-*", "news-eu", true),
            ("news-*", "news", false),
            ("*", "", true),
            ("*-eu", "a-b-eu", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xaybz", false),
            ("news", "new", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("b?ro", "büro", true),
            ("b??ro", "büro", false),
            ("*ü?o", "büro", true),
            ("*?", "é", true),
        ] {
            assert_eq!(glob(pattern, name), matches, "{pattern} {name}");
        }
        assert!(is_glob("a*") && is_glob("?") && !is_glob("news-eu"));
    }

    #[test]
    fn many_stars_end_in_time() {
        assert!(!glob(&"*a".repeat(200), &"a".repeat(199)));
    }
}
